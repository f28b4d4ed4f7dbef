"""Strength and masks: a translation blended with its input, in the values of the result.

Each value of a result is g + w (m - g), where g is the value of the input, m that of the translation, and the weight
w = strength x mask. A weight of 0 gives g and 1 gives m, both bit for bit; between them values are monotone in w, and
beyond 1 they are extrapolated and clipped to the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.config import require
from unpaired.errors import ImageError
from unpaired.images import Image, ValueRange, restore
from unpaired.images.image import Array, span_of
from unpaired.images.mask_planes import mask_plane
from unpaired.models.domain_values import DomainValues

FEATHER = 4
"""The default width in pixels of the feathered edge of a mask."""

STRONGEST = 1.5
"""The largest strength; beyond it most values are clipped."""

Weight = float | Array
"""A weight for all pixels, or float64 h w."""

_VALUES_AT_ONCE = 2**20  # of an image, computed in float64
_MOST_FEATHER = 256
_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. ITU-R BT.601, as in the conversion to a tensor


def require_strength(strength: float) -> float:
    """Return the strength. Raises ConfigError unless it is in [0, 1.5]."""
    ok = isinstance(strength, (int, float)) and 0 <= strength <= STRONGEST
    require(ok, f"strength must be 0 (the input) to {STRONGEST} (1 is the translation), not {strength}.")
    return float(strength)


def require_feather(feather: int) -> None:
    """Raise ConfigError unless the feather is in [0, 256] pixels."""
    require(0 <= feather <= _MOST_FEATHER, f"feather must be 0 to {_MOST_FEATHER} pixels, not {feather}.")


def mask_weight(mask: Any, size: tuple[int, int], feather: int = FEATHER) -> Array:
    """Return the weight of each pixel, float64 h w in [0, 1]: the mask, with an edge feathered inwards.

    Raises ImageError for a mask of another size, in colour, or with values that have no black and white; ConfigError
    for the feather.

    Args:
        mask: an `Image`, an array or a tensor, h w or with one channel: 0 keeps a pixel, the largest value of the type
            (1 for floats, True) translates it, and values between are weights. Transparent pixels are kept.
        size: height and width of the image.
        feather: pixels over which the weight rises from the edge of the area with weight 0, so that this area is exact.
    """
    require_feather(feather)
    weight = mask_plane(mask)
    if weight.shape != size:
        raise ImageError(
            f"The mask has {weight.shape[1]} x {weight.shape[0]} pixels and its image {size[1]} x {size[0]}; make them "
            "equal."
        )
    return feathered(weight, feather)


def feathered(weight: Array, pixels: int) -> Array:
    """Return a weight h w that rises from 0 over `pixels` pixels inside of each edge of the area with weight 0.

    The distance is that of an octagon: steps to the 4 and to the 8 neighbours in turn. Soft edges that are wider stay
    as they are. Pixels outside of the image count as inside.
    """
    inside = torch.from_numpy(weight > 0).double()[None, None]
    if not pixels or bool(inside.all()):
        return weight
    steps = inside.clone()
    for number in range(pixels):
        eroded = -F.max_pool2d(-inside, (3, 1), 1, (1, 0))
        if number % 2:
            inside = -F.max_pool2d(-eroded, (1, 3), 1, (0, 1))
        else:
            inside = torch.minimum(eroded, -F.max_pool2d(-inside, (1, 3), 1, (0, 1)))
        steps += inside
    ramp: Array = (steps[0, 0] / (pixels + 1)).numpy()
    return np.minimum(weight, ramp)


def combined(strength: float, weight: Array | None) -> Weight:
    """Return the weight strength x mask. Raises ConfigError for a strength out of its range."""
    strength = require_strength(strength)
    return strength if weight is None else strength * weight


def blended(image: Image, made: Image, weight: Weight, source: DomainValues, target: DomainValues) -> Image:
    """Return the blend of an image and its translation, with the type, alpha and metadata of the translation.

    Values without data are those of the translation where the weight is not 0.

    Args:
        image: the input as accepted by the `InputSpec` of its domain.
        made: its translation.
        weight: of the translation; a number, or one for each pixel.
        source: the values of the source domain.
        target: the values of the target domain.
    """
    if isinstance(weight, float) and weight == 1:
        return made
    weights = np.broadcast_to(np.asarray(weight, np.float64), (made.height, made.width))[:, :, None]
    base = as_result(image, made, source.range, target.range)
    missing = image.missing
    if missing is not None and missing.shape[2] != made.channels:
        missing = np.broadcast_to(missing.all(axis=2, keepdims=True), made.pixels.shape)
    if missing is not None and base is not image.pixels:  # the no-data value has no counterpart in another range
        base = np.where(missing, made.pixels, base)
    mixed = np.empty_like(made.pixels)
    rows = max(_VALUES_AT_ONCE // (made.width * made.channels), 1)
    for top in range(0, made.height, rows):
        part = slice(top, top + rows)
        mixed[part] = _mixed(base[part], made.pixels[part], weights[part], target.range)
    if missing is not None:
        mixed = np.where(missing & (weights > 0), made.pixels, mixed)
    result = restore(replace(made, pixels=mixed), image)
    return replace(result, pixels=np.where(weights == 0, base, result.pixels))


def as_result(image: Image, made: Image, source: ValueRange, target: ValueRange) -> Array:
    """Return the pixels of an image in the type, range and channels of its translation; `image.pixels` if all agree."""
    pixels = image.pixels
    if image.channels == 3 and made.channels == 1:
        pixels = (pixels.astype(np.float64) * _LUMA).sum(axis=2, keepdims=True)
    elif image.channels != made.channels:
        pixels = np.broadcast_to(pixels, made.pixels.shape)
    if source != target or image.dtype != made.dtype:
        (low, high), (to_low, to_high) = source.of(image.dtype), target.of(made.dtype)
        pixels = (pixels.astype(np.float64) - low) * ((to_high - to_low) / (high - low)) + to_low
    return pixels if pixels.dtype == made.dtype else _rounded(pixels, made.dtype)


def _mixed(given: Array, made: Array, weight: Array, values: ValueRange) -> Array:
    """Return g + w (m - g) in the type of `made`."""
    low, high = values.of(made.dtype)
    g, m = given.astype(np.float64), made.astype(np.float64)
    mixed = g + weight * (m - g)
    # Rounding must not leave the interval between both, whose ends are exact.
    between = np.clip(mixed, np.minimum(g, m), np.maximum(g, m))
    mixed = np.where(weight > 1, np.clip(mixed, low, high), between)
    return _rounded(np.where(weight == 1, m, mixed), made.dtype)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.clip(np.round(values), *span_of(dtype)).astype(dtype)


def blended_tensor(given: Tensor, made: Tensor, weight: float | Tensor) -> Tensor:
    """Return the blend of tensors n c h w in [-1, 1], float32. weight: a number, or a tensor that broadcasts."""
    if isinstance(weight, float) and weight == 1:
        return made
    g, m = given.detach().float().to(made.device), made
    share = torch.as_tensor(weight, dtype=torch.float32, device=made.device)
    mixed = g + share * (m - g)
    between = torch.minimum(torch.maximum(mixed, torch.minimum(g, m)), torch.maximum(g, m))
    mixed = torch.where(share > 1, mixed.clamp(-1, 1), between)
    return torch.where(share == 0, g, torch.where(share == 1, m, mixed))


def masks_for(masks: Any, count: int) -> Sequence[Any]:
    """Return a mask for each of `count` images: those of a list, or the one that all share.

    Raises ConfigError for a list of another length.
    """
    if not isinstance(masks, (list, tuple)):
        return [masks] * count
    require(len(masks) == count, f"There are {len(masks)} masks for {count} images; give one each, or one for all.")
    return masks
