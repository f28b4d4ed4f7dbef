"""Conversion of the inputs of a translator to `Image`, and of its results to the type of the input."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import PIL.Image

from unpaired.errors import ConfigError
from unpaired.images import MAX_PIXELS, Image
from unpaired.images.files import Refuse, read_image_if
from unpaired.storage import at_home


def as_image(given: Any, channels: int, max_pixels: int | None, refuse: Refuse = lambda width, height: None) -> Image:
    """Return a path, a Pillow image, an `Image` or an array as an `Image`.

    Raises ConfigError for any other type, ImageError for an array or file that is not a valid image.

    Args:
        channels: those of the model. An array with one more than grey or colour has alpha last, unless it has as many
            as the model.
        max_pixels: the limit for a file.
        refuse: called with the width and height of a file before it is decoded; raises ImageError.
    """
    if isinstance(given, Image):
        return given
    if isinstance(given, (str, os.PathLike)):
        most = MAX_PIXELS if max_pixels is None else min(MAX_PIXELS, max_pixels)
        return read_image_if(at_home(given), refuse, max_pixels=most)
    if isinstance(given, PIL.Image.Image):
        return Image.from_pil(given)
    if isinstance(given, np.ma.MaskedArray):
        raise ConfigError(
            "Cannot translate a masked array, which has no values under its mask; fill them, as in array.filled(0)."
        )
    if isinstance(given, np.ndarray):
        native = given.astype(given.dtype.newbyteorder("="), copy=False)
        array = native[:, :, None] if given.ndim == 2 else native
        if array.ndim == 3 and array.shape[2] in (2, 4) and array.shape[2] != channels:
            return Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]))
        return Image(array)
    raise ConfigError(
        f"Cannot translate {type(given).__name__}; give paths, Pillow images, arrays or tensors, or a list of them."
    )


def as_given(made: Image, given: Any) -> Any:
    """Return a result in the type of its input; a path gives an `Image`."""
    if isinstance(given, PIL.Image.Image):
        return made.to_pil()
    if isinstance(given, np.ndarray):
        return made.pixels[:, :, 0] if given.ndim == 2 and made.channels == 1 else made.interleaved
    return made
