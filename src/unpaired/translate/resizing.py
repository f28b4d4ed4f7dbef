"""The scale of translation: images are resized to that of training or another one, and results back to their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.images import Image, Resampling, resize
from unpaired.models.model_folder import ModelInfo
from unpaired.models.scale_info import ScaleInfo

Resize = Literal["native", "trained"] | int
"""native: images are translated at their own size; trained: resized as in training; a number: to a shorter side of so
many pixels, the aspect ratio kept.
"""

_MAX_SHORTER = 2**15


@dataclass(frozen=True)
class Resizing:
    """The size at which a model translates an image.

    scale: of the training images, needed for "trained". detail: whether results get back what resizing took.
    """

    resize: Resize
    scale: ScaleInfo | None = None
    detail: bool = False

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (h, w) at which an image of `height` x `width` pixels is translated."""
        if isinstance(self.resize, int):
            factor = self.resize / min(height, width)
            return max(round(height * factor), 1), max(round(width * factor), 1)
        if self.resize == "trained" and self.scale is not None:
            return self.scale.trained(height, width)
        return height, width


def resizing_of(info: ModelInfo, resize: Resize, *, detail: bool = False) -> Resizing:
    """Return the resizing for a model.

    Raises ConfigError for another value, for "trained" if model.json does not record how training resized, and for
    `detail` without resizing or with domains of different channels.
    """
    require(
        not detail or resize != "native",
        "detail adds to results what resizing took from their images; give a resize (--resize trained) too.",
    )
    for one in info.directions.values():
        require(
            not detail or one.in_channels == one.out_channels,
            f"detail adds what the image shows to its translation and needs as many channels in both, not "
            f"{one.in_channels} and {one.out_channels}; leave it out.",
        )
    if isinstance(resize, int) and not isinstance(resize, bool):
        require(1 <= resize <= _MAX_SHORTER, f"resize must be 1 to {_MAX_SHORTER} pixels, not {resize}.")
        return Resizing(resize, detail=detail)
    require(resize in ("native", "trained"), f"resize must be native, trained or a number of pixels, not {resize!r}.")
    if resize == "trained" and info.scale is None:
        side = info.training.load_size
        number = "a number of pixels" if side is None else f"{side}, the size of its training images,"
        raise ConfigError(
            f"This model does not record how training resized its images; give {number} instead of trained."
        )
    return Resizing(resize, info.scale, detail)


def with_detail(made: Tensor, full: Tensor, small: Tensor, how: Resampling) -> Tensor:
    """Return translations with the detail of their images that is missing at the size of translation; in [-1, 1].

    made: translations brought back to the size of the images `full`. small: the images as they were translated. So the
    change that the model makes is brought to full size, and not the image. All are n c h w on the processor.
    """
    kept = full.float() - resized(small, (full.shape[-2], full.shape[-1]), how)
    return (made.float() + kept).clamp(-1, 1)


def parse_resize(text: str) -> Resize:
    """Return the value typed as native, trained or a number. Raises ConfigError."""
    if text.isdecimal():
        return int(text)
    if text in ("native", "trained"):
        return "native" if text == "native" else "trained"
    raise ConfigError(f"--resize takes native, trained or a number of pixels, not {text!r}.")


def resized(images: Tensor, size: tuple[int, int], how: Resampling, bounds: tuple[float, float] = (-1, 1)) -> Tensor:
    """Return n c h w at another size (h, w), float32 within `bounds`, on the processor if the size differs.

    how: bicubic is antialiased, and its overshoot clamped; nearest creates no new values.
    """
    if tuple(images.shape[-2:]) == size:
        return images
    stacked = images.detach().float().cpu().flatten(0, 1).permute(1, 2, 0)  # h w (n c): all planes alike
    pixels = resize(Image(np.ascontiguousarray(stacked.numpy())), size, how).pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1).clamp(*bounds)
    return planes.reshape(*images.shape[:2], *size).contiguous()
