"""The learning rate as a pure function of the step: constant, then linear decay that never reaches zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unpaired.config import require


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long a run is and how its learning rate falls.

    Published: num_epochs_constant 100 and num_epochs_decay 100 (the official n_epochs, n_epochs_decay), the rate
    changing once an epoch. num_steps, where given, is the length instead; it is shared between the two phases in
    the proportion of the epochs, and the rate changes every step.
    """

    num_epochs_constant: int = 100
    num_epochs_decay: int = 100
    num_steps: int | None = None

    def __post_init__(self) -> None:
        ok = min(self.num_epochs_constant, self.num_epochs_decay) >= 0
        require(
            ok and self.num_epochs_constant + self.num_epochs_decay >= 1,
            "schedule.num_epochs_constant and schedule.num_epochs_decay must add up to at least one epoch.",
        )
        require(self.num_steps is None or self.num_steps >= 1, f"--steps must be at least 1, not {self.num_steps}.")


@dataclass(frozen=True)
class Schedule:
    """A ScheduleConfig applied to a dataset: `epoch_length` samples an epoch, `batch_size` a step."""

    config: ScheduleConfig
    epoch_length: int
    batch_size: int

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        if self.config.num_steps is not None:
            return self.config.num_steps
        epochs = self.config.num_epochs_constant + self.config.num_epochs_decay
        return math.ceil(epochs * self.epoch_length / self.batch_size)

    def epoch(self, step: int) -> int:
        """Return the 1-based epoch that the first sample of a step (1, 2, ...) belongs to."""
        return (step - 1) * self.batch_size // self.epoch_length + 1

    def multiplier(self, step: int) -> float:
        """Return what the learning rate is multiplied by at a step: 1, then falling linearly above 0."""
        c = self.config
        if c.num_steps is None:
            return decayed(self.epoch(step), c.num_epochs_constant, c.num_epochs_decay)
        share = c.num_epochs_constant / (c.num_epochs_constant + c.num_epochs_decay)
        constant = round(share * c.num_steps)
        return decayed(step, constant, c.num_steps - constant)


def decayed(position: int, num_constant: int, num_decay: int) -> float:
    """Return 1 - max(0, e - num_constant) / (num_decay + 1) for the 1-based position e (official `linear` policy)."""
    return 1.0 - max(0, position - num_constant) / (num_decay + 1)
