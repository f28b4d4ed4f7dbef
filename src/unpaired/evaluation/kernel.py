"""Kernel distance: the squared maximum mean discrepancy of two sets of features with a cubic kernel.

Gretton et al., "A kernel two-sample test", JMLR 2012, with the kernel and the unbiased estimator of Binkowski et al.,
"Demystifying MMD GANs", ICLR 2018. Its expectation is 0 for two sets of one distribution at any number of images, so it
may be slightly negative. On Inception features it is KID, and `kid` is the published protocol.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws
from unpaired.randomness import rng


def kernel_distance(x: Tensor, y: Tensor, *, resamples: int = 500, seed: int = 0) -> Interval:
    """Return the unbiased squared discrepancy of features n d and m d; 0 is best, no upper end.

    With k(u, v) = (u·v / d + 1)³: the mean of k over two different images of x, plus that of y, minus twice the mean
    over one of each. Standardise the features first (`features.standardised`) unless their scale is meaningful.

    Holds one n x m matrix in float64 at a time. Raises ValueError for fewer than 2 images a set or different d.
    """
    _check(x, y)
    drawn = draws(len(x), resamples, seed, "x"), draws(len(y), resamples, seed, "y")
    ones = torch.ones(1, len(x)).double(), torch.ones(1, len(y)).double()
    counts = [torch.cat(pair) for pair in zip(ones, drawn, strict=True)]
    values = _within(x, counts[0]) + _within(y, counts[1])
    values -= 2 * ((counts[0] @ cubic_kernel(x, y)) * counts[1]).sum(dim=1) / (len(x) * len(y))
    return around(float(values[0]), values[1:])


def kid(x: Tensor, y: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Return mean and standard deviation of the discrepancy over random subsets, as KID is published.

    Subsets of `size` images of each set, or of the smaller set's size, are drawn without replacement. The name KID is
    reserved for Inception features (`inception.Inception`), which must not be standardised.

    Raises ValueError as `kernel_distance` does.
    """
    _check(x, y)
    size = min(size, len(x), len(y))
    generator, values, one = rng(seed, "kid"), [], torch.ones(1, size).double()
    for _ in range(subsets):
        u, v = (part[torch.from_numpy(generator.permutation(len(part))[:size])] for part in (x, y))
        values.append(_within(u, one) + _within(v, one) - 2 * cubic_kernel(u, v).mean())
    found = torch.cat(values)
    return float(found.mean()), float(found.std(correction=0))


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return (u·v / d + 1)³ for each row u of x and v of y: n m, float64."""
    return (x.double() @ y.double().T).div_(x.shape[1]).add_(1).pow_(3)


def _within(x: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of k over two different images of one set, for each row of counts."""
    kernel = cubic_kernel(x, x)
    own = kernel.diagonal().clone()
    total = ((counts @ kernel) * counts).sum(dim=1) - counts.square() @ own
    return total / (len(x) ** 2 - counts.square().sum(dim=1))


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"Features n d and m d of at least 2 images are needed, not {(*x.shape,)}, {(*y.shape,)}.")
