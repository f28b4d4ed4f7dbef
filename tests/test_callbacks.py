"""Callbacks see each step as it was taken, may stop a run, and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import unpaired
from unpaired.artifacts.checkpoint import list_checkpoints
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.errors import ConfigError
from unpaired.recipes import Config
from unpaired.runs import RunInfo, info, train
from unpaired.training.callbacks import Callback, Request, StepView, call_after_step
from unpaired.training.schedule import Schedule, ScheduleConfig

STEPS = 6


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    settings = {"data.root": str(two_folders), "schedule.num_steps": STEPS, "optimizer.ema_decay": 0.9}
    return override(toy_config, {**settings, "generator.dropout": True, "run.guardian_every": 2})


@pytest.fixture
def whole(config: Config, tmp_path: Path) -> RunInfo:
    """The run without callbacks."""
    return train(config, out=tmp_path / "whole")


class Calling:
    """A callback with the given behaviour."""

    def __init__(self, work: Callable[[StepView], Any], every: int = 1, **attributes: bool) -> None:
        self.every, self._work = every, work
        vars(self).update(attributes)

    def after_step(self, view: StepView) -> Any:
        return self._work(view)


def losses(run: Path) -> list[dict[str, float]]:
    return [record["losses"] for record in RunFolder(run).records()]


def reading_all(view: StepView) -> None:
    """Read everything that there is, with the networks in use, and draw from torch's random numbers."""
    random_numbers = torch.get_rng_state()
    assert (view.num_steps, view.epoch) == (STEPS, max(view.step - 1, 0) // 6 + 1)
    assert view.learning_rate > 0
    assert view.losses or not view.step
    for ema in (True, False):
        with view.generators(ema=ema) as generators:
            for network in generators.values():
                made = network(torch.randn(2, 3, 32, 32))
                assert not made.requires_grad
                assert not network.training
    assert torch.equal(torch.get_rng_state(), random_numbers)


@pytest.mark.parametrize("work", [lambda view: None, reading_all])
def test_a_run_is_the_same_bits_with_callbacks_and_without(
    config: Config, whole: RunInfo, tmp_path: Path, work: Callable[[StepView], Any]
) -> None:
    watched = train(config, out=tmp_path / "watched", callbacks=[Calling(work, at_start=True)])
    assert watched.state_sha256 == whole.state_sha256
    assert losses(watched.path) == losses(whole.path)


def test_they_are_called_when_they_are_due_with_the_step_as_it_is_logged(config: Config, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {"second": [], "end": [], "not the end": [], "start": []}
    kept: list[tuple[dict[str, float], float]] = []

    def noting(name: str) -> Callable[[StepView], None]:
        return lambda view: seen[name].append(view.step)

    run = train(
        override(config, {"schedule.num_steps": 5}),
        out=tmp_path / "run",
        callbacks=[
            Calling(noting("second"), every=2),
            Calling(noting("end"), every=0),
            Calling(noting("not the end"), every=2, at_end=False),
            Calling(noting("start"), every=3, at_start=True),
            Calling(lambda view: kept.append((view.losses, view.learning_rate))),
        ],
    )
    assert seen == {"second": [2, 4, 5], "end": [5], "not the end": [2, 4], "start": [0, 3, 5]}
    records = RunFolder(run.path).records()
    assert [record["losses"] for record in records] == [pytest.approx(found, abs=1e-4, rel=1e-4) for found, _ in kept]
    assert [record["learning_rate"] for record in records] == [pytest.approx(rate, rel=1e-4) for _, rate in kept]


def test_a_stopped_run_is_saved_and_published_and_the_same_call_goes_on_to_the_same_end(
    config: Config, whole: RunInfo, tmp_path: Path
) -> None:
    stopped = train(config, out=tmp_path / "run", callbacks=[Calling(lambda view: view.step == 3)])
    assert (stopped.step, stopped.finished, stopped.ended, stopped.has_model) == (3, False, "", True)
    assert list_checkpoints(stopped.path / "checkpoints")[0].name == "step-00000003"
    assert (stopped.path / "samples" / "step-00000003.png").exists()
    finished = train(config, out=tmp_path / "run")
    assert (finished.finished, finished.state_sha256) == (True, whole.state_sha256)


def test_an_exception_is_the_callers_and_the_run_goes_on_from_its_last_checkpoint(
    config: Config, whole: RunInfo, tmp_path: Path
) -> None:
    def failing(view: StepView) -> None:
        raise LookupError(f"at {view.step}")

    with pytest.raises(LookupError, match="at 5"):
        train(config, out=tmp_path / "run", callbacks=[Calling(failing, every=5)])
    assert info(tmp_path / "run").step == 4
    assert train(config, out=tmp_path / "run").state_sha256 == whole.state_sha256


def test_the_ema_weights_or_the_raw_ones_are_in_place(config: Config, tmp_path: Path) -> None:
    def comparing(view: StepView) -> None:
        state, kept = view.state, {}
        assert state.ema is not None
        for ema in (True, False):
            with view.generators(ema=ema) as generators:
                kept[ema] = next(generators["AtoB"].parameters()).clone()
        name = next(name for name in state.ema.weights if name.startswith("AtoB."))
        assert torch.equal(kept[True], state.ema.weights[name])
        assert torch.equal(kept[False], next(state.objective.translators["AtoB"].parameters()))
        assert not torch.equal(kept[True], kept[False])

    train(config, out=tmp_path / "run", callbacks=[Calling(comparing, every=4, at_end=False)])


@pytest.mark.parametrize("wrong", [Calling(print, every=-1), object(), Calling(print, every="2")])  # type: ignore[arg-type]
def test_what_is_no_callback_is_refused_before_the_run_begins(config: Config, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"(Calling|object) is not a callback: it needs a method after_step"):
        train(config, out=tmp_path / "run", callbacks=[wrong])
    assert not (tmp_path / "run").exists()


def test_the_largest_request_counts_and_after_one_to_go_back_nobody_is_called() -> None:
    state: Any = type("State", (), {"step": 1})()
    schedule = Schedule(ScheduleConfig(num_steps=9), 1, 1)
    asked: list[str] = []

    def asking(name: str, request: Request) -> Callback:
        return Calling(lambda view: (asked.append(f"{name} {view.last}"), request)[1])

    restart, stop, back = (asking(request.name, request) for request in list(Request)[1:])
    at_end = Calling(lambda view: asked.append("at the end"), every=0)
    assert call_after_step([at_end, restart, stop, at_end], StepView(state, {}, schedule)) is Request.STOP
    assert asked == ["RESTART False", "STOP True", "at the end"]
    asked.clear()
    assert call_after_step([stop, back, restart], StepView(state, {}, schedule)) is Request.GO_BACK
    assert asked == ["STOP False", "GO_BACK True"]


def test_what_asks_to_restart_is_only_stopped_if_it_is_the_users(config: Config, tmp_path: Path) -> None:
    run = train(config, out=tmp_path / "run", callbacks=[Calling(lambda view: Request.GO_BACK, every=2)])
    assert run.step == 2


def test_the_callback_of_the_package_and_of_users_have_one_protocol() -> None:
    assert isinstance(Calling(print), unpaired.Callback)
    assert not isinstance(object(), unpaired.Callback)
