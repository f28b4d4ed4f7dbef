"""Masks as planes of weights: 0 keeps a pixel, 1 translates it."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from unpaired.errors import ImageError
from unpaired.images.image import Array, Image, opaque


def mask_plane(mask: Any) -> Array:
    """Return a mask as weights, float64 h w in [0, 1]; transparent pixels have the weight 0.

    mask: an `Image`, an array or a tensor, h w or with one channel; unsigned integers up to the largest value of their
    type, bool, or floats in [0, 1]. Raises ImageError for other values, and for channels that differ.
    """
    if isinstance(mask, Image):
        array = mask.over((0, 0, 0)).pixels
    else:
        array = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
        if array.ndim == 3 and array.shape[0] == 1 and array.shape[2] != 1:
            array = array.transpose(1, 2, 0)
        array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or not array.size:
        raise ImageError(f"A mask is h w, or has one channel, not {array.shape}.")
    if array.shape[2] != 1 and not (array == array[:, :, :1]).all():
        raise ImageError(f"A mask is grey, and this one has {array.shape[2]} channels that differ; convert it.")
    plane: Array = array[:, :, 0].astype(np.float64)
    if array.dtype.kind == "f":
        if not (plane >= 0).all() or not (plane <= 1).all():
            raise ImageError("A mask of floats holds weights in 0..1, 1 for pixels to translate; scale it.")
    elif array.dtype.kind == "u":
        plane /= opaque(array.dtype)
    elif array.dtype.kind != "b":
        raise ImageError(f"A mask is uint8, uint16, bool or float, not {array.dtype}; convert it.")
    return plane
