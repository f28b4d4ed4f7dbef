"""The preprocessing of a domain's images to tensors, by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unpaired.errors import ConfigError
from unpaired.images import ValueRange, parse_fill, parse_range
from unpaired.images.input_spec import InputSpec

if TYPE_CHECKING:
    from unpaired.data.datasets import DataConfig, Domain


def range_of(config: DataConfig, domain: Domain) -> ValueRange:
    """Return the values that become -1 and 1 in a domain; raises ConfigError for percentiles not yet measured."""
    text = (config.range_a if domain == "A" else config.range_b) or config.range
    found = parse_range(text)
    if not isinstance(found, ValueRange):
        raise ConfigError(f"data.range {text} is measured when a run starts; give numbers, e.g. 0..4095, elsewhere.")
    return found


def fill_of(config: DataConfig, domain: Domain) -> float | None:
    """Return the replacement for no data in a domain, None for the low end of its range."""
    return parse_fill((config.nodata_fill_a if domain == "A" else config.nodata_fill_b) or config.nodata_fill)


def spec_from_config(config: DataConfig, domain: Domain) -> InputSpec:
    """Return the preprocessing of a domain's images. Raises ConfigError for percentiles not yet measured."""
    how = config.resize_a if domain == "A" else config.resize_b
    red, green, blue = config.background
    return InputSpec(
        channels=config.channels_a if domain == "A" else config.channels_b,
        range=range_of(config, domain),
        nodata_fill=fill_of(config, domain),
        background=(red, green, blue),
        icc=config.icc,
        resize=how,
    )
