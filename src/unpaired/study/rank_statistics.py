"""Statistics of ranks: the mean rank of each model, Kendall's W of readers and Friedman's test of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unpaired.randomness import rng

PERMUTATIONS = 10_000
"""Permutations of a test."""

Ranks = NDArray[np.float64]
"""Ranks n k of k models in n blocks; each row is a permutation of 1..k, or a mean of some."""


def kendall_w(ranks: Ranks) -> float:
    """Return the agreement of m readers about one case (Kendall and Babington Smith 1939): 0 none, 1 full.

    ranks: m k, one row a reader.
    """
    num_readers, num_models = ranks.shape
    sums = ranks.sum(axis=0)
    spread = float(((sums - sums.mean()) ** 2).sum())
    return float(12 * spread / (num_readers**2 * (num_models**3 - num_models)))


def friedman(blocks: Ranks, *, seed: int = 0) -> tuple[float, float]:
    """Return Friedman's statistic (1937) of n blocks, and its p-value from permutations within the blocks.

    blocks: n k, the ranks of k models in each block, such as the mean ranks of a case over its readers. The p-value
    needs no large n; it is at least 1 / (permutations + 1).
    """
    count, num_models = blocks.shape
    generator = rng(seed, "study friedman")

    def spread(ranks: Ranks) -> float:
        return float(((ranks.mean(axis=0) - (num_models + 1) / 2) ** 2).sum())

    found = spread(blocks)
    drawn = [spread(generator.permuted(blocks, axis=1)) for _ in range(PERMUTATIONS)]
    larger = sum(each >= found - 1e-12 for each in drawn)
    return 12 * count / (num_models * (num_models + 1)) * found, (larger + 1) / (PERMUTATIONS + 1)
