"""Interleaved timing: every case once per round, so that speed fluctuations of the machine affect all cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Times of one case in seconds, or ratios of them, by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median time."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the lower and the upper quartile."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


def in_turns(cases: Mapping[str, Work], rounds: int, warm_up: int = 1) -> dict[str, Timing]:
    """Run every case once per round and return its times; `warm_up` rounds before that are not counted.

    The order rotates from round to round, so that no case always follows the same other one.
    """
    names = list(cases)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            before = time.perf_counter()
            cases[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - before)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def ratio(timing: Timing, against: Timing) -> Timing:
    """Return the ratio of times per round; drift affects both and cancels."""
    return Timing(tuple(a / b for a, b in zip(timing.seconds, against.seconds, strict=True)))


def share(timing: Timing, flop: float, ceiling: Timing, ceiling_flop: float) -> Timing:
    """Return the FLOP/s of a case relative to those of a ceiling timed in the same rounds, by round.

    A round in which the machine is slower counts like any other, because both are slower in it.
    """
    return Timing(tuple((flop / a) / (ceiling_flop / b) for a, b in zip(timing.seconds, ceiling.seconds, strict=True)))
