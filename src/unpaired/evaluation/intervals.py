"""Bootstrap: 95 % intervals from resampled images, and the halves of a set for its floor.

Each resample draws as many images as there are, with replacement. It is stored as the number of draws of each image, so
that a figure is recomputed from values of images, or of pairs of images, and no image is processed twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unpaired.randomness import rng

COVERAGE = 0.95
"""The share of resamples that lies within an interval."""


@dataclass(frozen=True)
class Interval:
    """A figure and the two ends of its bootstrap 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return value, low and high by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


def draws(count: int, resamples: int, seed: int, purpose: str) -> Tensor:
    """Return the number of draws of each of `count` images in each resample: resamples x count, float64; rows sum to
    count.

    `purpose` separates the two sides of a comparison: they are drawn independently.
    """
    generator = rng(seed, f"bootstrap {purpose}")
    drawn = generator.integers(0, count, (resamples, count))
    counts = np.zeros((resamples, count))
    np.add.at(counts, (np.arange(resamples)[:, None], drawn), 1.0)
    return torch.from_numpy(counts)


def mean_interval(values: Tensor, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of a figure over images, with the percentile interval of its resampled means.

    Infinite values (the PSNR of two identical images) make the mean infinite, and so the interval.
    """
    values = values.double().cpu().flatten()
    if len(values) == 0:
        raise ValueError("A mean needs at least one value.")
    means = [
        # In blocks, so that memory does not grow with resamples x images.
        _weighted(draws(len(values), min(256, resamples - start), seed + start, "mean"), values)
        for start in range(0, resamples, 256)
    ]
    low, high = _ends(torch.cat(means))
    return Interval(float(values.mean()), low, high)


def around(
    value: float, resampled: Tensor, *, smallest: float = -float("inf"), largest: float = float("inf")
) -> Interval:
    """Return `value` with an interval from the spread of its resamples, clipped to [smallest, largest].

    A distance between two sets is larger in a resample, which has fewer distinct images; percentiles alone would then
    exclude the value. Only the spread of the resamples is used; without any, the ends are NaN.
    """
    if len(resampled) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = _ends(value + (resampled - resampled.mean()))
    return Interval(value, max(smallest, min(low, value)), min(largest, max(high, value)))


def halves(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the indices of two disjoint random halves of `count` images, count // 2 each.

    For the floor of a figure on the same counts: compare half of the translations with one half of the real images, and
    the other half of the real images with that same half.
    """
    order = torch.from_numpy(rng(seed, "halves").permutation(count))
    return order[: count // 2].sort().values, order[count // 2 : count // 2 * 2].sort().values


def _weighted(counts: Tensor, values: Tensor) -> Tensor:
    if values.isfinite().all():
        return counts @ values / len(values)
    # 0 x infinity is NaN, so an infinite value counts only in the resamples that drew it.
    products = torch.where(counts == 0, torch.zeros(()).double(), counts * values)
    return products.mean(dim=1)


def _ends(resampled: Tensor) -> tuple[float, float]:
    tail = (1 - COVERAGE) / 2
    # "nearest", as interpolation between two infinite neighbours would give NaN.
    ends = torch.quantile(resampled.double(), torch.tensor([tail, 1 - tail]).double(), interpolation="nearest")
    return float(ends[0]), float(ends[1])
