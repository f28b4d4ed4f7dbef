"""The learning rate as a pure function of the step: constant, then linear decay that never reaches zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unpaired.config import require


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long a run is and how its learning rate falls: constant, then linear decay.

    With epochs, as published, the rate changes once an epoch; with num_steps it changes every step.
    """

    num_epochs_constant: int = 100
    """Epochs at the full learning rate (CycleGAN, section 4: 100; the official n_epochs)."""
    num_epochs_decay: int = 100
    """Epochs over which the learning rate falls linearly towards 0 (CycleGAN, section 4: 100; the official
    n_epochs_decay).
    """
    num_steps: int | None = None
    """Length of the run in steps instead of epochs; both phases keep their proportion (the paper's: half each)."""

    restart_after: int | None = None
    """Step after which the schedule begins anew for the steps that are left, both phases in their proportion (--extend
    restart). none: one schedule from the first step.
    """

    def __post_init__(self) -> None:
        ok = min(self.num_epochs_constant, self.num_epochs_decay) >= 0
        require(
            ok and self.num_epochs_constant + self.num_epochs_decay >= 1,
            "schedule.num_epochs_constant and schedule.num_epochs_decay must add up to at least one epoch.",
        )
        steps = self.num_steps
        after = self.restart_after
        require(after is None or after >= 1, f"schedule.restart_after must be at least 1, not {after}.")
        require(steps is None or steps >= 1, f"The number of steps (--steps) must be at least 1, not {steps}.")


@dataclass(frozen=True)
class Schedule:
    """A ScheduleConfig applied to a dataset: `epoch_length` samples an epoch, `batch_size` a step.

    decay_from: the step after which an early decay begins; its length is in the configured proportion. end: an early
    last step. Both are set by early stopping.
    """

    config: ScheduleConfig
    epoch_length: int
    batch_size: int
    decay_from: int | None = None
    end: int | None = None

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        if self.end is not None:
            return self.end
        if self.decay_from is not None:
            return self.decay_from + self._early_decay_steps
        return self._configured_steps

    @property
    def decays_after(self) -> int:
        """The last step at the full rate; the last of the run if the rate never decays."""
        return self._constant_steps if self.decay_from is None else self.decay_from

    def epoch(self, step: int) -> int:
        """Return the 1-based epoch that the first sample of a step (1, 2, ...) belongs to."""
        return (step - 1) * self.batch_size // self.epoch_length + 1

    def multiplier(self, step: int) -> float:
        """Return the factor of the learning rate at a step: 1, then falling linearly above 0."""
        c = self.config
        if self.decay_from is not None:
            return decayed(step, self.decay_from, self._early_decay_steps)
        if c.restart_after is not None and step > c.restart_after:
            return decayed(step, self._constant_steps, self._configured_steps - self._constant_steps)
        if c.num_steps is None:
            return decayed(self.epoch(step), c.num_epochs_constant, c.num_epochs_decay)
        return decayed(step, self._constant_steps, c.num_steps - self._constant_steps)

    @property
    def _configured_steps(self) -> int:
        """Steps of the whole run, as configured."""
        c = self.config
        return self._steps_of(c.num_epochs_constant + c.num_epochs_decay) if c.num_steps is None else c.num_steps

    @property
    def _constant_steps(self) -> int:
        """Steps at the full rate, as configured."""
        c = self.config
        share = c.num_epochs_constant / (c.num_epochs_constant + c.num_epochs_decay)
        if c.restart_after is not None:
            return c.restart_after + round(share * max(self._configured_steps - c.restart_after, 0))
        if c.num_steps is None:
            return self._steps_of(c.num_epochs_constant)
        return round(share * c.num_steps)

    @property
    def _early_decay_steps(self) -> int:
        """Steps of an early decay."""
        assert self.decay_from is not None
        constant = self.decay_from - (self.config.restart_after or 0)
        return round(constant * self.config.num_epochs_decay / max(self.config.num_epochs_constant, 1))

    def _steps_of(self, epochs: int) -> int:
        return math.ceil(epochs * self.epoch_length / self.batch_size)


def decayed(position: int, num_constant: int, num_decay: int) -> float:
    """Return 1 - max(0, e - num_constant) / (num_decay + 1) for the 1-based position e (official `linear` policy)."""
    return 1.0 - max(0, position - num_constant) / (num_decay + 1)
