"""Rates over participants with their intervals, and exact tests of the binomial distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from unpaired.randomness import rng

COVERAGE = 0.95
"""The share of samples whose interval should cover the true rate."""

RESAMPLES = 4000
"""Resamples of a bootstrap."""


@dataclass(frozen=True)
class Rate:
    """The mean of a rate over participants.

    error: bootstrap standard error, the ± of the tables. low, high: 95 % interval. num_participants, num_answers: the
    counts behind it.
    """

    value: float
    error: float
    low: float
    high: float
    num_participants: int
    num_answers: int


def rate(hits: Sequence[int], answers: Sequence[int], *, seed: int = 0) -> Rate:
    """Return the mean over participants of hits / answers, with a bootstrap over participants.

    Participants are resampled with their answers, as answers of one participant are not independent. The percentiles
    are expanded for the small number of participants (Hesterberg 2015, The American Statistician 69, 371-386). If all
    rates are equal, a bootstrap has no spread; the exact binomial interval of all answers is given instead.

    hits, answers: of each participant, with at least one participant and one answer each. seed: of the resamples.
    """
    rates = np.asarray(hits, np.float64) / np.asarray(answers, np.float64)
    count, total = len(rates), int(sum(answers))
    if count == 1 or np.ptp(rates) == 0:
        low, high = binomial_interval(int(sum(hits)), total)
        return Rate(float(rates[0]), 0.0, low, high, count, total)
    error, low, high = bootstrap(rates, seed=seed)
    return Rate(float(rates.mean()), error, low, high, count, total)


def bootstrap(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the standard error of the mean of n >= 2 values and the ends of its 95 % interval, with expanded tails."""
    drawn = rng(seed, "study bootstrap").integers(0, len(values), (RESAMPLES, len(values)))
    means = values[drawn].mean(axis=1)
    tail = expanded_tail(len(values))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(means.std()), float(low), float(high)


@lru_cache
def expanded_tail(count: int) -> float:
    """Return the tail of the percentile interval that corrects for `count` participants; .025 for very many."""
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * t_quantile(1 - (1 - COVERAGE) / 2, count - 1))


def t_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t distribution, by numerical integration of its density and bisection."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    # With t = sqrt(f) tan(x), the density is proportional to cos(x) ** (f - 1), smooth and of bounded support.
    x = np.linspace(0, math.pi / 2, 20001)
    height = np.cos(x) ** (freedom - 1) * scale * math.sqrt(freedom)
    below = 0.5 + np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2 * np.diff(x))])
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, below, x)))


def binomial_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a probability (Clopper and Pearson 1934)."""
    tail = (1 - COVERAGE) / 2
    low = 0.0 if hits == 0 else _solved(lambda p: 1 - binomial_cdf(hits - 1, count, p) < tail)
    high = 1.0 if hits == count else _solved(lambda p: binomial_cdf(hits, count, p) > tail)
    return low, high


def _solved(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def binomial_cdf(hits: int, count: int, probability: float) -> float:
    """Return the probability of at most `hits` of `count`, 0 < probability < 1."""
    k = np.arange(hits + 1)
    ways = math.lgamma(count + 1) - np.array([math.lgamma(each + 1) + math.lgamma(count - each + 1) for each in k])
    terms = np.exp(ways + k * math.log(probability) + (count - k) * math.log1p(-probability))
    return min(1.0, float(terms.sum()))


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of a sign test: how likely so unequal counts are if both are equally likely."""
    count = wins + losses
    if count == 0:
        return 1.0
    ways = sum(math.comb(count, each) for each in range(min(wins, losses) + 1))
    return min(1.0, float(2 * ways / 2**count))
