"""The pages of a TIFF that are its image: the largest one of full size, and the pages like it as slices of a stack.

Pages marked as smaller copies or masks, and those of another size, are reported and not read. Only the headers of pages
are visited, each of a stack once.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.formats import Carried
from unpaired.images.tiff import tiff_tags as tags
from unpaired.images.tiff.tiff_axes import Axes, axes_of
from unpaired.images.tiff.tiff_page import RGB, Page, page_of
from unpaired.images.tiff.tiff_tags import Structure

MAX_PAGES = 2**16
"""Pages that are visited; a file with more is read as a single image."""

MAX_KINDS = 512
"""Pages of different shape that are distinguished; further ones are others."""

_MAX_ENTRIES = 2**21  # tags of all pages together
_MAX_SUBS = 64
_MOST_VALUES = 64  # bytes of a tag that distinguish pages
_KEPT = 8  # number of cached surveys
_WORTH_KEEPING = 16  # pages from which a survey takes longer than opening the file
_TELLING = frozenset(
    (
        *(tags.SUBFILE, tags.WIDTH, tags.HEIGHT, tags.BITS, tags.COMPRESSION, tags.PHOTOMETRIC, tags.ORIENTATION),
        *(tags.SAMPLES, tags.PLANAR, tags.EXTRA_SAMPLES, tags.SAMPLE_FORMAT, tags.TILE_WIDTH),
    )
)
_RESOLUTION_OF_SCREENS = (0, 1, 72, 96)
_BAND = re.compile(r'role="(description|colorinterp|scale|offset|unittype)"', re.IGNORECASE)

Plane = tuple[int, int]
"""The offset of a page's directory, and the index among consecutive images under one directory."""


@dataclass(frozen=True)
class Survey:
    """The contents of a file: for each slice the planes of its channels, and the other contents by kind.

    mask: the directory offset of a mask page for a single image, as GDAL writes it.
    """

    slices: tuple[tuple[Plane, ...], ...]
    carries: frozenset[Carried]
    axes: Axes | None
    mask: int | None = None

    @property
    def picture(self) -> int:
        """The directory offset of the first page of the image."""
        return self.slices[0][0][0]


_surveys: OrderedDict[tuple[int, ...], Survey] = OrderedDict()
_lock = Lock()


def surveyed(structure: Structure) -> Survey:
    """Return the survey of an open file; the last ones of files with many pages are cached."""
    found = os.fstat(structure.file.fileno())
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    with _lock:
        if key in _surveys:
            _surveys.move_to_end(key)
            return _surveys[key]
    survey = _survey(structure)
    if len(survey.slices) >= _WORTH_KEEPING:
        with _lock:
            _surveys[key] = survey
            while len(_surveys) > _KEPT:
                _surveys.popitem(last=False)
    return survey


def _survey(structure: Structure) -> Survey:
    places, kinds, end = _walked(structure)
    pages = _kinds_of_pages(structure, places, kinds)
    subs = [page for first in pages.values() for page in _sub_pages(first)]
    # The largest image, of equal ones the first; copies and masks only if there is nothing else.
    picture = max([*pages.values(), *subs], key=lambda page: (page.is_picture, page.width * page.height))
    alike = {kind for kind, page in pages.items() if page.key == picture.key and page.is_picture == picture.is_picture}
    main = [place for place, kind in zip(places, kinds, strict=True) if kind in alike]
    if any(picture is page for page in subs):
        main = [picture.directory.offset]
    first = structure.directory(places[0])
    axes = axes_of(first.text(tags.DESCRIPTION), Path(str(structure.file.name)).name)
    slices, axes = _slices(structure, picture, places, main, axes)
    if end == "cut" and len(slices) > 1:
        raise ImageError("It is cut short: some of its pages lie beyond its end; fetch it again.")
    if end == "limit":
        slices = slices[:1]
    used = {place for planes in slices for place, _ in planes}
    rest = {kind for place, kind in zip(places, kinds, strict=True) if place not in used}
    others = [pages[kind] for kind in rest if kind in pages] + [page for page in subs if page is not picture]
    mask = _mask(picture, others) if len(slices) == len(slices[0]) == 1 else None
    others = [page for page in others if page is not mask]
    carries = _beside(picture, axes, others, not rest <= pages.keys(), places)
    if mask is None:
        return Survey(slices, carries, axes)
    return Survey(slices, carries | {"no-data"}, axes, mask.directory.offset)


def _mask(picture: Page, others: Sequence[Page]) -> Page | None:
    """Return the mask page of an image without alpha; None if there is none, or several."""
    size = picture.width, picture.height
    found = [
        page
        for page in others
        if page.is_mask and not page.subfile & 1 and page.samples == 1 and (page.width, page.height) == size
    ]
    return found[0] if len(found) == 1 and not picture.has_alpha else None


def _walked(structure: Structure) -> tuple[list[int], list[int], Literal["whole", "cut", "limit"]]:
    """Return the offsets of all pages, their kinds as numbers, and how the walk ended."""
    places: list[int] = []
    kinds: list[int] = []
    told = _Kinds(structure)
    seen: set[int] = set()
    place, entries = structure.first, 0
    while place and place not in seen:
        if len(places) >= MAX_PAGES or entries > _MAX_ENTRIES:
            return places, kinds, "limit"
        seen.add(place)
        try:
            block, following = structure.block(place)
        except ImageError:
            if not places:
                raise
            return places, kinds, "cut"
        places.append(place)
        kinds.append(told.kind(block))
        entries += len(block) // structure.entry.size
        place = following
    if not places:
        raise ImageError("It holds no page; fetch it again or remove it.")
    return places, kinds, "whole"


class _Kinds:
    """Numbers for kinds of directories: equal for pages of equal storage and shape."""

    def __init__(self, structure: Structure) -> None:
        self._structure, self._size = structure, structure.entry.size
        self._starts: dict[tuple[bytes, bytes], list[int]] = {}
        self._known: dict[object, int] = {}
        self._quick: dict[bytes, int] = {}

    def kind(self, block: bytes) -> int:
        """Return the kind of a directory, in most cases by its bytes alone."""
        size = self._size
        # The tag numbers: if they equal those of an earlier page, the distinguishing tags are at the same positions.
        layout = block[::size], block[1::size]
        starts = self._starts.get(layout)
        if starts is None:
            found = enumerate(self._structure.entry.iter_unpack(block))
            starts = self._starts[layout] = [size * number for number, entry in found if entry[0] in _TELLING]
        telling = b"".join([block[start : start + size] for start in starts])
        known = self._quick.get(telling)
        return self._by_values(telling) if known is None else known

    def _by_values(self, telling: bytes) -> int:
        entries = list(self._structure.entry.iter_unpack(telling))
        # Values outside the directory, as those of three samples, are compared instead of their offsets.
        values = [self._structure.data(entry[1:], _MOST_VALUES) or entry[3] for entry in entries]
        key = tuple((*entry[:3], value) for entry, value in zip(entries, values, strict=True))
        number = self._known.setdefault(key, len(self._known))
        if all(entry[3].startswith(value) for entry, value in zip(entries, values, strict=True)):
            self._quick[telling] = number
        return number


def _kinds_of_pages(structure: Structure, places: Sequence[int], kinds: Sequence[int]) -> dict[int, Page]:
    """Return one page of each kind that is an image; raises ImageError if none is."""
    firsts: dict[int, int] = {}
    for place, kind in zip(places, kinds, strict=True):
        if kind < MAX_KINDS:
            firsts.setdefault(kind, place)
    pages = {}
    for kind, place in firsts.items():
        try:
            pages[kind] = page_of(structure.directory(place))
        except ImageError as error:
            fault = error
    if not pages:
        raise fault
    return pages


def _sub_pages(page: Page) -> list[Page]:
    """Return the sub-pages of a page, such as the smaller copies of OME."""
    found = []
    for place in page.directory.numbers(tags.SUB_IFDS)[:_MAX_SUBS]:
        try:
            found.append(page_of(page.directory.structure.directory(int(place))))
        except (ImageError, struct.error):
            continue
    return found


def _slices(
    structure: Structure, picture: Page, places: Sequence[int], main: Sequence[int], axes: Axes | None
) -> tuple[tuple[tuple[Plane, ...], ...], Axes | None]:
    """Return the planes of each slice, and the axes if the pages match them."""
    if axes is not None:
        count = sum(map(len, axes.planes))
        planes: Sequence[Plane] = [(place, 0) for place in places]
        if len(places) == 1 < count:  # one directory for consecutive images
            planes = _consecutive_planes(structure, picture, count)
        fits = bool(axes.planes) and axes.size in (None, (picture.width, picture.height))
        if fits and all(0 <= number < len(planes) for numbers in axes.planes for number in numbers):
            slices = tuple(tuple(planes[number] for number in numbers) for numbers in axes.planes)
            if {place for chosen in slices for place, _ in chosen} <= set(main):
                return slices, axes
        if axes.kind == "imagej":  # its unit is valid all the same
            axes = Axes("imagej", (), (1, 1, 1), axes.spacing, axes.unit, elsewhere=count > len(places))
        else:
            axes = None
    return tuple(((place, 0),) for place in main), axes


def _consecutive_planes(structure: Structure, picture: Page, count: int) -> list[Plane]:
    """Return `count` consecutive planes under one directory, [] if the file is too short for them."""
    size = picture.needed_bytes(0) if picture.grid[1:] == (1, 1) else 0
    start = picture.offsets[0] if picture.offsets else 0
    if picture.compression != 1 or picture.separate or not size or start + size * count > structure.size:
        return []
    return [(picture.directory.offset, number) for number in range(count)]


def _beside(
    picture: Page, axes: Axes | None, others: Sequence[Page], many: bool, places: Sequence[int]
) -> frozenset[Carried]:
    """Return the contents of the file beside its image."""
    found: set[Carried] = set()
    order = {place: number for number, place in enumerate(places)}
    at = order.get(picture.directory.offset, 0)
    for page in others:
        behind = order.get(page.directory.offset, len(order)) > at
        found.add("pyramid" if behind and _is_smaller_copy(page, picture) else "pages")
    stacked = picture.directory.number(tags.STK_PLANES, 1) and picture.directory.entries.get(tags.STK_PLANES)
    if many or (axes and axes.elsewhere) or (stacked and stacked[1] > 1):
        found.add("pages")
    if axes and axes.kind != "json" and math.prod(axes.sizes) > 1:
        found.add("planes")
    directory = picture.directory
    if any(tag in directory for tag in tags.GEOREFERENCE[:4]):
        found.add("georeference")
    if nodata_of(picture) is not None:
        found.add("no-data")
    if physical_size(picture, axes):
        found.add("physical size")
    if _BAND.search(directory.text(tags.GDAL_METADATA)):
        found.add("band descriptions")
    return frozenset(found)


def _is_smaller_copy(page: Page, picture: Page) -> bool:
    """Return whether a page is a level of a pyramid: smaller by about the same factor in both directions."""
    if page.photometric != picture.photometric and (page.is_picture or (page.is_mask and not page.subfile & 1)):
        return False
    across, down = picture.width / page.width, picture.height / page.height
    slack = max(1 / page.width, 1 / page.height, 0.01)
    return across > 1 and abs(across / down - 1) <= 2 * slack


def physical_size(page: Page, axes: Axes | None) -> bool:
    """Return whether a page declares the size of a pixel; screen resolutions do not count."""
    if axes and axes.kind in ("ome", "imagej") and (axes.spacing or axes.unit):
        return True
    across = page.directory.numbers(tags.X_RESOLUTION)
    unit = page.directory.number(tags.RESOLUTION_UNIT, 2)
    return unit in (2, 3) and bool(across) and across[0] == across[0] and across[0] not in _RESOLUTION_OF_SCREENS


def nodata_of(page: Page) -> float | None:
    """Return the no-data value of the image; None if none is declared, or the type cannot hold it."""
    stored = stored_nodata(page)
    return None if stored is None else page.to_value(stored)


def stored_nodata(page: Page) -> float | None:
    """Return the no-data value of GDAL's tag as a stored number; None if no stored number can equal it."""
    text = page.directory.text(tags.NODATA).strip() if tags.NODATA in page.directory else ""
    if page.photometric > RGB or page.dtype is None or not re.fullmatch(r"[-+.,\w]{1,64}", text):
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    if page.dtype.kind == "f":
        with np.errstate(over="ignore"):
            held = float(np.float32(value))
        return None if math.isinf(held) and not math.isinf(value) else held
    signed = page.dtype.kind == "i"
    low, high = -(2 ** (page.depth - 1)) if signed else 0, 2 ** (page.depth - signed) - 1
    return value if low <= value <= high and value == int(value) else None
