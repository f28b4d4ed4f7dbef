"""Bounds on the unpacked size of a TIFF's strips and tiles: never more than the page declares."""

from __future__ import annotations

import io
import lzma
import math
import zlib
from collections.abc import Callable
from typing import Any

from unpaired.errors import ImageError
from unpaired.images.deep import refuse_surplus
from unpaired.images.extras import extra
from unpaired.images.guards import refuse_overlong
from unpaired.images.jpeg2000 import greedy
from unpaired.images.streams import stream_size
from unpaired.images.tiff.tiff_page import COMPRESSIONS, Page

_XZ_MEMORY = 2**27  # fits the largest dictionary that xz uses by default
_SLACK = 2**12
_BLOCK = 16  # JPEG rounds sides up to multiples of this
_JPEG, _LERC = (7, 33007, 34892), 34887
_KINDS = (
    dict.fromkeys(_JPEG, ("jpeg", "jpeg-lossless"))
    | dict.fromkeys((33003, 33004, 33005, 34712), ("jpeg2000",))
    | dict.fromkeys((22610, 34934), ("jpegxr",))
    | dict.fromkeys((34927, 50001), ("webp",))
    | dict.fromkeys((50002, 52546), ("jpegxl",))
    | {34933: ("png",), _LERC: ("lerc",)}
)


def refuse_claims(data: bytes, page: Page) -> None:
    """Raise ImageError if the stream in a strip or tile claims a larger size than the page declares.

    A decoder allocates memory for the size in the stream. Deflate and similar compressions have no size in the stream;
    `unpacked` limits them.
    """
    kinds = _KINDS.get(page.compression)
    if kinds is None:
        return
    name, size = COMPRESSIONS[page.compression], stream_size(data)
    if size is None or size.kind not in kinds:
        raise ImageError(f"Its {name} is damaged or of a kind that is not read; fetch it again or save it by deflate.")
    rows, columns, samples = page.segment
    fits = size.width <= _up(columns) and 0 < size.height <= _up(rows) and size.channels <= samples + 1
    if not fits or size.bits > max(8 * math.ceil(page.depth / 8), 8):
        raise ImageError(
            f"A strip or tile in it claims {size.width} x {size.height} pixels of {size.channels} x {size.bits} bits, "
            "more than its page, and was not decoded; remove it."
        )
    if size.kind == "jpeg2000" and (reason := greedy(bytes(data))):
        raise ImageError(f"A strip or tile in it {reason}, unlike any real image, and was not decoded; save it anew.")
    if page.compression in _JPEG or page.compression == 34933:
        refuse_overlong("A strip or tile in it", data[:132], io.BytesIO(data))
    if page.compression == 34933:
        refuse_surplus(data)


def _up(side: int) -> int:
    return math.ceil(side / _BLOCK) * _BLOCK


def unpacked(data: bytes, compression: int, most: int) -> bytes | None:
    """Decompress up to `most` bytes; None for a compression that is not of bytes."""
    unpack = _UNPACK.get(compression)
    return None if unpack is None else unpack(data, most)


def lerc_unpacked(data: bytes, page: Page, compressed: int) -> bytes:
    """Unpack a LERC stream that is compressed a second time. compressed: 1 by deflate, 2 by ZSTD, 0 not at all."""
    most = page.segment_bytes + page.segment[0] * page.segment[1] // 8 + _SLACK  # uncompressed values and a mask
    if compressed == 1:
        return _inflate(data, most)
    return _zstd(data, most) if compressed == 2 else data


def _inflate(data: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(data, most)


def _unxz(data: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(data, most)


def _lzw(data: bytes, most: int) -> bytes:
    return bytes(_codecs().lzw_decode(data, out=most))


def _packbits(data: bytes, most: int) -> bytes:
    # Two bytes become at most 128; rows beyond the last one, which some programs write, are cut off.
    return bytes(_codecs().packbits_decode(data, out=min(64 * len(data), 2 * most) + _SLACK))[:most]


def _zstd(data: bytes, most: int) -> bytes:
    return bytes(_codecs().zstd_decode(data, out=most))


def _codecs() -> Any:
    return extra("imagecodecs", "Reading TIFF of this compression")


_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    1: lambda data, most: data[:most],
    5: _lzw,
    8: _inflate,
    32773: _packbits,
    32946: _inflate,
    34925: _unxz,
    34926: _zstd,
    50000: _zstd,
    50013: _inflate,
}
