"""The incomplete beta function, and the quantiles of the beta and Student's t distributions that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable

_TERMS = 500
_TINY = 1e-300


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, the probability of at most x in [0, 1] under beta(a, b).

    By its continued fraction (DLMF 8.17.22) with Lentz's algorithm; a, b > 0.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below that
        return 1 - _lower(1 - x, b, a)
    return _lower(x, a, b)


def _lower(x: float, a: float, b: float) -> float:
    c, d, fraction = 1.0, 0.0, 1.0
    for n in range(1, _TERMS):
        m = n // 2
        if n % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _nonzero(1 + step * d)
        c = _nonzero(1 + step / c)
        fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / (a * fraction)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return a quantile of beta(a, b)."""
    return _solved(lambda x: incomplete_beta(x, a, b) < probability)


def t_quantile(probability: float, freedom: float) -> float:
    """Return a quantile above the median of Student's t distribution; 0.5 <= probability < 1."""
    share = _solved(lambda x: incomplete_beta(x, freedom / 2, 0.5) < 2 * (1 - probability))
    return math.sqrt(freedom * (1 - share) / share)


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _solved(below: Callable[[float], bool]) -> float:
    """Return the x in [0, 1] at which `below` turns false, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2
