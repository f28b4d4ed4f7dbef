"""Shapes of objects against ground truth: masks of saturated objects on a grey ground, and their IoU.

The masks are exact on the drawn worlds `shapes` and `fruit` (`unpaired.scenes.shapes`), whose objects have a constant
chroma; a translation is read by the same rule as its ground truth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.images.tensors import levels


def object_masks(images: Tensor, threshold: float) -> Tensor:
    """Return the pixels whose chroma exceeds `threshold`: n h w, bool, of images n 3 h w.

    Chroma is the difference of the largest and the smallest channel, in 8-bit levels; it ignores light and shadow.
    """
    pixels = levels(images)
    return (pixels.amax(1) - pixels.amin(1)) > threshold


def mask_iou(found: Tensor, truth: Tensor) -> Tensor:
    """Return intersection over union of masks n h w, n values in [0, 1]; 1 for two empty masks.

    Raises ValueError if shapes differ.
    """
    _check(found, truth)
    union = (found | truth).sum((1, 2))
    return torch.where(union > 0, (found & truth).sum((1, 2)) / union.clamp(min=1), 1.0)


def moved_share(found: Tensor, truth: Tensor, before: Tensor) -> Tensor:
    """Return the share of the pixels where `truth` differs from `before` that `found` has as in `truth`: n values.

    0 for an unchanged shape and 1 for the required one; NaN if no pixel differs. Masks n h w; `before` is the input's.

    Raises ValueError if shapes differ.
    """
    _check(found, truth)
    _check(before, truth)
    required = truth != before
    return ((found == truth) & required).sum((1, 2)) / required.sum((1, 2))


def _check(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape or one.ndim != 3:
        raise ValueError(f"Two masks n h w are needed, not {(*one.shape,)} and {(*other.shape,)}.")
