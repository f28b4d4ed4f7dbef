"""The pace of a run between its logged steps, for a display that is refreshed a few times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from unpaired.training.callbacks import StepView

REFRESH = 0.5
"""Least seconds between two reports. Each reads the losses and so waits for the device."""

_WINDOW = 10.0  # seconds that the speed is measured over


@dataclass(frozen=True)
class StepPace:
    """A step as it is displayed.

    losses: the weighted terms of the step by name, empty before the first step and after a skipped one.
    steps_per_second, images_per_second: over the last ten seconds; None before the first step.
    seconds: since the start of this process' first step. seconds_left: by the mean speed so far; None before the first
    step.
    first, last: whether it is the first step of this process, and the last of the run.
    """

    step: int
    num_steps: int
    epoch: int
    losses: dict[str, float]
    steps_per_second: float | None
    images_per_second: float | None
    seconds: float
    seconds_left: float | None
    first: bool
    last: bool


class Pace:
    """Watches a run (`fit`) and reports the step before the first one, the first, the last, and some in between.

    batch_size: the images of a step.
    """

    def __init__(self, report: Callable[[StepPace], None], batch_size: int) -> None:
        self._report, self._batch_size = report, batch_size
        self._begun: list[tuple[float, int]] = []  # time and step before the first step, and after it
        self._recent: deque[tuple[float, int]] = deque()
        self._reported = 0.0

    def __call__(self, view: StepView) -> None:
        """Report a step, if enough time has passed."""
        now, num_before = time.monotonic(), len(self._begun)
        if num_before < 2:
            self._begun.append((now, view.step))
        elif now - self._reported < REFRESH and not view.last:
            return
        self._reported = now
        self._recent.append((now, view.step))
        # The first step is slower than the others, so it is left out as soon as there is another one.
        if len(self._recent) > 2 and (self._recent[0] == self._begun[0] or now - self._recent[1][0] > _WINDOW):
            self._recent.popleft()
        steps_per_second, mean = _speed(self._recent[0], now, view.step), _speed(self._begun[-1], now, view.step)
        mean = _speed(self._begun[0], now, view.step) if mean is None else mean
        self._report(
            StepPace(
                step=view.step,
                num_steps=view.num_steps,
                epoch=view.epoch,
                losses=view.losses,
                steps_per_second=steps_per_second,
                images_per_second=None if steps_per_second is None else steps_per_second * self._batch_size,
                seconds=now - self._begun[0][0],
                seconds_left=None if mean is None else (view.num_steps - view.step) / mean,
                first=num_before == 1,
                last=view.last,
            )
        )


def _speed(since: tuple[float, int], now: float, step: int) -> float | None:
    """Return the steps a second since a time and a step, None without any."""
    steps = step - since[1]
    return steps / max(now - since[0], 1e-9) if steps > 0 else None
