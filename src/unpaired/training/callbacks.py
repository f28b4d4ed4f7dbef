"""Callbacks of the training loop: called after every n-th step, they observe a run and may stop it.

The guardian, validation, the log and the sample grids are callbacks. Your own are given to `unpaired.train(...,
callbacks=[...])`; examples/callback.py is a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import require
from unpaired.objectives.base import Direction
from unpaired.randomness import torch_seeded
from unpaired.training.inference_weights import ema_weights, inference_mode
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState


class Request(IntEnum):
    """The request of a callback. Of several requests in one step, and of several processes, the largest counts."""

    CONTINUE = 0
    """Continue."""

    RESTART = 1
    """Save, then start again from the run folder with a changed schedule. For the package's own callbacks."""

    STOP = 2
    """Save and return; the same call continues from there."""

    GO_BACK = 3
    """Continue from an earlier step without saving. For the package's own callbacks."""


class StepView:
    """The step just taken, for callbacks, which must not change anything in it.

    state: the networks, optimizers and counters.
    terms: the weighted losses of the step by name, scalars on the device; empty if the step was skipped
    (run.on_nonfinite skip:N) or none was taken yet.
    last: whether training ends after this step, by schedule or at the request of an earlier callback.
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

        They map n c h w in [-1, 1] on the device of the run to n c h w in [-1, 1]. In the block torch's random numbers
        are a separate stream. Weights, modes and statistics are restored afterwards.

        ema: use the EMA weights, as in model/, if the run keeps some (optimizer.ema_decay); else the raw weights.
        """
        weights = ema_weights(self.state) if ema else nullcontext()
        with weights, inference_mode(self.state.objective), torch_seeded(0, "callback"):
            yield self.state.objective.generators()


@runtime_checkable
class Callback(Protocol):
    """Called after steps. It must not change training: a run is bit-identical with and without it.

    It must leave weights, gradients, optimizers, buffers and modes alone, use networks only inside
    `StepView.generators`, and draw from random generators of its own. With several processes (torchrun) only rank 0
    calls it while the others wait; give every process the same callbacks.

    every: steps between two calls; 0 for only those below. Optional attributes: at_end, False for no call after the
    last step (default True); at_start, True for a call before the first step of a new run (default False).
    """

    every: int

    def after_step(self, view: StepView, /) -> Request | bool | None:
        """Observe a step; return True to stop the run after it, otherwise None.

        A stopped run is saved and its model published; the same call continues it. An exception ends the training call
        without saving the steps since the last checkpoint.
        """
        ...


class OnFirstRank:
    """Wraps a callback of the package, which only rank 0 calls; None on other ranks, or if there is none."""

    def __init__(self, callback: Callback | None, every: int, *, at_end: bool = True, at_start: bool = False) -> None:
        self._callback = callback
        self.every, self.at_end, self.at_start = every, at_end, at_start

    def after_step(self, view: StepView) -> Request | bool | None:
        """Call the callback on rank 0; an exception there ends all ranks."""
        answer = None
        with ranks.on_rank_zero() as mine:
            if mine and self._callback is not None:
                answer = self._callback.after_step(view)
        return answer


class Stopping(OnFirstRank):
    """Wraps a user's callback: only rank 0 calls it, and its only possible request is to stop."""

    def after_step(self, view: StepView) -> Request:
        """Call the callback on rank 0."""
        return Request.STOP if super().after_step(view) else Request.CONTINUE


def on_first_rank(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return a user's callbacks wrapped for calls on rank 0 only; raises ConfigError for an invalid one."""
    wrapped: list[Callback] = []
    require(isinstance(callbacks, Iterable), f"callbacks must be a list of callbacks, not {type(callbacks).__name__}.")
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
    """Call the callbacks with at_start, before the first step of a run."""
    for callback in callbacks:
        if getattr(callback, "at_start", False):
            callback.after_step(view)


def call_after_step(callbacks: Sequence[Callback], view: StepView) -> Request:
    """Call the callbacks that are due, in order; return the largest request of all ranks.

    After GO_BACK no other callback is called; after STOP or RESTART the remaining ones see `view.last`.
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
    """Return the request of a callback's answer: STOP for a true value that is not a Request."""
    if isinstance(answer, Request):
        return answer
    return Request.STOP if answer else Request.CONTINUE


def due(step: int, every: int) -> bool:
    """Whether an action that repeats every `every` steps is due at `step`; 0 means never."""
    return every > 0 and step % every == 0
