"""The input specifications of a model's domains, from its model.json."""

from __future__ import annotations

from unpaired.images.input_spec import InputSpec
from unpaired.models.model_folder import ModelInfo


def spec_from_model(info: ModelInfo, domain: str, channels: int) -> InputSpec:
    """Return the conversion of images of domain "A" or "B" to tensors with `channels` channels, as in training."""
    values = info.values[domain]
    return InputSpec(
        channels=channels,
        range=values.range,
        nodata_fill=values.nodata_fill,
        background=info.background,
        icc=info.icc,
        resize=values.resize,
    )


def source_spec(info: ModelInfo, direction: str) -> InputSpec:
    """Return the conversion of a direction's input images to tensors."""
    return spec_from_model(info, direction[0], info.directions[direction].in_channels)


def target_spec(info: ModelInfo, direction: str) -> InputSpec:
    """Return the conversion of images of a direction's output domain to tensors."""
    return spec_from_model(info, direction[-1], info.directions[direction].out_channels)
