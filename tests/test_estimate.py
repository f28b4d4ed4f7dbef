"""The estimate of a run's time: one sentence after the first steps, which leaves the run as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unpaired.config import override
from unpaired.recipes import Config, cut
from unpaired.runs import estimate, train
from unpaired.runs.estimate import Estimate, per_step, shorter_alternative, timed_step
from unpaired.training.schedule import Schedule, ScheduleConfig
from unpaired.words import rough_duration

CPU = torch.device("cpu")
LONG_RUN = Schedule(ScheduleConfig(num_steps=246_000), 1230, 1)


class View:
    """The part of a StepView that an estimate needs."""

    num_steps = 246_000

    def __init__(self, step: int) -> None:
        self.step = step


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
    toy_config: Config, two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    for name, value in {"MEASURED": 0.0, "LEAST": 0.0, "LONG": 0.0, "timed_step": timed}.items():
        monkeypatch.setattr(estimate, name, value)
    assert train(config, out=tmp_path / "estimated", quiet=True).state_sha256 == plain.state_sha256
    assert len(measured) == 1
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
