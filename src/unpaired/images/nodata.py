"""No data: values that a file declares to be no measurement, filled for a network and restored in its result."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from unpaired.errors import ConfigError
from unpaired.images.image import Array, Color, Image
from unpaired.images.values import ValueRange

LOW = "low"
"""The setting that fills no data with the low end of the range."""


def parse_fill(text: str, name: str = "nodata_fill") -> float | None:
    """Parse a setting for the replacement of no data: a number, or None for "low". Raises ConfigError."""
    if text == LOW:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f'{name} is "low", the low end of the range, or a number as in 0 or -1024, not {text!r}.')
    return value


def flatten(image: Image, channels: int, background: Color, values: ValueRange, fill: float | None = None) -> Image:
    """Return the image as input of a network: no data filled, without alpha.

    A file may tag its last band as alpha although it is a measurement, as near infrared beside red, green, blue often
    is: if `channels` is the number of bands including alpha, alpha becomes a channel. Otherwise the image is composited
    over `background`. fill: replacement for no data, None for the low end of the range. Raises as `Image.over` does.
    """
    image = bands(image, channels)
    low, _ = values.of(image.dtype)
    return image.filled(low if fill is None else fill).over(background, values.bounds)


def bands(image: Image, channels: int) -> Image:
    """Turn alpha into a band if it is the last of `channels` declared channels; return other images as given."""
    if image.alpha is None or channels in (1, 3) or image.channels + 1 != channels:
        return image
    return replace(image, pixels=image.interleaved, alpha=None)


def restore(made: Image, given: Image) -> Image:
    """Return `made` with no data at the pixels without data in all channels of `given`, and with its mask.

    A value of the result that equals the no-data value by accident moves to its neighbour. If its type cannot hold the
    no-data value, the result has no `nodata`, and those pixels keep the output of the network.
    """
    made = replace(made, mask=given.mask)
    if given.nodata is None or not _holds(made.dtype, given.nodata):
        return replace(made, nodata=None)
    marked = replace(made, nodata=given.nodata)
    accidents = replace(marked, mask=None).missing
    if accidents is not None:
        marked = replace(marked, pixels=np.where(accidents, _neighbour(given.nodata, made.dtype), made.pixels))
    missing = replace(given, mask=None).missing
    if missing is None:
        return marked
    gaps = missing.all(axis=2, keepdims=True)
    value = np.float64(given.nodata).astype(made.dtype)
    return replace(marked, pixels=np.where(gaps, value, marked.pixels))


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    return math.isfinite(value) and value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _neighbour(value: float, dtype: np.dtype[Any]) -> Array:
    """Return the value of a type next to `value`, upwards unless it is the largest."""
    if dtype.kind == "f":
        number = np.array(value, dtype)
        return np.array(np.nextafter(number, dtype.type(0)) if number != 0 else np.nextafter(number, dtype.type(1)))
    return np.array(value + (1 if value < np.iinfo(dtype).max else -1)).astype(dtype)
