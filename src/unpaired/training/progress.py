"""The progress of a run: position, speed and time left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.training.schedule import Schedule


@dataclass(frozen=True)
class Progress:
    """One logged step.

    losses: the weighted terms of the step by name. seconds: since the start of this process. loader_wait: share of the
    time since the last report that was spent waiting for images.
    """

    step: int
    num_steps: int
    epoch: int
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float
    loader_wait: float
    seconds: float
    seconds_left: float


class Clock:
    """Measures speed and time left with a monotonic clock; training does not depend on it."""

    def __init__(self, first_step: int, schedule: Schedule) -> None:
        self._schedule = schedule
        self._start = self._last = time.monotonic()
        self._first_step = self._last_step = first_step
        self._waited = 0.0

    def timed(self, source: Iterator[Batch]) -> Iterator[Batch]:
        """Yield from `source`, counting the time it takes to deliver."""
        while True:
            asked = time.monotonic()
            batch = next(source, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def progress(self, step: int, terms: Mapping[str, Tensor], learning_rate: float) -> Progress:
        """Return the report of a step, with speeds since the last report."""
        now = time.monotonic()
        span = max(now - self._last, 1e-9)
        speed = (step - self._last_step) / span
        overall = (step - self._first_step) / max(now - self._start, 1e-9)
        report = Progress(
            step=step,
            num_steps=self._schedule.num_steps,
            epoch=self._schedule.epoch(step),
            losses={name: round(term.item(), 6) for name, term in terms.items()},
            learning_rate=learning_rate,
            images_per_second=speed * self._schedule.batch_size,
            loader_wait=self._waited / span,
            seconds=now - self._start,
            seconds_left=(self._schedule.num_steps - step) / max(overall, 1e-9),
        )
        self._last, self._last_step, self._waited = now, step, 0.0
        return report
