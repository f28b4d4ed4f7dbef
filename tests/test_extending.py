"""A finished run is made longer: with the rate of the longer schedule, or with a new schedule, and resumes exactly."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from unpaired.artifacts.history import History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.errors import ConfigError, Interrupted
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.runs.extending import Extension
from unpaired.runs.resolvers import dry_run
from unpaired.selection.early_stopping import PLATEAU, with_early_stopping
from unpaired.training.progress import Progress
from unpaired.training.schedule import Schedule, ScheduleConfig

FEW = {"run.sample_every": 0, "run.trust_images": 0, "run.guardian": "off", "run.checkpoint_every": 0}


@pytest.fixture(scope="module")
def finished(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps, which no test changes."""
    run = tmp_path_factory.mktemp("extending") / "run"
    train(settings(toy_config, drawn_folders, 4), out=run)
    return run


def settings(config: Config, data: Path, steps: int) -> Config:
    return override(config, {"data.root": str(data), "schedule.num_steps": steps, **FEW})


def rates(run: Path) -> list[float]:
    return [round(record["learning_rate"] / 2e-4, 3) for record in RunFolder(run).records()]


def test_a_dry_run_has_the_step_after_which_the_schedule_begins_anew(
    toy_config: Config, drawn_folders: Path, finished: Path, tmp_path: Path
) -> None:
    longer = settings(toy_config, drawn_folders, 8)
    assert dry_run(longer, finished, extend="restart").schedule.restart_after == 4
    assert dry_run(longer, finished, extend="keep").schedule.restart_after is None
    with pytest.raises(ConfigError, match="--extend makes a finished run longer"):
        dry_run(longer, tmp_path / "none", extend="keep")


@pytest.mark.parametrize(
    ("extend", "expected", "words"),
    [
        ("keep", [0.8, 0.6, 0.4, 0.2], "with the rate that the longer schedule has: 80% of the full rate at step 5."),
        (
            "restart",
            [1.0, 1.0, 0.667, 0.333],
            "with a new schedule for the 4 steps: the full rate, then its decay",
        ),
    ],
)
def test_a_finished_run_goes_on_and_resumes_bit_for_bit(
    toy_config: Config,
    drawn_folders: Path,
    finished: Path,
    tmp_path: Path,
    extend: Extension,
    expected: list[float],
    words: str,
) -> None:
    longer = settings(toy_config, drawn_folders, 8)
    whole, stopped = (shutil.copytree(finished, tmp_path / name) for name in ("whole", "stopped"))
    assert train(longer, out=whole, extend=extend).step == 8
    assert rates(whole) == [1.0, 1.0, 0.667, 0.333, *expected]
    (entry,) = History(whole).entries()
    assert words in entry["sentence"]

    def listener(progress: Progress) -> None:
        if progress.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(longer, out=stopped, extend=extend, listener=listener)
    assert train(longer, out=stopped, extend=extend).state_sha256 == info(whole).state_sha256
    assert train(longer, out=whole, extend=extend).step == 8


@pytest.mark.parametrize(
    ("steps", "changes", "extend", "words"),
    [
        (8, {}, "", "--extend keep or restart to make it longer if it is finished"),
        (3, {}, "keep", "has 4 steps already, so 3 would not be more"),
        (8, {"data.batch_size": 2}, "keep", "data.batch_size: saved 1, given 2"),
    ],
)
def test_what_is_no_extension_is_refused(
    toy_config: Config,
    drawn_folders: Path,
    finished: Path,
    steps: int,
    changes: dict[str, Any],
    extend: Extension,
    words: str,
) -> None:
    before = sorted(path.name for path in finished.rglob("*"))
    with pytest.raises(ConfigError, match=words):
        train(override(settings(toy_config, drawn_folders, steps), changes), out=finished, extend=extend)
    assert sorted(path.name for path in finished.rglob("*")) == before


def test_a_run_that_is_not_there_cannot_be_extended(toy_config: Config, drawn_folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--extend makes a finished run longer, and .* holds none"):
        train(settings(toy_config, drawn_folders, 8), out=tmp_path / "none", extend="keep")


def test_an_extension_ends_what_a_plateau_did_to_the_schedule() -> None:
    schedule = Schedule(ScheduleConfig(num_steps=40), 10, 1)
    entries = [{"kind": PLATEAU, "decay_from": 10}, {"kind": PLATEAU, "end": 18}]
    assert with_early_stopping(schedule, entries).num_steps == 18
    assert with_early_stopping(schedule, [*entries, {"kind": "extended"}]) == schedule


def test_a_restart_divides_the_new_steps_in_the_proportion_of_the_phases() -> None:
    epochs = ScheduleConfig(num_epochs_constant=3, num_epochs_decay=1, restart_after=20)
    schedule = Schedule(epochs, 10, 1)
    assert (schedule.num_steps, schedule.decays_after) == (40, 35)
    assert [round(schedule.multiplier(step), 3) for step in (21, 35, 36, 40)] == [1.0, 1.0, 0.833, 0.167]
