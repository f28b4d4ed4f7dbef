"""Before the backend: images of one size become a batch with sides that the generator accepts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unpaired.images import Image
from unpaired.images.input_spec import InputSpec


def batch_of(images: Sequence[Image], spec: InputSpec, size: tuple[int, int]) -> Tensor:
    """Return images of one size, accepted by `spec`, as n c h w, float32 in [-1, 1], resized to `size` (h, w).

    Raises as `InputSpec` does.
    """
    return torch.stack([spec.tensor(spec.resized(spec.opaque(image), size)) for image in images])


def padded_side(side: int, multiple: int, min_size: int) -> int:
    """Return the length of a side in pixels after padding: a multiple, and at least `min_size`."""
    return -(-max(side, min_size) // multiple) * multiple


def padded(images: Tensor, multiple: int, min_size: int) -> Tensor:
    """Pad n c h w by reflection to the right and below, until both sides are multiples and at least `min_size`.

    Indexed by hand, as torch's padding is limited to one image width: the reflection repeats, so that even one pixel
    fills any size.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        target = padded_side(size, multiple, min_size)
        if target != size:
            period = max(2 * size - 2, 1)
            index = torch.arange(target, device=images.device) % period
            images = images.index_select(axis, torch.where(index < size, index, period - index))
    return images
