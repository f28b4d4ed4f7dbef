"""TIFF: the largest image of a file and the slices of a stack, in their own type.

Plain pages are decoded by Pillow, which needs no optional library; all others by tifffile and imagecodecs, strip by
strip. Channels that the file declares as alpha are alpha; premultiplied alpha beyond 8 bits is refused, because
dividing by it would not restore the values. If 0 is white, integers are inverted on reading and again on writing.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import PIL.Image

from unpaired.errors import ImageError
from unpaired.images.formats import ImageHeader
from unpaired.images.image import Array, Image, turned
from unpaired.images.tiff import tiff_tags as tags
from unpaired.images.tiff.tiff_page import (
    BLACK_IS_ZERO,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    Page,
    page_of,
    refuse_premultiplied,
    refuse_unread,
)
from unpaired.images.tiff.tiff_pages import Survey, nodata_of, stored_nodata, surveyed
from unpaired.images.tiff.tiff_reading import colours_of, is_sparse, refuse_missing, samples_of
from unpaired.images.tiff.tiff_tags import MAGIC, Structure
from unpaired.images.tiff.tiff_writing import encode, has_more_to_keep

__all__ = ["MAGIC", "encode", "has_more_to_keep", "read", "read_header"]

_PILLOW = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # compressions
_BYTES = (1, 5, 8, 32773, 32946)  # those that hold numbers of 16 bits
_BIG_ENDIAN_BIG = b"MM\0+"
_FAX, _LERC = (2, 3, 4), 34887


@dataclass(frozen=True)
class _Opened:
    structure: Structure
    survey: Survey
    page: Page

    @property
    def parts(self) -> int:
        """Number of pages that hold the channels of one slice."""
        return len(self.survey.slices[0])

    @property
    def nodata(self) -> float | None:
        return nodata_of(self.page)


def read_header(file: BinaryIO) -> ImageHeader:
    """Return the header of a file without decoding. Raises ImageError for a file that is not read."""
    opened = _opened(file)
    page, frames = opened.page, len(opened.survey.slices)
    width, height = page.upright
    if _is_for_pillow(page) and opened.parts == 1:
        with _pillow(file, page) as picture:
            grey = picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I;16")
            alpha, mode = picture.has_transparency_data, picture.mode
        dtype = "uint8" if page.depth <= 8 else "uint16"
        header = ImageHeader(width, height, mode, 1 if grey else 3, alpha, page.depth, "TIFF", dtype)
    else:
        channels, alpha = _channels(opened)
        header = ImageHeader(width, height, "", channels, alpha, page.depth, "TIFF", str(page.dtype))
    return replace(header, frames=frames, nodata=opened.nodata, carries=opened.survey.carries)


def read(file: BinaryIO, frame: int = 0) -> Image:
    """Decode slice `frame`, upright; raises ImageError if the file has fewer."""
    opened = _opened(file)
    count = len(opened.survey.slices)
    if not 0 <= frame < count:
        raise ImageError(f"It has {count} slice{'s' if count > 1 else ''}, and slice {frame} was requested.")
    images = []
    for place, number in opened.survey.slices[frame]:
        page = opened.page
        if place != page.directory.offset:
            page = page_of(opened.structure.directory(place))
            refuse_unread(page)
            if page.key != opened.page.key:
                raise ImageError("Its pages changed while they were read; try again.")
        images.append(_read_page(file, page, number, alone=opened.parts == 1))
    if len(images) == 1:
        image = images[0]
    else:
        image = replace(images[0], pixels=np.concatenate([one.pixels for one in images], axis=2))
    return _with_gaps(image, opened)


def _with_gaps(image: Image, opened: _Opened) -> Image:
    """Return an image with its mask and its no-data value; missing floats of LERC, NaN here, get this value too."""
    image, nodata = replace(image, mask=_mask(opened)), opened.nodata
    if opened.page.compression == _LERC and image.dtype.kind == "f" and np.isnan(image.pixels).any():
        nodata = math.nan if nodata is None else nodata
        pixels = np.where(np.isnan(image.pixels), image.dtype.type(nodata), image.pixels)
        return replace(image, pixels=pixels, nodata=nodata)
    return replace(image, nodata=nodata)


def _mask(opened: _Opened) -> Array | None:
    """Return the mask of hidden pixels, bool h w, upright; None without one."""
    if opened.survey.mask is None:
        return None
    page = page_of(opened.structure.directory(opened.survey.mask))
    hidden = Image((samples_of(page, 0) == 0).astype(np.uint8))
    found: Array = turned(hidden, opened.page.orientation).pixels[:, :, 0] > 0
    return found if found.any() else None


def _opened(file: BinaryIO) -> _Opened:
    structure = Structure(file)
    survey = surveyed(structure)
    page = page_of(structure.directory(survey.picture))
    refuse_unread(page)
    return _Opened(structure, survey, page)


def _channels(opened: _Opened) -> tuple[int, bool]:
    """Return the number of channels of a slice, and whether alpha follows them."""
    page = opened.page
    if page.photometric == PALETTE:
        return 3, False
    refuse_premultiplied(page)
    alpha = page.has_alpha and opened.parts == 1
    return opened.parts * page.samples - alpha, alpha


def _is_for_pillow(page: Page) -> bool:
    """Return whether Pillow reads a page correctly and completely."""
    samples, extras, kind = page.samples, page.extras, page.photometric
    if page.directory.structure.file.seek(0) or page.directory.structure.file.read(4) == _BIG_ENDIAN_BIG:
        return False
    if page.compression not in _PILLOW or set(page.formats) != {1} or len(page.bits) > 1 or is_sparse(page):
        return False
    if tags.PHOTOMETRIC not in page.directory and page.compression not in _FAX:
        return False
    if page.depth > 8:
        little = page.directory.structure.order == "<"
        plain = samples == 1 and page.directory.number(tags.FILL_ORDER, 1) == 1
        if page.depth == 12:
            return plain and little and page.compression == 1 and kind == BLACK_IS_ZERO
        plain = plain and page.depth == 16 and page.compression in _BYTES
        return plain and (kind == BLACK_IS_ZERO or (kind == WHITE_IS_ZERO and little))
    if page.depth not in (1, 2, 4, 8) or (page.depth < 8 and (samples > 1 or kind > PALETTE)):
        return False
    if kind == WHITE_IS_ZERO:
        return samples == 1
    if kind in (BLACK_IS_ZERO, RGB):
        return samples - len(extras) == (3 if kind == RGB else 1) and extras in ((), (1,), (2,))
    return True


def _pillow(file: BinaryIO, page: Page) -> PIL.Image.Image:
    """Open a page of a file by Pillow."""
    structure = page.directory.structure
    file.seek(0)
    source = file if page.directory.offset == structure.first else _StartingAt(file, page)
    try:
        return PIL.Image.open(source, formats=("TIFF",))  # type: ignore[arg-type]
    except PIL.UnidentifiedImageError:
        kind = f"{page.samples} x {page.depth} bits in colours of number {page.photometric}"
        raise ImageError(f"It holds {kind}, a combination that is not read; save grey or RGB.") from None


class _StartingAt(io.RawIOBase):
    """A view of a TIFF file in which another page is the first."""

    def __init__(self, file: BinaryIO, page: Page) -> None:
        self._file, self._place = file, 0
        big, order = page.directory.structure.big, page.directory.structure.order
        self._at = 8 if big else 4
        self._first = page.directory.offset.to_bytes(self._at, "little" if order == "<" else "big")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def read(self, size: int | None = -1) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(-1 if size is None else size))
        for number, byte in enumerate(self._first, self._at - start):
            if 0 <= number < len(data):
                data[number] = byte
        return bytes(data)


def _read_page(file: BinaryIO, page: Page, number: int, *, alone: bool) -> Image:
    """Decode one page. alone: it is a whole slice, not one of its channels."""
    if alone and _is_for_pillow(page) and not number:
        refuse_missing(page)
        with _pillow(file, page) as picture:
            image = Image.from_pil(picture)
        if page.inverted and page.depth > 8:  # up to 8 bits Pillow has inverted the numbers
            image = replace(image, pixels=_inverted(image.pixels, page))
        return image
    if page.photometric != PALETTE:
        refuse_premultiplied(page)
    stored = samples_of(page, stored_nodata(page) or 0, number)
    values = _values(page, colours_of(page, stored))
    icc = page.directory.raw(tags.ICC) or None
    if page.has_alpha and alone:
        alpha = _scaled(page, stored[:, :, -1])
        image = Image(np.ascontiguousarray(values[:, :, :-1]), np.ascontiguousarray(alpha, values.dtype), icc)
    else:
        image = Image(values, icc=icc)
    return turned(image, page.orientation)


def _values(page: Page, stored: Array) -> Array:
    """Convert samples to the values of an image: to a type of `HELD`; less than 8 bits are scaled to 0..255."""
    if page.photometric == PALETTE:
        return stored
    values = _scaled(page, stored)
    return _inverted(values, page) if page.inverted else values


def _scaled(page: Page, stored: Array) -> Array:
    assert page.dtype is not None
    if page.dtype == np.uint8 and page.depth < 8:
        scaled: Array = np.round(stored * (255 / (2**page.depth - 1))).astype(np.uint8)
        return scaled
    return np.ascontiguousarray(stored, dtype=page.dtype)


def _inverted(values: Array, page: Page) -> Array:
    """Invert the values of a page: from 0 as white to 0 as black, and back."""
    most = 255 if page.depth <= 8 else 2**page.depth - 1
    found: Array = (most - values.astype(np.int32)).astype(values.dtype)
    return found
