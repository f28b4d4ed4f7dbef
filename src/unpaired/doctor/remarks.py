"""Findings about one sound image: its size, its colours, its values, and its further contents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unpaired.data.datasets import WHOLE_IMAGES, DataConfig, check_size
from unpaired.data.ranges import channels_fit
from unpaired.doctor.folders import Place
from unpaired.errors import DataError
from unpaired.images import Carried, ValueRange, parse_range, suffix_of
from unpaired.images.carried import in_order
from unpaired.scanning.inspection import Inspected

THIN_RATIO = 4.0
TINY_SIDE = 16
LARGE_RATIO = 32  # ratio of decoded to used pixels

_KINDS = {
    **dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"], "JPEG"),
    **dict.fromkeys([".tif", ".tiff"], "TIFF"),
    **dict.fromkeys([".bmp", ".dib"], "BMP"),
    **dict.fromkeys([".ppm", ".pnm", ".pbm", ".pgm"], "PPM"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
}
_CARRIED: dict[Carried, str] = {
    "pages": "pages",
    "frames": "frames",
    "planes": "planes",
    "georeference": "georeference",
    "pyramid": "pyramid",
    "physical size": "physical_size",
    "no-data": "no_data",
    "band descriptions": "band_descriptions",
}


def remarks(image: Inspected, config: DataConfig, sheet: bool) -> Iterator[tuple[str, str]]:
    """Yield the findings about one sound image. sheet: the image holds A and B side by side."""
    header = image.header
    assert header is not None
    height, width = header.height, header.width // (2 if sheet else 1)
    size = f"{header.width}x{header.height}"
    try:
        check_size(image.path.name, height, width, config)
    except DataError:
        yield "too_small", size
    else:
        if min(height, width) < config.crop_size and config.preprocess not in WHOLE_IMAGES:
            yield "enlarged", size
    if sheet and header.width % 2:
        yield "pairs", f"{header.width} pixels wide, which is odd"
    if min(height, width) < TINY_SIDE or max(height, width) > THIN_RATIO * min(height, width):
        yield "thin", size
    if config.preprocess == "resize_and_crop" and header.width * header.height > LARGE_RATIO * config.load_size**2:
        yield "large", size
    if image.flat:
        yield "flat", ""
    if image.kind != _KINDS.get(suffix_of(image.path), image.kind):
        yield "mislabelled", f"its content is {image.kind}"
    if image.orientation > 1:
        yield "turned", f"orientation {image.orientation}"
    yield from ((_CARRIED[kind], "") for kind in in_order(header.carries))
    yield from _colour_remarks(image)


def value_remarks(image: Inspected, config: DataConfig, place: Place) -> Iterator[tuple[str, str]]:
    """Yield the reasons why the settings of training exclude the values of a sound image."""
    header = image.header
    assert header is not None
    of_b = place.domain == "B" or not (config.root or config.a)
    channels = config.channels_b if of_b else config.channels_a
    if not channels_fit(header.channels, header.has_alpha, channels):
        yield "channels", f"{header.channels}, and training is set to {channels}"
    values = parse_range((config.range_b if of_b else config.range_a) or config.range)
    if isinstance(values, ValueRange) and not values.has(np.dtype(header.dtype)):
        yield "no_range", header.dtype


def _colour_remarks(image: Inspected) -> Iterator[tuple[str, str]]:
    header = image.header
    assert header is not None
    if header.mode == "CMYK":
        yield "cmyk", ""
    if image.alpha_is_a_band:
        yield "alpha_band", f"band {header.channels + 1}"
    elif header.has_alpha:
        yield "transparent", header.mode
    if header.mode in ("P", "PA"):
        yield "palette", ""
    if header.mode == "1":
        yield "one_bit", ""
    if header.depth > 8:
        yield "deep", f"{header.depth} bits, levels {image.levels[0]:g} to {image.levels[1]:g}"
