"""Duplicate images: equal files, equal pixels, and images that were re-encoded, scaled or mirrored.

Equal files and pixels are found by their digests. Every other image is described by the lowest 8 x 8 frequencies of its
luminance, normalised. Pairs with nearly equal descriptions are candidates (see `neighbours`). A candidate is confirmed
if the thumbnails agree in each of 64 blocks, in colour. A mirrored image has the same description with every odd
horizontal frequency negated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unpaired.doctor.neighbours import Floats, nearest_within
from unpaired.doctor.thumb_file import ThumbFile, Thumbs
from unpaired.scanning.inspection import Inspected
from unpaired.scanning.thumbnails import THUMB, Pixels

How = Literal["same bytes", "same pixels", "looks the same", "mirrored"]
HOWS: tuple[How, ...] = ("same bytes", "same pixels", "looks the same", "mirrored")

MIN_COSINE = 0.995
"""Least cosine of two descriptions. JPEG copies of photographs at quality 20 stay above 0.999, of a foggy one 0.997."""

MAX_BLOCK_DIFFERENCE = 8.0
"""Largest root mean square difference, of 255, in any 4 x 4 block of the thumbnails.

JPEG copies of photographs at quality 20 seldom exceed 7; of 1,064 photographs no two different ones come below 32.
"""

_FREQUENCIES = 8
_BLOCK = 256
_MOST_CANDIDATES = 8
_LEAST_CONTRAST = 2.0  # root mean square of the frequencies, of 255: flatter images cannot be compared


@dataclass(frozen=True)
class Group:
    """Files that show one image. how: the largest difference between two files of the group."""

    how: How
    members: tuple[int, ...]


def same_pictures(images: Sequence[Inspected], thumbs: ThumbFile) -> list[Group]:
    """Return the groups of two or more sound images that show the same image, as indices into `images`.

    thumbs: the thumbnails of `images`, in their order.
    """
    sets = _Sets(len(images))
    everything = range(len(images))
    _join_equal(sets, everything, [images[index].file_sha256 for index in everything], 0)
    coloured = [index for index in everything if not images[index].flat]  # images of one colour look alike
    _join_equal(sets, coloured, [images[index].pixel_sha256 for index in coloured], 1)
    distinct = [index for index in coloured if sets.root(index) == index]
    for one, other, mirrored in look_alikes(thumbs.rows(distinct)):
        sets.join(distinct[one], distinct[other], 3 if mirrored else 2)
    return sets.groups()


def look_alikes(thumbs: Thumbs) -> Iterator[tuple[int, int, bool]]:
    """Yield the pairs (i, j, mirrored), i < j, of thumbnails n THUMB THUMB 3 that show one image."""
    plain, contrast = descriptions(thumbs)
    usable = np.flatnonzero(contrast >= _LEAST_CONTRAST)
    plain = plain if len(usable) == len(plain) else plain[usable]  # without a copy in most cases
    odd = np.tile((-1.0) ** np.arange(_FREQUENCIES), _FREQUENCIES).astype(np.float32)
    for mirrored, sign in ((False, np.ones_like(odd)), (True, odd)):
        for one, other in nearest_within(plain, sign, MIN_COSINE, _MOST_CANDIDATES):
            i, j = int(usable[one]), int(usable[other])
            if _agree(thumbs[i], thumbs[j][:, ::-1] if mirrored else thumbs[j]):
                yield i, j, mirrored


def descriptions(thumbs: Thumbs) -> tuple[Floats, Floats]:
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
    made /= np.maximum(length, 1e-9)[:, None]
    return made, length / THUMB


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
