"""All images of a source as one tensor, for small sets that are evaluated as a whole."""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.data.sources import ImageSource
from unpaired.images import to_tensor


def stacked(source: ImageSource) -> Tensor:
    """Return all images of a source in order, n 3 h w in [-1, 1]; they must have equal size.

    Raises ImageError if one cannot be read faithfully.
    """
    return torch.stack([to_tensor(source[index], 3) for index in range(len(source))])
