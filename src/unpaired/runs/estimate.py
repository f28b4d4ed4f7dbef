"""The estimate of a run's time, before its first step, with that of a recipe that takes much less."""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from unpaired import ranks
from unpaired.data.datasets import Batch
from unpaired.live_line import erase, rewrite
from unpaired.objectives.cyclegan import CycleGAN
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config, at_size, build_objective, fast
from unpaired.runs.standing import logged_speed
from unpaired.runs.step_time import expected_step
from unpaired.training.autocast import precision_on
from unpaired.training.callbacks import StepView
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState
from unpaired.training.step import train_step
from unpaired.words import rough_duration

MEASURED = 2.0
"""Seconds of whole steps, after the first one, that correct the estimate."""

OFF = 1 / 3
"""Relative error of the estimate from which on it is corrected."""

LEAST_PIXELS = 20 * 2**16
"""Pixels that the rest of a run trains on below which it is too short for an estimate before its first step."""

LEAST = 60.0
"""Seconds left below which there is no estimate: the time left beside each step is enough."""

LONG = 2 * 3600.0
"""Seconds left from which on another recipe is measured and named."""

MUCH_SHORTER = 4.0
"""How many times shorter the other recipe must be."""

ALTERNATIVE, SIZE = "--recipe fast", 64

_log = logging.getLogger("unpaired")


class Estimate:
    """Logs before the first step of this process how long a step takes and how long the run will take.

    A watcher of `fit` as well, which corrects the estimate after the first steps if it was off by more than a third, or
    gives one if there was none. The first step is not counted, since it also selects kernels and fills caches, and the
    median leaves out pauses.
    """

    def __init__(self, config: Config, schedule: Schedule, device: torch.device) -> None:
        self._config, self._schedule, self._device = config, schedule, device
        self._expected: float | None = None
        self._last: float | None = None
        self._seconds: list[float] = []
        self._calls = 0
        self._done = False

    def announce(self, state: TrainingState, log: Path) -> None:
        """Log the estimate: by the speed in the log of a run that continues, else by timed passes of the networks."""
        left = self._schedule.num_steps - state.step
        if state.step:
            speed = logged_speed(log)
            step = self._config.data.batch_size / speed if speed else None
        else:
            step = self._timed_passes(state, left)
        if step is not None and step * left >= LEAST:
            self._expected = step
            _log.info(self._sentence(step, left))

    def _timed_passes(self, state: TrainingState, left: int) -> float | None:
        data = self._config.data
        short = left * data.batch_size * data.crop_size**2 < LEAST_PIXELS
        if short or self._device.type != "cpu" or ranks.world_size() > 1:
            return None
        rewrite("Estimating the time of the run")
        step = expected_step(self._config, state.objective, self._device)
        erase()
        return step

    def __call__(self, view: StepView) -> None:
        """Measure the step; once the steps suffice, log an estimate if there is none, or a better one."""
        if self._done or view.state.step < view.state.warm_up:  # whose steps are shorter
            return
        self._calls += 1
        now = time.monotonic()
        if self._calls > 2 and self._last is not None:
            self._seconds.append(now - self._last)
        self._last = now
        if self._seconds and sum(self._seconds) >= MEASURED:
            self._done = True
            step, left = statistics.median(self._seconds), view.num_steps - view.step
            if self._expected is None and step * left >= LEAST:
                _log.info(self._sentence(step, left))
            elif self._expected is not None and abs(step / self._expected - 1) > OFF:
                _log.info(f"The first steps took {per_step(step)}, so {rough_duration(step * left)} are left.")

    def _sentence(self, step: float, left: int) -> str:
        other = shorter_alternative(self._config, self._schedule, self._device, step * left)
        way = f"; `{ALTERNATIVE} --size {SIZE}`: {rough_duration(other)}" if other is not None else ""
        return f"About {per_step(step)}: {rough_duration(step * left)} for {left:,} steps on this machine{way}."


def per_step(seconds: float) -> str:
    """Return the time of a step: "2.1 s a step", "15 ms a step"."""
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms a step"
    return f"{seconds:.2g} s a step" if seconds < 10 else f"{seconds:.0f} s a step"


def shorter_alternative(config: Config, schedule: Schedule, device: torch.device, left: float) -> float | None:
    """Return the seconds of the recipe fast at 64 x 64 on this machine, measured; None if they are not much fewer.

    Only for a CycleGAN in one process on a CPU, from two hours on, and without run.memory, which the
    measurement would add to. Takes some seconds and leaves the run as it is: it has networks and random numbers of its
    own.
    """
    alone = device.type == "cpu" and ranks.world_size() == 1 and not config.run.memory
    if left < LONG or not isinstance(config.objective, CycleGAN) or not alone:
        return None
    other = at_size(fast(), SIZE)
    other = replace(other, data=replace(config.data, load_size=other.data.load_size, crop_size=SIZE, batch_size=1))
    num_steps = Schedule(other.schedule, schedule.epoch_length, 1).num_steps
    seconds = num_steps * timed_step(other, device)
    return seconds if seconds * MUCH_SHORTER <= left else None


def timed_step(config: Config, device: torch.device) -> float:
    """Return the seconds of a training step on noise, the fastest of three after a first one."""
    taken = []
    with torch_seeded(config.run.seed, "timed step"):
        state = TrainingState(build_objective(config).to(device), config.optimizer)
        state.objective.train()
        precision = precision_on(device, config.run)
        batch = Batch(a=_noise(config, config.data.channels_a), b=_noise(config, config.data.channels_b)).to(device)
        for state.step in range(4):
            begun = time.monotonic()
            train_step(state, batch, precision)
            taken.append(time.monotonic() - begun)
    return min(taken[1:])


def _noise(config: Config, channels: int) -> torch.Tensor:
    return torch.rand(config.data.batch_size, channels, config.data.crop_size, config.data.crop_size) * 2 - 1
