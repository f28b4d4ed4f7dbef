"""Predicates of a decoded image (flat, without colour, with a measurement as alpha), and digests of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unpaired.images import Image, suffix_of
from unpaired.images.image import opaque

_FLAT = 2  # largest difference in levels that is ignored
_READ_BYTES = 1 << 20
_TIFFS = (".tif", ".tiff")  # GDAL tags four bytes per pixel as colour and alpha whatever they are


def is_flat(image: Image) -> bool:
    """Return whether an image is one colour all over, but for the last bits."""
    step = _FLAT if image.pixels.dtype.kind == "u" else 0
    return _holds(image.pixels, lambda plane: all(np.ptp(part.astype(np.float64)) <= step for part in _channels(plane)))


def is_grey(image: Image) -> bool:
    """Return whether an image has no colour, in one channel or in three equal ones."""
    if image.channels != 3:
        return image.channels == 1
    step = {"uint8": _FLAT, "uint16": _FLAT * 257}.get(str(image.pixels.dtype), 0)

    def equal(pixels: NDArray[Any]) -> bool:
        red, green, blue = (part.astype(np.float64) for part in _channels(pixels))
        return bool(abs(red - green).max() <= step and abs(blue - green).max() <= step)

    return _holds(image.pixels, equal)


def _holds(pixels: NDArray[Any], rule: Callable[[NDArray[Any]], bool]) -> bool:
    """Return whether a rule holds for all pixels. A few are tested first, which is enough for most images."""
    return rule(pixels[::8, ::8]) and rule(pixels)


def _channels(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    return [pixels[:, :, channel] for channel in range(pixels.shape[2])]


def alpha_is_a_band(path: Path, image: Image) -> bool:
    """Return whether the alpha of a TIFF looks like a measurement: in most pixels neither transparent nor opaque."""
    if image.alpha is None or suffix_of(path) not in _TIFFS:
        return False
    between = (image.alpha > 0) & (image.alpha < opaque(image.dtype))
    return bool(np.count_nonzero(between) * 2 > between.size)


def over_background(image: Image, background: tuple[int, int, int]) -> Image:
    """Return the image about as in training: opaque, with no data replaced by its lowest value."""
    if image.nodata is not None:
        values = image.measured
        image = image.filled(float(values.min()) if values.size else 0.0)
    return image.over(background) if image.alpha is not None and image.channels in (1, 3) else image


def file_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_READ_BYTES):
        digest.update(block)
    return digest.hexdigest()
