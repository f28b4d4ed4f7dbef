"""Value ranges (the values of black and white), and the conversion of an image to a tensor in [-1, 1] and back.

A range low..high becomes [-1, 1] by (x - low) / ((high - low) / 2) - 1. The inverse rounds, so that an unchanged tensor
gives the same image bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpaired.errors import ConfigError, DataError, ImageError, NonFiniteError
from unpaired.images.image import HELD, Array, Image, opaque, span_of
from unpaired.images.profiles import rgb_to_srgb, space_of

_LUMA = (0.299, 0.587, 0.114)  # Rec. ITU-R BT.601
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*(?P<percent>p?)(?P<low>{_NUMBER})\s*\.\.\s*(?P=percent)(?P<high>{_NUMBER})\s*")
_MOST_SAMPLES = 2**24
_EXACT = 2**24  # float32 holds every whole number up to this


@dataclass(frozen=True)
class ValueRange:
    """The values that become -1 and 1: `bounds`, or None for the whole range of each image's own type."""

    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and not (all(map(math.isfinite, self.bounds)) and self.bounds[0] < self.bounds[1]):
            raise ConfigError(f"The range {self} has no width; its first number is the lower one, e.g. 0..4095.")

    def of(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """Return low and high for images of a type; raises ConfigError for a type without a range of its own."""
        if self.bounds is not None:
            return self.bounds
        if not self.has(dtype):
            raise ConfigError(
                f"Images of {dtype} have no range of their own: give the values of black and white with --range "
                "LOW..HIGH, or --range p0.5..p99.5 to measure it."
            )
        return span_of(dtype)

    def has(self, dtype: np.dtype[Any]) -> bool:
        """Return whether black and white are defined for a type: by these bounds, or by the type's own range."""
        return self.bounds is not None or (dtype.kind != "f" and dtype.itemsize <= 2)

    def fits(self, dtype: np.dtype[Any]) -> bool:
        """Return whether images of a type can hold every value of the range."""
        if self.bounds is None:
            return dtype.kind != "f" and dtype.itemsize <= 2
        low, high = span_of(dtype)
        return dtype.kind == "f" or (low <= self.bounds[0] and self.bounds[1] <= high)

    def smallest_type(self, kinds: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
        """Return the smallest type of `HELD` that holds every value of the types `kinds` and of the range.

        Raises ConfigError if there is none: whole numbers of 32 bits beside floats, or beyond them.
        """
        found = set(kinds)
        for dtype in HELD:
            if all(np.can_cast(kind, dtype) for kind in found) and (self.bounds is None or self.fits(dtype)):
                return dtype
        small = self.bounds is not None and max(map(abs, self.bounds)) <= _EXACT
        if small and all(kind in HELD for kind in found):  # float32 holds every value that the range keeps
            return np.dtype(np.float32)
        names = " and ".join(sorted(map(str, found)))
        raise ConfigError(f"No type holds images of {names} and the range {self}; convert them to one type.")

    def __str__(self) -> str:
        return "dtype" if self.bounds is None else "..".join(f"{bound:.17g}" for bound in self.bounds)


@dataclass(frozen=True)
class Percentiles:
    """A range measured as percentiles `low` and `high` (0 to 100) of all training values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ConfigError(f"Percentiles go from 0 up to 100, not from {self.low:g} to {self.high:g}.")

    def measure(self, images: Iterable[Image], count: int) -> ValueRange:
        """Measure the range of `count` images from evenly spaced values of each, about 16 million in all.

        Transparent pixels and no data are ignored. Raises DataError if the values do not differ.
        """
        share = max(_MOST_SAMPLES // max(count, 1), 256)
        chosen = [np.empty(0)]
        for image in images:
            values = image.measured
            places = np.linspace(0, max(len(values) - 1, 0), min(len(values), share)).astype(np.int64)
            chosen.append(values[places].astype(np.float64))
        values = np.concatenate(chosen)
        if not len(values):
            raise DataError("There are no values to measure percentiles of: all are no data, or transparent.")
        low, high = (float(bound) for bound in np.percentile(values, (self.low, self.high))) if len(values) else (0, 0)
        if not low < high:
            raise DataError(f"The percentiles {self.low:g} and {self.high:g} are both {low:g}; give the range itself.")
        return ValueRange((low, high))


DTYPE = ValueRange()
"""The whole range of an image's own type, 0..255 or 0..65535: the default."""


def parse_range(text: str, name: str = "range") -> ValueRange | Percentiles:
    """Parse a setting: "dtype", "LOW..HIGH" or "pLOW..pHIGH". Raises ConfigError."""
    if text == "dtype":
        return DTYPE
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ConfigError(f"{name} is dtype, LOW..HIGH as in 0..4095, or percentiles as in p0.5..p99.5, not {text!r}.")
    low, high = float(found["low"]), float(found["high"])
    return Percentiles(low, high) if found["percent"] else ValueRange((low, high))


def to_tensor(image: Image, channels: int, values: ValueRange = DTYPE) -> Tensor:
    """Convert `image` to float32 c h w in [-1, 1]: the range's low becomes -1, its high 1; values beyond are clamped.

    Grey becomes RGB by repetition, RGB becomes grey by the luma of Rec. 601. Raises ConfigError for any other change of
    channels and for a type without a range; ImageError for NaN and infinite values, and for an image with alpha, which
    `Image.over` removes.
    """
    if image.alpha is not None:
        raise ImageError("A transparent image has no colours of its own; use image.over((r, g, b)) first.")
    low, high = values.of(image.dtype)
    # A copy: torch takes no arrays that are read-only or have negative strides.
    array = np.array(image.pixels.transpose(2, 0, 1), order="C", dtype=_wide(image.dtype))
    if image.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("It holds NaN or infinite values, which no network accepts; replace them by numbers.")
    tensor = torch.from_numpy(array).sub_(low).div_((high - low) / 2).sub_(1.0).float()
    if values.bounds is not None:
        tensor.clamp_(-1, 1)
    if channels == image.channels:
        return tensor
    if image.channels == 1 and channels == 3:
        return tensor.repeat(3, 1, 1)
    if image.channels == 3 and channels == 1:
        return (tensor * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True)
    raise ConfigError(
        f"The image has {image.channels} channel{'' if image.channels == 1 else 's'} and {channels} are wanted; "
        "convert it, as only grey and colour are made of one another."
    )


def from_tensor(
    tensor: Tensor, *, dtype: Any = np.uint8, alpha: Array | None = None, values: ValueRange = DTYPE
) -> Image:
    """Convert a float tensor c h w in [-1, 1] to an image of `dtype`: clamped to the range, rounded for integers.

    The inverse of `to_tensor`, bit for bit for integers of up to 16 bits. Raises NonFiniteError if the tensor
    holds NaN, ConfigError for a type without a range.
    """
    dtype = np.dtype(dtype)
    low, high = values.of(dtype)
    real = tensor.detach().to("cpu", torch.float32)
    if bool(real.isnan().any()):
        raise NonFiniteError("The generated image has NaN values; the model diverged or is damaged.")
    real = real.clamp(-1, 1).permute(1, 2, 0)
    array = real.numpy().astype(_wide(dtype))
    array = np.clip((array + 1) * ((high - low) / 2) + low, low, high)
    if dtype.kind != "f":
        array = np.clip(np.round(array), *span_of(dtype))
    return Image(np.ascontiguousarray(array.astype(dtype)), alpha)


def kept_where(same: Tensor, given: Image, made: Image, values: ValueRange) -> Image:
    """Return `made` with the pixels of `given`, clamped to the range, at the places that a network left unchanged.

    same: bool c h w; a pixel is unchanged if all its channels are. This keeps two things that a tensor loses: the last
    digits of a float32, which exceed those of the same number in [-1, 1], and the colours under transparency. Integers
    without alpha are equal already.
    """
    if given.alpha is None and given.dtype.kind != "f" and given.dtype.itemsize <= 2:
        return made
    low, high = values.of(given.dtype)
    if given.dtype.kind != "f":
        low, high = math.ceil(low), math.floor(high)
    unchanged = same.all(dim=0).numpy()[:, :, None]
    return replace(made, pixels=np.where(unchanged, given.pixels.clip(low, high), made.pixels).astype(given.dtype))


def as_dtype(alpha: Array, dtype: Any) -> Array:
    """Convert alpha to another type with equal opacity."""
    dtype = np.dtype(dtype)
    if alpha.dtype == dtype:
        return alpha
    share = alpha.astype(np.float64) / opaque(alpha.dtype) * opaque(dtype)
    return (share if dtype.kind == "f" else np.round(share)).astype(dtype)


def to_srgb(image: Image) -> Image:
    """Return the image in sRGB, without a profile. Grey, floats and other channels keep their values.

    Raises ImageError for a damaged profile, MissingExtraError for 16 bits without imagecodecs.
    """
    if image.icc is None:
        return image
    colours = image.channels == 3 and space_of(image.icc) == "RGB"
    return replace(image, pixels=rgb_to_srgb(image.pixels, image.icc) if colours else image.pixels, icc=None)


def _wide(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the type to compute in: float32 for integers of up to 16 bits, else float64."""
    return np.float32 if dtype.kind != "f" and dtype.itemsize <= 2 else np.float64
