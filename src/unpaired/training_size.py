"""The size that training resizes an image to before its crop, shared by training and translation."""

from __future__ import annotations

from typing import Literal

Preprocess = Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]

WHOLE_IMAGE_MULTIPLE = 4
"""Sides of whole images are rounded to multiples of this, as in the official code, for ResNets with two halvings."""


def training_size(
    height: int, width: int, *, preprocess: Preprocess, load_size: int, crop_size: int
) -> tuple[int, int]:
    """Return the size (h, w) that an image of `height` x `width` pixels is resized to for training, before the crop.

    The rules of the official code: resize_and_crop ignores the aspect ratio, scale_width keeps it, crop and none resize
    nothing; without a crop the sides are rounded to multiples of 4.
    """
    if preprocess == "resize_and_crop":
        return load_size, load_size
    if preprocess == "crop":
        return height, width
    if preprocess != "none":
        height, width = max(round(height * load_size / width), 1), load_size
    if preprocess == "scale_width_and_crop":
        return max(height, crop_size), width
    return _rounded(height), _rounded(width)


def _rounded(side: int) -> int:
    return max(round(side / WHOLE_IMAGE_MULTIPLE), 1) * WHOLE_IMAGE_MULTIPLE
