"""Callbacks of the training loop: called after every n-th step, they observe a run and may stop it.

The guardian, validation, the log and the sample grids are callbacks. Your own are given to `unpaired.train(...,
callbacks=[...])`; examples/callback.py is a template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import require
from unpaired.objectives.base import Direction
from unpaired.randomness import torch_seeded
from unpaired.training.inference_weights import averaged, in_use
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState


class Request(IntEnum):
    """What a callback asks for. Of several requests in one step, and of several processes, the largest counts."""

    CONTINUE = 0
    """Go on."""

    RESTART = 1
    """Save, then go on from the run folder, whose schedule has changed. For the package's own callbacks."""

    STOP = 2
    """Save and return; the same call goes on from there."""

    GO_BACK = 3
    """Save nothing more, then go on from an earlier step. For the package's own callbacks."""


class StepView:
    """A step that was just taken, as callbacks see it; nothing that it gives may be changed.

    state: the networks, optimizers and counters. terms: the weighted losses of the step by name, scalars on the device;
    none if the step was left out (run.on_nonfinite skip:N) or none was taken yet. last: whether training ends after
    this step, by schedule or because an earlier callback asked for it.
    """

    def __init__(
        self, state: TrainingState, terms: Mapping[str, Tensor], schedule: Schedule, *, last: bool = False
    ) -> None:
        self.state, self.terms, self.last = state, terms, last
        self._schedule = schedule

    @property
    def step(self) -> int:
        """The number of steps taken, 0 before the first one."""
        return self.state.step

    @property
    def num_steps(self) -> int:
        """The length of the run in steps, as the schedule is now."""
        return self._schedule.num_steps

    @property
    def epoch(self) -> int:
        """The epoch of the step, from 1."""
        return self._schedule.epoch(max(self.step, 1))

    @property
    def learning_rate(self) -> float:
        """The generators' learning rate in the step."""
        return self.state.config.learning_rate * self._schedule.multiplier(max(self.step, 1))

    @property
    def losses(self) -> dict[str, float]:
        """The weighted losses of the step by name. Reading them waits for the device."""
        return {name: term.item() for name, term in self.terms.items()}

    @contextmanager
    def generators(self, *, ema: bool = True) -> Iterator[dict[Direction, nn.Module]]:
        """Yield the generators by direction ("AtoB", "BtoA"), in inference mode and without gradients.

        They map n c h w in [-1, 1] on the device of the run to n c h w in [-1, 1]. ema: with the EMA weights if the run
        keeps some (optimizer.ema_decay), as model/ has them; otherwise, and without an EMA, with the raw weights. In
        the body torch's random numbers are a stream of their own. Afterwards all is as it was before.
        """
        weights = averaged(self.state) if ema else nullcontext()
        with weights, in_use(self.state.objective), torch_seeded(0, "callback"):
            yield self.state.objective.generators()


@runtime_checkable
class Callback(Protocol):
    """Called after steps. It must not change training: a run is bit for bit the same with it and without.

    So it leaves weights, gradients, optimizers, buffers and modes alone, uses networks inside `StepView.generators`
    only, and draws from random generators of its own. With several processes (torchrun) rank 0 alone calls it, and the
    others wait; give every process the same callbacks.

    every: the steps between two calls; 0 for none but those below. Optional attributes: at_end, False for no call after
    the last step (default True); at_start, True for a call before the first step of a new run (default False).
    """

    every: int

    def after_step(self, view: StepView, /) -> Request | bool | None:
        """Observe a step; return True to stop the run after it, otherwise None.

        A run that is stopped is saved and its model published, and the same call goes on with it. An exception ends the
        training call, with nothing saved of the steps since the last checkpoint.
        """
        ...


class OnFirstRank:
    """A callback of the package that rank 0 calls while the others wait; None on those, or with nothing to call."""

    def __init__(self, callback: Callback | None, every: int, *, at_end: bool = True, at_start: bool = False) -> None:
        self._callback = callback
        self.every, self.at_end, self.at_start = every, at_end, at_start

    def after_step(self, view: StepView) -> Request | bool | None:
        """Call it on rank 0; an exception there ends the other ranks too."""
        answer = None
        with ranks.on_rank_zero() as mine:
            if mine and self._callback is not None:
                answer = self._callback.after_step(view)
        return answer


class Stopping(OnFirstRank):
    """A callback of the user's, of which rank 0 alone is asked, and which can stop a run and nothing else."""

    def after_step(self, view: StepView) -> Request:
        """Call it on rank 0."""
        return Request.STOP if super().after_step(view) else Request.CONTINUE


def on_first_rank(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return a user's callbacks as rank 0 calls them; raises ConfigError for one that is none."""
    wrapped: list[Callback] = []
    for callback in callbacks:
        every, name = getattr(callback, "every", None), type(callback).__name__
        require(
            isinstance(every, int) and every >= 0 and callable(getattr(callback, "after_step", None)),
            f"{name} is not a callback: it needs a method after_step, and as `every` a whole number of steps, not "
            f"{every!r}; see unpaired.Callback.",
        )
        at_end, at_start = getattr(callback, "at_end", True), getattr(callback, "at_start", False)
        wrapped.append(Stopping(callback, callback.every, at_end=at_end, at_start=at_start))
    return wrapped


def call_at_start(callbacks: Sequence[Callback], view: StepView) -> None:
    """Call the callbacks that want to be called before the first step of a run."""
    for callback in callbacks:
        if getattr(callback, "at_start", False):
            callback.after_step(view)


def call_after_step(callbacks: Sequence[Callback], view: StepView) -> Request:
    """Call the callbacks that are due, in order; return the largest request of all ranks.

    After a request to go back no other callback is called; after one to stop or restart the rest see `view.last`.
    """
    found = Request.CONTINUE
    for callback in callbacks:
        if due(view.step, callback.every) or (view.last and getattr(callback, "at_end", True)):
            found = max(found, Request(ranks.all_reduce_max(request_of(callback.after_step(view)))))
            if found is Request.GO_BACK:
                return found
            view.last = view.last or found > Request.CONTINUE
    return found


def request_of(answer: object) -> Request:
    """Return what an answer asks for: anything true that is no request asks to stop."""
    if isinstance(answer, Request):
        return answer
    return Request.STOP if answer else Request.CONTINUE


def due(step: int, every: int) -> bool:
    """Whether something done every `every` steps is done at `step`; 0 means never."""
    return every > 0 and step % every == 0
