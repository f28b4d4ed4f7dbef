"""One page of a TIFF file: the storage of its samples and their conversion to values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.image import _TURNS, HELD, Array
from unpaired.images.tiff import tiff_tags as tags
from unpaired.images.tiff.tiff_tags import Directory

COMPRESSIONS = {
    1: "no compression",
    2: "CCITT RLE",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    22610: "JPEG XR",
    32773: "PackBits",
    32946: "deflate",
    33003: "JPEG 2000 (Aperio, YCbCr)",
    33004: "JPEG 2000",
    33005: "JPEG 2000 (Aperio, RGB)",
    33007: "JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "JPEG",
    34925: "LZMA",
    34926: "ZSTD",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
    50013: "deflate",
    52546: "JPEG XL",
}
"""The supported compressions; no other reaches a decoder."""

UNREAD = {
    6: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    99: "JPEG of Leaf cameras",
    32766: "NeXT RLE",
    32767: "the compression of Sony cameras",
    32769: "packed raw data",
    32770: "the compression of Samsung cameras",
    32771: "CCITT RLE in words",
    32809: "ThunderScan",
    32895: "TIFF/IT",
    32896: "TIFF/IT",
    32897: "TIFF/IT",
    32898: "TIFF/IT",
    32908: "Pixar film",
    32909: "Pixar log",
    32947: "Kodak DCS",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34713: "the compression of Nikon cameras",
    34715: "JBIG2",
    48124: "Jetraw",
    65000: "EER",
    65001: "EER",
    65002: "EER",
}
"""Compressions that are not read, for messages."""

_PHOTOMETRICS = {
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "the raw pattern of a camera's sensor (CFA)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "the raw values of a camera (LinearRaw)",
}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
_FAX = (2, 3, 4)
_NOT_SUBSAMPLED = (1, 34887, 34925, 34926, 50000, 50013)  # by the decoders used here
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_STRAIGHT, _PREMULTIPLIED = 2, 1
MASK_OR_REDUCED = 1 | 4
_LARGE_TILE = 2**24


@dataclass(frozen=True)
class Page:
    """The properties of a page's pixels by its tags; sizes are as stored, before the orientation is applied."""

    directory: Directory
    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    samples: int
    extras: tuple[int, ...]
    compression: int
    photometric: int
    planar: int
    subfile: int
    orientation: int
    tile: tuple[int, int] | None
    rows: int

    @property
    def key(self) -> tuple[object, ...]:
        """Properties that are equal for all pages of a stack."""
        shape = self.width, self.height, self.upright
        return shape, self.bits, self.formats, self.samples, self.extras, self.photometric

    @property
    def is_picture(self) -> bool:
        """Whether it is an image, neither a smaller copy nor a mask."""
        return not self.subfile & MASK_OR_REDUCED and self.photometric != MASK

    @property
    def is_mask(self) -> bool:
        """Whether it is a mask of another page's pixels."""
        return bool(self.subfile & 4) or self.photometric == MASK

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height after the orientation."""
        return (self.height, self.width) if _TURNS[self.orientation][0] else (self.width, self.height)

    @property
    def depth(self) -> int:
        """Bits a sample, the largest of them."""
        return max(self.bits)

    @property
    def separate(self) -> bool:
        """Whether the samples are stored in separate planes."""
        return self.planar == 2 and self.samples > 1

    @property
    def segment(self) -> tuple[int, int, int]:
        """Rows, columns and samples of a strip or tile."""
        rows, columns = (self.tile[1], self.tile[0]) if self.tile else (min(self.rows, self.height), self.width)
        return rows, columns, 1 if self.separate else self.samples

    @property
    def grid(self) -> tuple[int, int, int]:
        """Planes, and strips or tiles down and across."""
        rows, columns, _ = self.segment
        return self.samples if self.separate else 1, math.ceil(self.height / rows), math.ceil(self.width / columns)

    @property
    def segment_bytes(self) -> int:
        """Bytes of a whole strip or tile, decompressed."""
        rows, columns, samples = self.segment
        return rows * math.ceil(columns * samples * self.depth / 8)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of the decoded `Image`; None if no type of `HELD` fits."""
        bits, kind = self.depth, self.formats[0]
        if len(set(self.bits)) > 1 or len(set(self.formats)) > 1:
            return None
        if kind in (_UNSIGNED, _UNDEFINED):
            return np.dtype(np.uint8 if bits <= 8 else np.uint16) if bits <= 16 else None
        if kind == _SIGNED:
            return np.dtype(np.int32 if bits == 32 else np.int16) if bits in (8, 16, 32) else None
        return np.dtype(np.float32) if kind == _FLOAT and bits in (16, 24, 32) else None

    @property
    def has_alpha(self) -> bool:
        """Whether the last sample is alpha."""
        return len(self.extras) > 0 and self.extras[-1] == _STRAIGHT

    @property
    def inverted(self) -> bool:
        """Whether 0 is white and the values are inverted. Signed numbers and floats stay as they are."""
        return self.photometric == WHITE_IS_ZERO and self.formats[0] in (_UNSIGNED, _UNDEFINED)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Offsets of the strips or tiles in the file."""
        return self.directory.numbers(tags.TILE_OFFSETS if self.tile else tags.STRIP_OFFSETS)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Bytes of each strip or tile; computed for uncompressed data if the file does not have them."""
        counts = self.directory.numbers(tags.TILE_COUNTS if self.tile else tags.STRIP_COUNTS)
        if counts or self.compression != 1:
            return counts
        return tuple(self.needed_bytes(index) for index in range(math.prod(self.grid)))

    def needed_bytes(self, index: int) -> int:
        """Return the least decompressed bytes of strip or tile `index`: the last strip may be shorter."""
        rows, columns, samples = self.segment
        if not self.tile:
            rows = min(rows, self.height - index % self.grid[1] * rows)
        return rows * math.ceil(columns * samples * self.depth / 8)

    def to_value(self, stored: float) -> float:
        """Return the value of a stored number, without loss."""
        if self.formats[0] in (_UNSIGNED, _UNDEFINED):
            if self.depth < 8:
                stored = round(stored * 255 / (2**self.depth - 1))
            if self.inverted:
                stored = (255 if self.depth <= 8 else 2**self.depth - 1) - stored
        return stored


def page_of(directory: Directory) -> Page:
    """Return the page of a directory, with the defaults of the standard; raises ImageError without a size."""
    number = directory.number
    width, height = number(tags.WIDTH, 0), number(tags.HEIGHT, 0)
    if width <= 0 or height <= 0:
        raise ImageError("It declares no size; replace or remove it.")
    samples = number(tags.SAMPLES, 1)
    extras = tuple(int(value) for value in directory.numbers(tags.EXTRA_SAMPLES))[: max(samples, 0)]
    bits = _each(directory.numbers(tags.BITS), samples, 1)
    formats = _each(directory.numbers(tags.SAMPLE_FORMAT), samples, _UNSIGNED)
    compression = number(tags.COMPRESSION, 1)
    # libtiff's default for a missing tag.
    usual = WHITE_IS_ZERO if compression in _FAX else RGB if samples - len(extras) == 3 else BLACK_IS_ZERO
    orientation = number(tags.ORIENTATION, 1)
    tile = (number(tags.TILE_WIDTH, 0), number(tags.TILE_HEIGHT, 0)) if tags.TILE_WIDTH in directory else None
    rows = number(tags.ROWS, height) if len(directory.numbers(tags.ROWS)) == 1 else height
    if samples < 1 or min(bits) < 1 or rows < 1 or (tile and min(tile) < 1):
        raise ImageError("Its tags contradict one another; replace or remove it.")
    return Page(
        directory,
        width,
        height,
        bits,
        formats,
        samples,
        extras,
        compression,
        number(tags.PHOTOMETRIC, usual),
        number(tags.PLANAR, 1),
        number(tags.SUBFILE, 0) if 0 <= number(tags.SUBFILE, 0) < 8 else 0,
        orientation if orientation in _TURNS else 1,
        tile,
        rows,
    )


def _each(values: tuple[float, ...], samples: int, default: int) -> tuple[int, ...]:
    """Return one integer per sample, or a single one if all are equal."""
    found = tuple(int(value) for value in values[: max(samples, 1)]) or (default,)
    return found[:1] if len(set(found)) == 1 else found


def refuse_unread(page: Page) -> None:
    """Raise ImageError with the reason for a page of a kind that is not read; the message does not call it damaged."""
    if page.compression not in COMPRESSIONS:
        name = UNREAD.get(page.compression, f"the compression of number {page.compression}")
        raise ImageError(f"It is compressed by {name}, which is not read; save it with deflate or LZW.")
    if page.directory.number(tags.DEPTH, 1) > 1:
        raise ImageError("It holds a volume in one page; save each slice as a page.")
    if page.photometric in _PHOTOMETRICS or page.photometric > YCBCR:
        name = _PHOTOMETRICS.get(page.photometric, f"colours of number {page.photometric}")
        raise ImageError(f"It holds {name}; save grey, RGB or bands.")
    if page.photometric == YCBCR and page.compression in _NOT_SUBSAMPLED and _is_subsampled(page):
        raise ImageError("Its colours are subsampled YCbCr in a compression that does not support it; save it as RGB.")
    if page.dtype is None:
        known, many = ", ".join(map(str, HELD)), len(set(page.bits)) > 1 or len(set(page.formats)) > 1
        names = {_UNSIGNED: "uint", _UNDEFINED: "uint", _SIGNED: "int", _FLOAT: "float", 5: "complex int", 6: "complex"}
        kind = f"{names.get(page.formats[0], 'values of an unknown kind in bits: ')}{page.depth}"
        raise ImageError(f"It holds {'values of mixed sizes' if many else kind}; convert it to one of {known}.")
    if page.tile and page.segment_bytes > max(4 * page.grid[0] * plane_bytes(page), _LARGE_TILE):
        raise ImageError("It claims tiles far larger than the picture and was not decoded; save it anew.")


def _is_subsampled(page: Page) -> bool:
    return page.directory.numbers(tags.SUBSAMPLING) != (1, 1)  # 2, 2 if the tag is absent


def refuse_premultiplied(page: Page) -> None:
    """Raise ImageError for premultiplied colours, which cannot be restored."""
    if _PREMULTIPLIED in page.extras:
        raise ImageError("Its colours are multiplied by their alpha; save it with straight (unassociated) alpha.")


def plane_bytes(page: Page) -> int:
    """Return the bytes of the image, or of one of its planes."""
    return page.height * math.ceil(page.width * page.segment[2] * page.depth / 8)


def whole(array: Array) -> Array:
    """Return a contiguous array in the machine's byte order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
