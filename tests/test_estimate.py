"""The estimate of a run's time: one sentence before the first step, which leaves the run as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unpaired.config import override
from unpaired.recipes import Config, build_objective, cut
from unpaired.runs import estimate, step_time, train
from unpaired.runs.estimate import Estimate, per_step, shorter_alternative, timed_step
from unpaired.runs.step_time import Work, count_work
from unpaired.training.schedule import Schedule, ScheduleConfig
from unpaired.training.state import TrainingState
from unpaired.words import rough_duration

CPU = torch.device("cpu")
LONG_RUN = Schedule(ScheduleConfig(num_steps=246_000), 1230, 1)


class View:
    """The part of a StepView that an estimate needs."""

    num_steps = 246_000

    def __init__(self, step: int) -> None:
        self.step = step
        self.state = SimpleNamespace(step=step, warm_up=0)


def steps(watch: Estimate, durations: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take steps that last as long as given, the first one included."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch(View(0))  # type: ignore[arg-type]
    for step, seconds in enumerate(durations, start=1):
        now[0] += seconds
        watch(View(step))  # type: ignore[arg-type]


def test_the_time_of_a_run_and_of_a_much_shorter_one_is_one_sentence(
    toy_config: Config, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "timed_step", lambda config, device: 0.2)
    steps(Estimate(toy_config, LONG_RUN, CPU), [9.0, 2.1, 2.1, 2.1], monkeypatch)
    expected = "About 2.1 s a step: 6 days for 245,998 steps on this machine; `--recipe fast --size 64`: 40 min."
    assert said == [expected]


def announced(config: Config, monkeypatch: pytest.MonkeyPatch, expected: float | None) -> Estimate:
    """Return the estimate of a new run of 246,000 steps, whose passes say that a step takes so many seconds."""
    monkeypatch.setattr(estimate, "expected_step", lambda *_: expected)
    monkeypatch.setattr(estimate, "timed_step", lambda config, device: 0.2)
    made = Estimate(config, LONG_RUN, CPU)
    made.announce(TrainingState(build_objective(config), config.optimizer), Path("log.jsonl"))
    return made


def test_the_estimate_comes_before_the_first_step_and_is_corrected_only_if_it_was_far_off(
    toy_config: Config, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = announced(toy_config, monkeypatch, 2.1)
    first = "About 2.1 s a step: 6 days for 246,000 steps on this machine; `--recipe fast --size 64`: 40 min."
    assert said == [first]
    steps(watch, [9.0, 2.6, 2.6], monkeypatch)
    assert said == [first]
    steps(announced(toy_config, monkeypatch, 2.1), [9.0, 4.2, 4.2], monkeypatch)
    assert said[1:] == [first, "The first steps took 4.2 s a step, so 12 days are left."]


def test_without_an_estimate_in_advance_the_first_steps_give_it(
    toy_config: Config, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(announced(toy_config, monkeypatch, None), [9.0, 2.1], monkeypatch)
    assert len(said) == 1
    assert said[0].startswith("About 2.1 s a step: 6 days for 245,998 steps")


def test_a_run_that_continues_is_estimated_from_its_log(
    toy_config: Config, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "timed_step", lambda config, device: 100.0)
    state = TrainingState(build_objective(toy_config), toy_config.optimizer)
    state.step = 46_000
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f'{{"step": {step}, "images_per_second": 2.0}}\n' for step in (45_980, 46_000)))
    Estimate(toy_config, LONG_RUN, CPU).announce(state, log)
    assert said == ["About 0.5 s a step: 28 h for 200,000 steps on this machine."]


def test_the_work_of_a_step_is_counted_in_passes_of_its_networks(toy_config: Config) -> None:
    work = count_work(toy_config)
    assert work is not None
    assert list(work.calls) == ["translators.AtoB", "discriminators.B"]
    ((together, *shape),) = work.calls["translators.AtoB"]  # the processor decides whether two images are one batch
    assert shape == [3, 32, 32]
    # The generators translate six images, and those made from images need the gradients of these as well.
    assert 5 / together < work.operations / work.operations_timed < 7
    # A mean over the steps with and without the terms that only every second one has.
    never, always = (count_work(override(toy_config, {"objective.identity_weight": weight})) for weight in (0, 0.5))
    lazy = count_work(override(toy_config, {"objective.identity_every": 2}))
    assert never is not None
    assert always is not None
    assert lazy is not None
    assert lazy.operations == pytest.approx((never.operations + always.operations) / 2)


def test_a_network_that_cannot_be_counted_has_no_estimate(toy_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def needs_values(config: Config) -> Work:
        raise RuntimeError("a user's network reads a value")

    monkeypatch.setattr(step_time, "count_work", needs_values)
    assert step_time.expected_step(toy_config, build_objective(toy_config), CPU) is None


def test_a_run_of_seconds_has_no_estimate(toy_config: Config, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(View, "num_steps", 40)
    steps(Estimate(toy_config, LONG_RUN, CPU), [9.0, 1.0, 1.0, 1.0], monkeypatch)
    assert said == []


@pytest.mark.parametrize(
    ("settings", "left", "named"),
    [
        ({}, 520_000, True),
        ({}, 7000, False),
        ({}, 9000, False),  # not even four times as long
        ({"run.memory": "2GB"}, 520_000, False),
    ],
)
def test_another_recipe_is_measured_only_if_it_can_take_the_place_and_is_much_shorter(
    toy_config: Config, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], left: float, named: bool
) -> None:
    monkeypatch.setattr(estimate, "timed_step", lambda config, device: 0.2)
    config = override(toy_config, settings)
    assert shorter_alternative(config, LONG_RUN, CPU, left) == (2400 if named else None)
    assert shorter_alternative(config, LONG_RUN, torch.device("cuda"), left) is None
    assert shorter_alternative(cut(), LONG_RUN, CPU, left) is None


def test_a_run_is_the_same_bits_with_an_estimate_and_a_measured_alternative(
    toy_config: Config, two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    settings = {
        "data.root": str(two_folders),
        "schedule.num_steps": 4,
        "run.sample_every": 0,
        "generator.dropout": True,
    }
    config = override(toy_config, settings)
    plain = train(config, out=tmp_path / "plain", quiet=True)
    measured = list[float]()

    def timed(_: Config, device: torch.device) -> float:
        measured.append(timed_step(replace(config, schedule=ScheduleConfig(num_steps=1)), device))
        return 0.0

    changed = {"MEASURED": 0.0, "LEAST": 0.0, "LONG": 0.0, "OFF": 0.0, "LEAST_PIXELS": 0, "timed_step": timed}
    for name, value in changed.items():
        monkeypatch.setattr(estimate, name, value)
    assert train(config, out=tmp_path / "estimated", quiet=True).state_sha256 == plain.state_sha256
    assert len(measured) == 1
    assert [sentence.split(" ")[0] for sentence in said if " a step" in sentence] == ["About", "The"]
    assert measured[0] > 0


def test_times_are_given_in_one_unit() -> None:
    assert [per_step(seconds) for seconds in (0.0153, 0.21, 2.14, 14.4)] == [
        "15 ms a step",
        "0.21 s a step",
        "2.1 s a step",
        "14 s a step",
    ]
    found = [rough_duration(seconds) for seconds in (45, 2400, 5500, 20_000, 190_000, 520_000, 1e7)]
    assert found == ["45 s", "40 min", "1.5 h", "5.6 h", "2.2 days", "6 days", "116 days"]
