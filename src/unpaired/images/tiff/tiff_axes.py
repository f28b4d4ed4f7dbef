"""The slice and channel of each page of a TIFF, by the first page's description: OME, ImageJ, tifffile's JSON.

OME-XML may name other files; their names are never followed.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_PLANES = 2**20
"""Largest number of planes in a description."""

_UNIT = re.compile(r"[\w .]{1,16}")  # a longer text is no unit and may be personal
_UNITS = {"", "pixel", "pixels"}
_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}


@dataclass(frozen=True)
class Axes:
    """The axes of the pages by a description.

    kind: "ome", "imagej" or "json".
    planes: for each slice the numbers of its pages, one per channel. Slices are ordered by time, then by depth.
    sizes: of t, z and c (channels of pages, without the samples of a page).
    spacing: x, y and z map to the size of a pixel in `unit`, t to seconds between frames.
    elsewhere: whether pages lie in other files.
    size: width and height, None if the description does not have them.
    """

    kind: str
    planes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, int, int]
    spacing: Mapping[str, float]
    unit: str = ""
    names: tuple[str, ...] = ()
    elsewhere: bool = False
    size: tuple[int, int] | None = None


def axes_of(text: str, name: str) -> Axes | None:
    """Parse the description of a file called `name`; None if it has no reliable axes."""
    try:
        if text.startswith("ImageJ="):
            return _imagej(text)
        if text.startswith('{"shape":'):
            return _shaped(text)
        if text.lstrip("\ufeff \r\n\t").startswith("<") and "<OME" in text:
            return _ome(text, name)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError, ElementTree.ParseError):
        pass
    return None


def _imagej(text: str) -> Axes:
    """Parse the lines of ImageJ: channels vary fastest, then slices, then frames."""
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    count = int(lines.get("images", 1))
    c, z, t = (max(int(lines.get(key, 1)), 1) for key in ("channels", "slices", "frames"))
    if c * z * t != count:
        c, z, t = 1, count, 1
    if not 0 < count <= MAX_PLANES:
        raise ValueError
    unit = lines.get("unit", "").replace("\\u00B5", "µ").strip()
    unit = unit if _UNIT.fullmatch(unit) else ""
    spacing = {axis: float(lines[key]) for axis, key in (("z", "spacing"), ("t", "finterval")) if key in lines}
    planes = tuple(tuple(range(first, first + c)) for first in range(0, count, c))
    return Axes("imagej", planes, (t, z, c), spacing, "" if unit in _UNITS else unit)


def _shaped(text: str) -> Axes:
    """Parse tifffile's own description: a shape, sometimes with the names of its axes."""
    said = json.loads(text)
    shape, axes = tuple(int(side) for side in said["shape"]), str(said.get("axes", ""))
    if len(axes) != len(shape) or "YX" not in axes or min(shape) < 1:
        raise ValueError
    outer = axes.index("YX")
    count = math.prod(shape[:outer])
    if count > MAX_PLANES or axes[:outer].count("C") > 1 or axes[outer + 2 :] not in ("", "S", "C"):
        raise ValueError
    width, height = shape[outer + 1], shape[outer]
    numbers = iter(itertools.product(*(range(side) for side in shape[:outer])))
    channel = axes.find("C", 0, outer)
    slices: dict[tuple[int, ...], list[int]] = {}
    for number, place in enumerate(numbers):
        slices.setdefault(tuple(k for axis, k in enumerate(place) if axis != channel), []).append(number)
    c = shape[channel] if channel >= 0 else 1
    return Axes("json", tuple(map(tuple, slices.values())), (1, count // c, c), {}, size=(width, height))


def _ome(text: str, name: str) -> Axes | None:
    """Parse OME-XML; of several images the largest."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    # Entities were refused above, and expat reads only the given text.
    root = ElementTree.fromstring(text.lstrip("\ufeff \r\n\t"))  # noqa: S314
    pixels = [found for found in root.iter() if _tag(found) == "Pixels"]
    if not pixels:
        return None
    largest = max(pixels, key=lambda one: int(one.attrib["SizeX"]) * int(one.attrib["SizeY"]))
    x, y, z, c, t = (int(largest.attrib[f"Size{axis}"]) for axis in "XYZCT")
    channels = [found for found in largest if _tag(found) == "Channel"]
    samples = max([int(channel.attrib.get("SamplesPerPixel", 1)) for channel in channels], default=1)
    c = max(c // max(samples, 1), 1)
    if min(x, y, z, t) < 1 or z * c * t > MAX_PLANES:
        return None
    found, elsewhere = _ome_planes(largest, {"Z": z, "C": c, "T": t}, root.attrib.get("UUID", ""), name)
    present = sorted({plane[2] for plane in found})
    planes = []
    for place in itertools.product(range(t), range(z)):
        pages = [found.get((*place, channel)) for channel in present]
        if None not in pages:
            planes.append(tuple(page for page in pages if page is not None))
    unit = largest.attrib.get("PhysicalSizeXUnit", "µm")
    if not _UNIT.fullmatch(unit):
        raise ValueError
    spacing = {
        axis.lower(): float(largest.attrib[f"PhysicalSize{axis}"]) * _ratio(largest, axis, unit)
        for axis in "XYZ"
        if f"PhysicalSize{axis}" in largest.attrib
    }
    names = tuple(channel.attrib.get("Name", "") for channel in channels)
    names, unit = names if any(names) else (), unit if spacing else ""
    sizes = (t, z, len(present)) if len(planes) == t * z else (1, len(planes), len(present))
    return Axes("ome", tuple(planes), sizes, spacing, unit, names, elsewhere, (x, y))


def _ratio(pixels: ElementTree.Element, axis: str, unit: str) -> float:
    """Return the factor that converts a size along an axis to `unit`."""
    own = pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")
    return 1.0 if own == unit else _MICRONS[own] / _MICRONS[unit]


def _ome_planes(
    pixels: ElementTree.Element, sizes: Mapping[str, int], uuid: str, name: str
) -> tuple[dict[tuple[int, int, int], int], bool]:
    """Return the page of each (t, z, c) that lies in this file, and whether others lie in other files."""
    order = str(pixels.attrib.get("DimensionOrder", "XYZCT"))[2:]  # the first varies fastest
    if sorted(order) != ["C", "T", "Z"]:
        raise ValueError
    total = math.prod(sizes.values())
    found: dict[tuple[int, int, int], int] = {}
    elsewhere = False
    blocks = [block for block in pixels if _tag(block) == "TiffData"]
    for block in blocks:
        if _is_elsewhere(block, uuid, name):
            elsewhere = True
            continue
        said = block.attrib
        page = int(said.get("IFD", 0))
        count = int(said.get("PlaneCount", 1 if "IFD" in said else total))
        place = _index([int(said.get(f"First{axis}", 0)) for axis in order], [sizes[axis] for axis in order])
        for number in range(min(count, total - place)):
            at = dict(zip(order, _unindex(place + number, [sizes[axis] for axis in order]), strict=True))
            found[at["T"], at["Z"], at["C"]] = page + number
    if not blocks:
        raise ValueError
    return found, elsewhere or len(found) < total


def _is_elsewhere(block: ElementTree.Element, uuid: str, name: str) -> bool:
    """Return whether pages lie in another file: by its identifier, or by its name if this file has none."""
    for found in block:
        if _tag(found) == "UUID":
            if uuid and found.text:
                return found.text.strip() != uuid
            return Path(found.attrib.get("FileName", name)).name != name
    return False


def _index(place: Sequence[int], sizes: Sequence[int]) -> int:
    """Return the flat index of a position; the first axis varies fastest."""
    if any(not 0 <= at < size for at, size in zip(place, sizes, strict=True)):
        raise ValueError
    return place[0] + sizes[0] * (place[1] + sizes[1] * place[2])


def _unindex(number: int, sizes: Sequence[int]) -> tuple[int, int, int]:
    return number % sizes[0], number // sizes[0] % sizes[1], number // sizes[0] // sizes[1]


def _tag(element: ElementTree.Element) -> str:
    return re.sub(r"^{.*}", "", str(element.tag))
