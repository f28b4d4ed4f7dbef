"""Batches n c h w, floats in [-1, 1] or uint8, for metrics and features."""

from __future__ import annotations

import torch
from torch import Tensor


def floats(images: Tensor) -> Tensor:
    """Return images n c h w in [-1, 1] as float32; float64 is kept, uint8 is scaled from 0..255.

    Raises ValueError for another shape or another integer type.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"Images n c h w are needed, not a tensor of shape {(*images.shape,)}.")
    if images.dtype == torch.uint8:
        return images.float() / 127.5 - 1
    if not images.is_floating_point():
        raise ValueError(f"Images are floats in [-1, 1] or uint8 in 0..255, not {images.dtype}.")
    return images if images.dtype == torch.float64 else images.float()


def as_files(images: Tensor) -> Tensor:
    """Return images in [-1, 1] clipped and rounded to the levels of 8-bit files."""
    return levels(images).div(127.5).sub(1)


def levels(images: Tensor) -> Tensor:
    """Return images clipped and rounded to the levels 0..255, as floats."""
    return (floats(images).clamp(-1, 1) * 127.5).add(127.5).round()
