"""The values of a run's images: their type, and their range, measured if percentiles are requested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unpaired.data.datasets import DataConfig, Domain
from unpaired.data.normalising import range_of
from unpaired.data.sources import FolderSource
from unpaired.errors import ConfigError, DataError, ImageError
from unpaired.images import Image, ImageHeader, Percentiles, ValueRange, parse_range
from unpaired.scanning.header_scan import headers_by_path
from unpaired.storage import shown


def resolved_values(
    config: DataConfig, a: FolderSource | None, b: FolderSource | None, saved: DataConfig | None = None
) -> DataConfig:
    """Return the settings with the types of both domains resolved and percentiles replaced by their values.

    a, b: None for a domain without images.
    saved: the settings at the start of the run; its values of the same percentiles are reused.

    The type of a domain is the smallest one that holds all of its files and its range. Raises ConfigError if a
    type needs a range and none is given, or if channels are not those of the settings.
    """
    for domain, source in (("A", a), ("B", b)):
        if source is not None:
            config = _resolved(config, "A" if domain == "A" else "B", source, saved)
    return config


def headers_of(source: FolderSource) -> list[tuple[Path, ImageHeader]]:
    """Return each distinct header of a source with the first file that has it; unreadable files are left out."""
    known, unread = source.known, source.known.without_header()
    headers = headers_by_path((source.paths[index] for index in unread), passed_over=ImageError)
    for index in unread:
        if (header := headers.get(source.paths[index])) is not None:
            known.add_header(index, header)
    return [(source.paths[index], header) for index, header in known.first_headers()]


def channels_fit(own: int, has_alpha: bool, wanted: int) -> bool:
    """Return whether images of `own` channels can be used as `wanted`.

    They can if the numbers are equal, if alpha makes up for one, or if one is grey and the other colour.
    """
    return wanted in (own, own + has_alpha) or {own, wanted} <= {1, 3}


def _resolved(config: DataConfig, domain: Domain, source: FolderSource, saved: DataConfig | None) -> DataConfig:
    letter = domain.lower()
    own = f"range_{letter}"
    text = getattr(config, own) or config.range
    found = parse_range(text, "data.range")
    if not isinstance(found, ValueRange):
        known = parse_range(getattr(saved, own) or "dtype") if saved and saved.range == config.range else None
        same = isinstance(known, ValueRange) and known.bounds is not None and not getattr(config, own)
        measured = known if same else _measured(found, source)
        config = _with(config, own, str(measured))
    headers = headers_of(source)
    if not headers:
        return config
    _check_channels(headers, config, domain)
    values, kinds = range_of(config, domain), dict[str, Path]()
    for path, header in headers:
        kinds.setdefault(header.dtype, path)
    for kind, path in kinds.items():
        try:
            values.of(np.dtype(kind))
        except ConfigError as error:
            raise ConfigError(f"{shown(path)}: {error}") from None
    try:
        dtype = values.smallest_type(map(np.dtype, kinds))
    except ConfigError as error:
        raise ConfigError(f"{shown(source.folder)}: {error}") from None
    return _with(config, f"dtype_{letter}", str(dtype))


def _check_channels(headers: list[tuple[Path, ImageHeader]], config: DataConfig, domain: Domain) -> None:
    """Raise ConfigError if no file has the channels of the settings; single ones are reported later as bad images."""
    letter, channels = domain.lower(), config.channels_a if domain == "A" else config.channels_b
    if any(channels_fit(header.channels, header.has_alpha, channels) for _, header in headers):
        return
    path, header = headers[0]
    bands = f" and alpha ({header.channels + 1} with it as a band)" if header.has_alpha else ""
    raise ConfigError(
        f"{shown(path)} has {header.channels} channels{bands} and data.channels_{letter} is {channels}; set it to "
        f"{header.channels} with --data.channels-{letter}."
    )


def _with(config: DataConfig, name: str, value: Any) -> DataConfig:
    return replace(config, **{name: value})


def _measured(percentiles: Percentiles, source: FolderSource) -> ValueRange:
    def images() -> Iterator[Image]:
        for index in range(len(source)):
            try:
                yield source[index]
            except ImageError:  # reported by the scan of every image
                continue

    try:
        return percentiles.measure(images(), len(source))
    except DataError as error:
        raise DataError(f"{shown(source.folder)}: {error}") from None
