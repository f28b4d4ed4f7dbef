"""Thumbnails, for comparing and showing images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unpaired.images import Image, resize

THUMB = 32
"""Side of the thumbnails for comparisons."""

Pixels = NDArray[np.uint8]


def thumbnail(image: Image, size: tuple[int, int] = (THUMB, THUMB)) -> Pixels:
    """Return an opaque image as 8-bit colour h w 3 of `size` (h, w), whatever its shape, depth and channels."""
    pixels = resize(image, size).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> max(int(pixels.max()).bit_length() - 8, 0)).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.nan_to_num(pixels.astype(np.float64))
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2))
