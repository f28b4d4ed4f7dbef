"""Label maps, whose numbers or colours denote classes: resizing must select values and mix none."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unpaired.images import Image

Part = Literal["whole", "left", "right"]

MOST_VALUES = 64
"""Largest number of values or colours of a label map; Cityscapes has 34."""

MOST_ALONE = 0.02
"""Largest share of pixels that equal none of their four neighbours.

Label maps stay below 0.008, even at 64 x 64; drawings with smooth edges have 0.06, photographs 0.5.
"""

_LEAST_VALUES = 3  # two are a scan, or a mask that may be resized as grey
_LEAST_SIDE = 8
_SAMPLE = 24  # rows and columns that distinguish nearly every photograph from a label map quickly


def label_parts(image: Image) -> frozenset[Part]:
    """Return the parts of an opaque image that are label maps: all of it, or halves of a side-by-side pair."""
    if image.channels not in (1, 3) or image.dtype.kind not in "ui":
        return frozenset()
    if is_label_map(image.pixels):
        return frozenset({"whole"})
    half = image.width // 2
    halves: dict[Part, NDArray[Any]] = {"left": image.pixels[:, :half], "right": image.pixels[:, half:]}
    return frozenset(part for part, pixels in halves.items() if is_label_map(pixels))


def is_label_map(pixels: NDArray[Any]) -> bool:
    """Return whether integer pixels h w c, c 1 or 3, hold few values in connected areas."""
    if min(pixels.shape[:2]) < _LEAST_SIDE:
        return False
    step = [max(side // _SAMPLE, 1) for side in pixels.shape[:2]]
    if len(np.unique(_one_number(pixels[:: step[0], :: step[1]]))) > MOST_VALUES:
        return False
    numbers = _one_number(pixels)
    if not _LEAST_VALUES <= len(np.unique(numbers)) <= MOST_VALUES:
        return False
    alone = np.ones(numbers.shape, bool)
    beside, below = numbers[:, 1:] == numbers[:, :-1], numbers[1:] == numbers[:-1]
    alone[:, 1:] &= ~beside
    alone[:, :-1] &= ~beside
    alone[1:] &= ~below
    alone[:-1] &= ~below
    return bool(alone.mean() <= MOST_ALONE)


def _one_number(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return pixels h w c as h w: three channels of at most 16 bits side by side in one number."""
    wide = pixels.astype(np.int64)
    if wide.shape[2] == 1:
        return wide[:, :, 0]
    return (wide[:, :, 0] << 32) + (wide[:, :, 1] << 16) + wide[:, :, 2]
