"""What values the images of a run have: their type, and the range that is measured where percentiles are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from unpaired.data.datasets import DataConfig, Domain, range_of
from unpaired.data.sources import FolderSource
from unpaired.errors import ConfigError, ImageError
from unpaired.images import Image, ImageHeader, Percentiles, ValueRange, parse_range, read_header
from unpaired.storage import shown


def settled_values(
    config: DataConfig, a: FolderSource | None, b: FolderSource | None, saved: DataConfig | None = None
) -> DataConfig:
    """Return the settings with the types of both domains looked up and percentiles replaced by what they measure.

    The type of a domain is that of its first image. Where `saved`, the settings that the run was started with, holds
    the numbers of the same percentiles, these are taken. None stands for a domain without images. Raises ConfigError
    where the type needs a range and none is given, or its channels are not those of the settings.
    """
    for domain, source in (("A", a), ("B", b)):
        if source is not None:
            config = _settled(config, "A" if domain == "A" else "B", source, saved)
    return config


def _settled(config: DataConfig, domain: Domain, source: FolderSource, saved: DataConfig | None) -> DataConfig:
    letter = domain.lower()
    own, dtype = f"range_{letter}", f"dtype_{letter}"
    text = getattr(config, own) or config.range
    found = parse_range(text, "data.range")
    if not isinstance(found, ValueRange):
        known = parse_range(getattr(saved, own) or "dtype") if saved and saved.range == config.range else None
        same = isinstance(known, ValueRange) and known.bounds is not None and not getattr(config, own)
        measured = known if same else _measured(found, source)
        config = _with(config, own, str(measured))
    first = _first(source)
    if first is None:  # no image can be read, which the look at every image says better
        return config
    name, header = first
    channels = config.channels_a if domain == "A" else config.channels_b
    if header.channels != channels and not {header.channels, channels} <= {1, 3}:
        raise ConfigError(
            f"{name} has {header.channels} channels and data.channels_{letter} is {channels}; set it to "
            f"{header.channels} with --data.channels-{letter}."
        )
    try:
        range_of(config, domain).of(np.dtype(header.dtype))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return _with(config, dtype, header.dtype)


def _with(config: DataConfig, name: str, value: Any) -> DataConfig:
    return replace(config, **{name: value})


def _first(source: FolderSource) -> tuple[str, ImageHeader] | None:
    """Return name and header of the first image that has one."""
    for path in source.paths:
        try:
            return shown(path), read_header(path)
        except ImageError:
            continue
    return None


def _measured(percentiles: Percentiles, source: FolderSource) -> ValueRange:
    def images() -> Iterator[Image]:
        for index in range(len(source)):
            try:
                yield source[index]
            except ImageError:  # named by the look at every image
                continue

    return percentiles.measure(images(), len(source))
