"""Rates over participants with their intervals, and exact tests of the binomial distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from unpaired.randomness import rng
from unpaired.study.beta_function import beta_quantile, t_quantile

COVERAGE = 0.95
"""The share of samples whose interval should cover the true rate."""

RESAMPLES = 4000
"""Resamples of a bootstrap."""


@dataclass(frozen=True)
class Rate:
    """The mean of a rate over participants.

    error: bootstrap standard error, the ± of the tables; None with one participant. low, high: 95 % interval.
    num_participants, num_answers: the counts behind it.
    """

    value: float
    error: float | None
    low: float
    high: float
    num_participants: int
    num_answers: int


def rate(hits: Sequence[int], answers: Sequence[int], *, seed: int = 0) -> Rate:
    """Return the mean over participants of hits / answers, with its 95 % interval.

    The interval covers that of a bootstrap over participants (`bootstrap`) and the exact one for clustered answers
    (`clustered_interval`). The two nearly agree unless hits or misses are rare: then the bootstrap is too narrow, and
    has no width if no participant has a hit.

    hits, answers: of each participant, with at least one participant and one answer each. seed: of the resamples.
    """
    rates = np.asarray(hits, np.float64) / np.asarray(answers, np.float64)
    low, high = clustered_interval(rates, sum(answers))
    error = None
    if len(rates) > 1:
        error, *ends = bootstrap(rates, seed=seed)
        low, high = min(low, ends[0]), max(high, ends[1])
    return Rate(float(rates.mean()), error, low, high, len(rates), sum(answers))


def bootstrap(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the standard error of the mean of n >= 2 values, and the ends of its 95 % interval.

    Participants are resampled with all their answers, as these are not independent. The percentiles are expanded for
    small n (Hesterberg 2015, The American Statistician 69, 371-386).
    """
    drawn = rng(seed, "study bootstrap").integers(0, len(values), (RESAMPLES, len(values)))
    means = values[drawn].mean(axis=1)
    tail = expanded_tail(len(values))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(means.std()), float(low), float(high)


def difference(first: NDArray[np.float64], second: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of `first` minus that of `second`, and the ends of its 95 % interval.

    first, second: rates of different participants, at least 2 each. Both are resampled independently; the percentiles
    are expanded for the smaller group.
    """
    means = []
    for purpose, values in (("first", first), ("second", second)):
        drawn = rng(seed, f"study difference {purpose}").integers(0, len(values), (RESAMPLES, len(values)))
        means.append(values[drawn].mean(axis=1))
    tail = expanded_tail(min(len(first), len(second)))
    low, high = np.quantile(means[0] - means[1], [tail, 1 - tail])
    return float(first.mean() - second.mean()), float(low), float(high)


@lru_cache
def expanded_tail(count: int) -> float:
    """Return the tail of the percentile interval that corrects for n = `count`; .025 for very large n."""
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * t_quantile(1 - (1 - COVERAGE) / 2, count - 1))


def clustered_interval(rates: NDArray[np.float64], num_answers: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a mean rate for the effective number of independent answers.

    That is the number of answers whose binomial variance equals the variance of the mean over participants, corrected
    by their degrees of freedom (Korn and Graubard 1998, Survey Methodology 24, 193-201). It is at most the number of
    answers, which is used if all rates are equal.
    """
    count, mean = len(rates), float(rates.mean())
    effective = float(num_answers)
    if count > 1 and np.ptp(rates) > 0:
        variance = float(rates.var(ddof=1)) / count
        quantile = 1 - (1 - COVERAGE) / 2
        freedom = (NormalDist().inv_cdf(quantile) / _t(quantile, count - 1)) ** 2
        effective = min(effective, mean * (1 - mean) / variance * freedom)
    return binomial_interval(mean * effective, effective)


_t = lru_cache(t_quantile)


def binomial_interval(hits: float, count: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a probability (Clopper and Pearson 1934); numbers need not be whole."""
    tail, misses = (1 - COVERAGE) / 2, count - hits
    low = 0.0 if hits <= 0 else beta_quantile(tail, hits, misses + 1)
    high = 1.0 if misses <= 0 else beta_quantile(1 - tail, hits + 1, misses)
    return low, high


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of a sign test: of counts at least as unequal, if both sides are equally likely."""
    count = wins + losses
    ways = sum(math.comb(count, each) for each in range(min(wins, losses) + 1))
    return min(1.0, float(2 * ways / 2**count))
