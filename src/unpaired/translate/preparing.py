"""Before the backend: images of one size become a batch of sides that the generator can take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unpaired.images import Image
from unpaired.images.input_spec import InputSpec


def batch_of(images: Sequence[Image], spec: InputSpec) -> Tensor:
    """Return images of one size that `spec` has accepted as n c h w, float32 in [-1, 1]. Raises as `InputSpec` does."""
    return torch.stack([spec.tensor(spec.opaque(image)) for image in images])


def padded(images: Tensor, multiple: int, min_size: int) -> Tensor:
    """Mirror n c h w to the right and below, until both sides are multiples and at least `min_size`.

    By index, as torch's own padding refuses to mirror more than one image width: the reflection goes to and
    fro, so that even one pixel fills any size.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        target = -(-max(size, min_size) // multiple) * multiple
        if target != size:
            period = max(2 * size - 2, 1)
            index = torch.arange(target, device=images.device) % period
            images = images.index_select(axis, torch.where(index < size, index, period - index))
    return images
