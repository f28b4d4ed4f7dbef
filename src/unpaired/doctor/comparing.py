"""Duplicate images: equal files, equal pixels, and images that were re-encoded, scaled or mirrored.

Equal files and pixels are found by their digests. Every other image is described by the lowest 8 x 8 frequencies of its
luminance, normalised. Pairs with nearly equal descriptions are candidates (found by a blocked matrix product, so that
100,000 images take minutes and no n x n matrix). A candidate is confirmed if the thumbnails agree in each of 64 blocks,
in colour. A mirrored image has the same description with every odd horizontal frequency negated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unpaired.scanning.inspection import Inspected
from unpaired.scanning.thumbnails import THUMB, Pixels

Floats = NDArray[np.float32]
How = Literal["same bytes", "same pixels", "looks the same", "mirrored"]
HOWS: tuple[How, ...] = ("same bytes", "same pixels", "looks the same", "mirrored")

MIN_COSINE = 0.995
"""Least cosine of two descriptions. JPEG copies of photographs at quality 20 stay above 0.999, of a foggy one 0.997."""

MAX_BLOCK_DIFFERENCE = 8.0
"""Largest root mean square difference, of 255, in any 4 x 4 block of the thumbnails.

JPEG copies of photographs at quality 20 seldom exceed 7; of 1,064 photographs no two different ones come below 32.
"""

_FREQUENCIES = 8
_BLOCK = 2048
_MOST_CANDIDATES = 8
_LEAST_CONTRAST = 2.0  # root mean square of the frequencies, of 255: flatter images cannot be compared


@dataclass(frozen=True)
class Group:
    """Files that show one image. how: the largest difference between two files of the group."""

    how: How
    members: tuple[int, ...]


def same_pictures(images: Sequence[Inspected]) -> list[Group]:
    """Return the groups of two or more sound images that show the same image, as indices into `images`."""
    sets = _Sets(len(images))
    sound = [index for index, one in enumerate(images) if one.thumb is not None]
    _join_equal(sets, sound, [images[index].file_sha256 for index in sound], 0)
    sound = [index for index in sound if not images[index].flat]  # images of one colour look alike
    _join_equal(sets, sound, [images[index].pixel_sha256 for index in sound], 1)
    distinct = [index for index in sound if sets.root(index) == index]
    thumbs = [thumb for index in distinct if (thumb := images[index].thumb) is not None]
    for one, other, mirrored in look_alikes(np.stack(thumbs)) if thumbs else ():
        sets.join(distinct[one], distinct[other], 3 if mirrored else 2)
    return sets.groups()


def look_alikes(thumbs: Pixels) -> Iterator[tuple[int, int, bool]]:
    """Yield the pairs (i, j, mirrored), i < j, of thumbnails n THUMB THUMB 3 that show one image."""
    plain, contrast = descriptions(thumbs)
    sign = np.tile((-1.0) ** np.arange(_FREQUENCIES), _FREQUENCIES).astype(np.float32)
    usable = np.flatnonzero(contrast >= _LEAST_CONTRAST)
    plain = plain[usable]
    for mirrored, others in ((False, plain), (True, plain * sign)):
        for one, other in _candidates(plain, others):
            i, j = int(usable[one]), int(usable[other])
            if _agree(thumbs[i], thumbs[j, :, ::-1] if mirrored else thumbs[j]):
                yield i, j, mirrored


def descriptions(thumbs: Pixels) -> tuple[Floats, Floats]:
    """Return normalised low frequencies n 64 of the luminance of thumbnails, and their root mean square n."""
    places = np.arange(THUMB, dtype=np.float32)
    waves = np.cos(np.pi * (2 * places + 1) * np.arange(_FREQUENCIES)[:, None] / (2 * THUMB)) * np.sqrt(2 / THUMB)
    waves[0] /= np.sqrt(2)
    waves = waves.astype(np.float32)
    made = np.empty((len(thumbs), _FREQUENCIES**2), np.float32)
    for start in range(0, len(thumbs), _BLOCK):
        luma = thumbs[start : start + _BLOCK] @ np.array([0.299, 0.587, 0.114], np.float32)
        made[start : start + _BLOCK] = (waves @ luma @ waves.T).reshape(len(luma), -1)
    made[:, 0] = 0  # ignore brightness
    length = np.linalg.norm(made, axis=1)
    return made / np.maximum(length, 1e-9)[:, None], length / THUMB


def _candidates(plain: Floats, others: Floats) -> Iterator[tuple[int, int]]:
    """Yield pairs i < j with nearly equal descriptions, at most the nearest few of each i."""
    for top in range(0, len(plain), _BLOCK):
        pairs: list[tuple[int, int, float]] = []
        for left in range(top, len(plain), _BLOCK):
            cosine = plain[top : top + _BLOCK] @ others[left : left + _BLOCK].T
            rows, columns = np.nonzero(cosine >= MIN_COSINE)
            after = rows + top < columns + left
            rows, columns = rows[after], columns[after]
            pairs += zip((rows + top).tolist(), (columns + left).tolist(), cosine[rows, columns].tolist(), strict=True)
        taken: dict[int, int] = {}
        for i, j, _ in sorted(pairs, key=lambda pair: -pair[2]):
            taken[i] = taken.get(i, 0) + 1
            if taken[i] <= _MOST_CANDIDATES:
                yield i, j


def _agree(one: Pixels, other: NDArray[Any]) -> bool:
    """Return whether two thumbnails differ by little in every block; a difference in one block makes another image."""
    squares = ((one.astype(np.float32) - other) ** 2).mean(2)
    size = THUMB // _FREQUENCIES
    blocks = squares.reshape(_FREQUENCIES, size, _FREQUENCIES, size).mean((1, 3))
    return bool(blocks.max() <= MAX_BLOCK_DIFFERENCE**2)


def _join_equal(sets: _Sets, indices: Sequence[int], digests: Sequence[str], how: int) -> None:
    first: dict[str, int] = {}
    for index, digest in zip(indices, digests, strict=True):
        if digest in first:
            sets.join(first[digest], index, how)
        first.setdefault(digest, index)


class _Sets:
    """Disjoint sets of indices, each with the largest `how` of its joins; the root is the lowest index."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._how = [0] * count

    def root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int, how: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
            self._how[low] = max(self._how[low], self._how[high], how)

    def groups(self) -> list[Group]:
        members: dict[int, list[int]] = {}
        for index in range(len(self._parent)):
            members.setdefault(self.root(index), []).append(index)
        return [Group(HOWS[self._how[root]], tuple(found)) for root, found in members.items() if len(found) > 1]
