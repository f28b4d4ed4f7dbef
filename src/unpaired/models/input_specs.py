"""How a model takes the images of its domains, as its model.json says."""

from __future__ import annotations

from unpaired.images.input_spec import InputSpec
from unpaired.models.model_folder import ModelInfo


def spec_from_model(info: ModelInfo, domain: str, channels: int) -> InputSpec:
    """Return how images of domain "A" or "B" become tensors of so many channels, as in training."""
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
    """Return how the images that a direction takes become tensors."""
    return spec_from_model(info, direction[0], info.directions[direction].in_channels)


def target_spec(info: ModelInfo, direction: str) -> InputSpec:
    """Return how images like those that a direction makes become tensors."""
    return spec_from_model(info, direction[-1], info.directions[direction].out_channels)
