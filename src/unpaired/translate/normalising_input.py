"""How a model takes an image of one of its domains."""

from __future__ import annotations

from torch import Tensor

from unpaired.images import Image, flatten, to_tensor
from unpaired.models.model_folder import ModelInfo


def as_taken(image: Image, info: ModelInfo, domain: str, channels: int) -> Tensor:
    """Return an image of domain "A" or "B" as the networks see it, c h w in [-1, 1]; its colours stay as they are.

    Raises as `unpaired.images.flatten` and `to_tensor` do.
    """
    values = info.values[domain]
    return to_tensor(
        flatten(image, channels, info.background, values.range, values.nodata_fill), channels, values.range
    )
