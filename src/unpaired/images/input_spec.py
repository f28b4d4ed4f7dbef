"""Preprocessing of an image to a tensor, shared by training, evaluation and translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from unpaired.errors import ImageError
from unpaired.images.image import Color, Image, Resampling, resize
from unpaired.images.nodata import bands, flatten
from unpaired.images.values import DTYPE, ValueRange, to_srgb, to_tensor

IccHandling = Literal["ignore", "convert"]
"""ignore: use colours as stored; convert: convert colours with an ICC profile to sRGB."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The preprocessing of the images of a domain to tensors c h w, float32 in [-1, 1].

    The steps, in this order: `accept` (profile and bands), `opaque` (no data and transparency), `resized`, `tensor`.
    Calling the object applies all of them; training crops between the last two.

    channels: of the tensor; only grey and colour are converted into each other.
    range: the values that become -1 and 1.
    nodata_fill: replacement for no data, None for the low end of the range.
    background: the colour under transparent images.
    icc: whether colours with an ICC profile are converted to sRGB.
    resize: the interpolation.
    """

    channels: int = 3
    range: ValueRange = DTYPE
    nodata_fill: float | None = None
    background: Color = (255, 255, 255)
    icc: IccHandling = "ignore"
    resize: Resampling = "bicubic"

    def __call__(self, image: Image, size: tuple[int, int] | None = None) -> Tensor:
        """Return an image as a tensor c h w in [-1, 1], resized to `size` (h, w) if given.

        Raises ImageError for a type without a range, a damaged profile, or NaN and infinite values that are not
        declared as no data; ConfigError for channels that do not fit.
        """
        self.require_range(image.dtype)
        taken = self.opaque(self.accept(image))
        return self.tensor(taken if size is None else self.resized(taken, size))

    def require_range(self, dtype: np.dtype[Any]) -> None:
        """Raise ImageError if `range` is the whole range of the type and this type has none."""
        if self.range.bounds is None and not self.range.fits(dtype):
            raise ImageError(
                f"Images of {dtype} have no range of their own, and the model was trained on the whole range of a "
                "type; convert it to 8 or 16 bits."
            )

    def accept(self, image: Image, *, keep_icc: bool = False) -> Image:
        """Return the image with its colours converted by `icc`, and with alpha as a band if `channels` includes it.

        keep_icc: keep colours and profile whatever `icc` is.
        """
        return bands(image if keep_icc or self.icc == "ignore" else to_srgb(image), self.channels)

    def opaque(self, image: Image) -> Image:
        """Return the image with no data filled, over the background. Raises as `Image.over` does."""
        return flatten(image, self.channels, self.background, self.range, self.nodata_fill)

    def resized(self, image: Image, size: tuple[int, int]) -> Image:
        """Resize the image to `size` (h, w), ignoring its aspect ratio."""
        return resize(image, size, self.resize)

    def tensor(self, image: Image) -> Tensor:
        """Return an opaque image as a tensor c h w in [-1, 1]. Raises as `to_tensor` does."""
        return to_tensor(image, self.channels, self.range)
