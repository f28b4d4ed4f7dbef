"""The nearest neighbours of unit vectors within a small angle, exact and without a comparison of all pairs.

The vectors are sorted into leaves, each split at the median of the coordinate with the largest variance. Two leaves are
compared, by a matrix product, only if the boxes around them are closer than the angle allows. Photographs fill few of
their dimensions evenly, so most pairs of leaves are skipped in a large set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_LEAF = 256
_COLUMNS = 2048  # vectors compared with one leaf at once
_SAMPLE = 4096
_ROUNDING = 1e-5  # added to squared distances, which are computed in float32


def nearest_within(vectors: Floats, sign: Floats, min_cosine: float, most: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs i < j of unit vectors n d whose cosine is at least `min_cosine`, at most the `most` nearest of i.

    sign: d times 1 or -1; the second vector of each pair is multiplied by it.
    Of equal cosines the lower j is nearer. Memory beside the vectors: 8 `most` + 20 bytes each, and a constant.
    """
    leaves = _leaves(vectors)
    low, high = (np.array([bound(vectors[leaf], axis=0) for leaf in leaves]) for bound in (np.min, np.max))
    reach = 2 - 2 * min_cosine + _ROUNDING
    top = _Nearest(len(vectors), min_cosine, most)
    for leaf in range(len(leaves)):
        rows = leaves[leaf]
        own_low, own_high = _signed(low[leaf], high[leaf], sign)
        gaps = np.maximum(np.maximum(low[leaf:] - own_high, own_low - high[leaf:]), 0)
        close = leaf + np.flatnonzero((gaps * gaps).sum(axis=1) <= reach)
        columns = np.concatenate([np.empty(0, np.int64), *(leaves[other] for other in close)])
        for start in range(0, len(columns), _COLUMNS):
            some = columns[start : start + _COLUMNS]
            top.add(rows, some, (vectors[rows] * sign) @ vectors[some].T)
    yield from top.pairs()


def _leaves(vectors: Floats) -> list[Indices]:
    """Return the indices of the vectors in groups of near ones, at most _LEAF each."""
    waiting, found = [np.arange(len(vectors))] if len(vectors) else [], []
    while waiting:
        indices = waiting.pop()
        if len(indices) <= _LEAF:
            found.append(indices)
            continue
        some = vectors[indices[:: len(indices) // _SAMPLE + 1]]  # enough to find the widest coordinate
        values = vectors[indices, some.var(axis=0).argmax()]
        half = len(indices) // 2
        parts = np.argpartition(values, half)
        waiting += [indices[parts[:half]], indices[parts[half:]]]
    return found


def _signed(low: Floats, high: Floats, sign: Floats) -> tuple[Floats, Floats]:
    """Return the box of vectors that are multiplied by `sign`."""
    return np.where(sign < 0, -high, low), np.where(sign < 0, -low, high)


class _Nearest:
    """The `most` nearest j > i of every i so far."""

    def __init__(self, count: int, min_cosine: float, most: int) -> None:
        self._cosine = np.full((count, most), -np.inf, np.float32)
        self._index = np.full((count, most), -1, np.int32)
        self._least = np.full(count, min_cosine, np.float32)
        """Cosine that a new neighbour needs."""

    def add(self, rows: Indices, columns: Indices, cosine: Floats) -> None:
        """Add the cosines of all pairs of rows and columns; a pair may be added again."""
        first, second = np.nonzero(cosine >= min(self._least[rows].min(), self._least[columns].min()))
        i, j, value = rows[first], columns[second], cosine[first, second]
        i, j = np.minimum(i, j), np.maximum(i, j)
        near = (i < j) & (value >= self._least[i])
        self._merge(i[near], j[near], value[near])

    def _merge(self, i: Indices, j: Indices, value: Floats) -> None:
        touched = np.unique(i)
        kept = self._index[touched] >= 0
        i = np.concatenate([np.repeat(touched, kept.sum(axis=1)), i])
        j = np.concatenate([self._index[touched][kept], j])
        value = np.concatenate([self._cosine[touched][kept], value])
        order = np.lexsort((j, -value, i))
        i, j, value = i[order], j[order], value[order]
        fresh = np.ones(len(i), bool)
        fresh[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])  # both halves of a leaf's own square hold each pair
        i, j, value = i[fresh], j[fresh], value[fresh]
        starts = np.flatnonzero(np.r_[True, i[1:] != i[:-1]]) if len(i) else np.empty(0, np.int64)
        rank = np.arange(len(i)) - np.repeat(starts, np.diff(np.r_[starts, len(i)]))
        most = self._index.shape[1]
        near = rank < most
        self._index[i[near], rank[near]], self._cosine[i[near], rank[near]] = j[near], value[near]
        full = self._index[touched, most - 1] >= 0
        self._least[touched[full]] = self._cosine[touched[full], most - 1]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield all pairs, by i, the nearest first."""
        rows, places = np.nonzero(self._index >= 0)
        yield from zip(rows.tolist(), self._index[rows, places].tolist(), strict=True)
