"""The classifier two-sample test: can a classifier distinguish two sets of images?

Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017. The classifier is a ridge regression of the
label on the features. Its held-out predictions are linear in the labels, so a permutation test costs one matrix product
instead of a thousand trainings, and training is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, mean_interval
from unpaired.randomness import rng

FOLDS = 5
RIDGE = 0.1
"""Added to the diagonal of the kernel of the standardised features, whose diagonal is about 1."""

MAX_IMAGES = 1000
"""Of each set: more images take cubic time and show differences too small to matter."""


@dataclass(frozen=True)
class TwoSampleTest:
    """accuracy: held-out, 0.5 for indistinguishable sets, 1 for perfectly separable ones; less is better.

    p_value: the share of shuffled labels on which the classifier does as well or better, at least 1 / (shuffles + 1).
    """

    accuracy: Interval
    p_value: float


def two_sample_test(
    x: Tensor, y: Tensor, *, shuffles: int = 999, resamples: int = 2000, seed: int = 0
) -> TwoSampleTest:
    """Return the 5-fold cross-validated accuracy of a ridge classifier of features n d against features m d.

    Standardise the features first (`features.standardised`). Equal numbers of images of each set take part, at most
    1,000, sampled with `seed` if there are more. The interval is that of the held-out images, for fixed classifiers.

    Holds a few matrices (n + m)² in float64. Raises ValueError for fewer than 5 images a set or different d.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < FOLDS:
        raise ValueError(f"Features n d, m d of at least {FOLDS} images are needed, not {(*x.shape,)}, {(*y.shape,)}.")
    generator = rng(seed, "two sample")
    size = min(len(x), len(y), MAX_IMAGES)
    both = torch.cat([part[torch.from_numpy(generator.permutation(len(part))[:size])] for part in (x, y)]).double()
    kernel = both @ both.T / both.shape[1]
    labels = torch.ones(2 * size).double()
    labels[size:] = -1
    # Each fold holds as many images of either set; so do the shuffled labels on the whole.
    folds = torch.arange(size) % FOLDS
    shuffled = torch.stack([labels, *(labels[torch.from_numpy(order)] for order in _orders(generator, size, shuffles))])
    right = _held_out(kernel, shuffled.T, torch.cat([folds, folds])) * shuffled.T > 0
    accuracies = right.double().mean(dim=0)
    p_value = float((accuracies >= accuracies[0]).double().mean())  # the unshuffled one is among them
    return TwoSampleTest(mean_interval(right[:, 0], resamples=resamples, seed=seed), p_value)


def _held_out(kernel: Tensor, labels: Tensor, folds: Tensor) -> Tensor:
    """Return the prediction for each image by the classifier trained without its fold, for each column of labels."""
    predictions = torch.empty_like(labels)
    for fold in range(FOLDS):
        train, test = (folds != fold).nonzero()[:, 0], (folds == fold).nonzero()[:, 0]
        system = kernel[train][:, train] + RIDGE * torch.eye(len(train), dtype=kernel.dtype)
        mean = labels[train].mean(dim=0)
        predictions[test] = kernel[test][:, train] @ torch.linalg.solve(system, labels[train] - mean)
    return predictions


def _orders(
    generator: np.random.Generator, size: int, shuffles: int
) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return [generator.permutation(2 * size) for _ in range(shuffles)]
