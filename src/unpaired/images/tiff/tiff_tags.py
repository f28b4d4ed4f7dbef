"""The directories of a TIFF file: tags read in bounds, without any library. Source: TIFF 6.0, and BigTIFF.

A directory (IFD) is one page. Nothing here decodes a pixel.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.guards import MAX_NUMBERS

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Signatures of TIFF and BigTIFF files."""

MAX_TAGS = 4096
"""Tags of one page that are followed."""

MAX_TEXT = 2**26
"""Largest text of one tag in bytes: the OME-XML of 65,000 planes takes some 30 MB."""

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_COUNTS = 266, 270, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SUB_IFDS = 322, 323, 324, 325, 330
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING = 338, 339, 347, 530
DEPTH, STK_PLANES, ICC, GDAL_METADATA, NODATA, LERC = 32997, 33629, 34675, 42112, 42113, 50674
GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""Tags of a georeference: scale, tie points, matrix, keys, numbers, text."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4"} | {
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_BYTES = (1, 2, 6, 7)
_RATIONALS = (5, 10)

Entry = tuple[int, int, bytes]
"""Type and number of a tag's values, and its last field: the values if they fit, else their offset."""


class Structure:
    """An open TIFF file: its byte order and its directories."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the first bytes; raises ImageError if they are not those of a TIFF."""
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        file.seek(0)
        head = file.read(16)
        if head[:4] not in MAGIC:
            raise ImageError("It is no TIFF file; remove it.")
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = b"+" in head[2:4]
        self._count = struct.Struct(self.order + ("Q" if self.big else "H"))
        self._place = struct.Struct(self.order + ("Q" if self.big else "I"))
        self.entry = struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))
        start = 8 if self.big else 4
        self.first = self._place.unpack(head[start : start + self._place.size].ljust(self._place.size, b"\0"))[0]

    def block(self, offset: int) -> tuple[bytes, int]:
        """Return the entries of the directory at `offset` as bytes, and the offset of the next directory.

        Raises ImageError if it is cut short.
        """
        try:
            self.file.seek(offset)
        except (OSError, OverflowError):
            raise ImageError("It is damaged or cut short: a page of it is missing; fetch it again.") from None
        head = self.file.read(self._count.size)
        number = self._count.unpack(head)[0] if len(head) == self._count.size else 0
        if number > MAX_TAGS:
            raise ImageError(f"It holds {number:,} tags, unlike any real image, and was not decoded; remove it.")
        block = self.file.read(number * self.entry.size)
        if not number or len(block) < number * self.entry.size:
            raise ImageError("It is damaged or cut short: a page of it is missing; fetch it again.")
        following = self.file.read(self._place.size)
        return block, self._place.unpack(following)[0] if len(following) == self._place.size else 0

    def directory(self, offset: int) -> Directory:
        """Return the tags of the directory at `offset`; of equal tags the first one."""
        entries: dict[int, Entry] = {}
        for tag, kind, count, value in self.entry.iter_unpack(self.block(offset)[0]):
            entries.setdefault(tag, (kind, count, value))
        return Directory(self, offset, entries)

    def data(self, entry: Entry, most: int = MAX_TEXT) -> bytes:
        """Return the values of a tag as bytes; b"" if they are beyond the file or more than `most` bytes."""
        kind, count, value = entry
        length = count * _SIZES.get(kind, 0)
        if length <= len(value):
            return value[:length]
        place = self._place.unpack(value)[0]
        if length > most or place + length > self.size:
            return b""
        self.file.seek(place)
        return self.file.read(length)


@dataclass(frozen=True)
class Directory:
    """The tags of one page; values are read on demand."""

    structure: Structure
    offset: int
    entries: Mapping[int, Entry] = field(repr=False)

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def numbers(self, tag: int) -> tuple[Any, ...]:
        """Return the values of a tag, rationals as floats; () if it is absent or lies beyond the file.

        Raises ImageError for more numbers than any real image has.
        """
        entry = self.entries.get(tag)
        if entry is None or entry[0] not in _SIZES:
            return ()
        if entry[1] > MAX_NUMBERS and entry[0] not in _BYTES:
            raise ImageError(f"It holds {entry[1]:,} numbers in one tag, unlike any real image; remove it.")
        data = self.structure.data(entry)
        values = np.frombuffer(data, self.structure.order + _TYPES[entry[0]])
        if entry[0] in _RATIONALS:
            pairs = values.reshape(-1, 2).astype(np.float64)
            return tuple((pairs[:, 0] / np.where(pairs[:, 1] == 0, np.nan, pairs[:, 1])).tolist())
        return tuple(values.tolist())

    def number(self, tag: int, default: int) -> int:
        """Return the first whole number of a tag."""
        values = self.numbers(tag)
        return int(values[0]) if values and values[0] == values[0] else default

    def raw(self, tag: int, most: int = MAX_TEXT) -> bytes:
        """Return a tag's bytes; b"" if it is absent."""
        return self.structure.data(self.entries[tag], most) if tag in self.entries else b""

    def text(self, tag: int) -> str:
        """Return a tag as text, up to its first zero byte."""
        return self.raw(tag).split(b"\0", 1)[0].decode("utf-8", "replace")
