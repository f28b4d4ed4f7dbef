"""The size that a codec stream claims in its own header, read without decoding it.

TIFF and DICOM files embed streams of other codecs. A decoder believes the stream, not the container around it, so the
stream's own claim has to be compared with the container's before it is decoded. Sources: ITU-T T.81 (JPEG), T.87
(JPEG-LS), T.800 (JPEG 2000), T.832 (JPEG XR), ISO/IEC 18181 (JPEG XL), RFC 2083 (PNG), RFC 9649 (WebP), Esri's
published layout of LERC.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from unpaired.images.jxl import jxl_size

MAX_PARTS = 4096
"""Segments, boxes, chunks or bands of one stream that are followed; the size of a stream with more is unknown."""

_JPEG_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd8-\xfe])")  # neither stuffed bytes nor restart markers
_JPEG_DCT = (0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE)
_JPEG_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_JPEG_LS, _JPEG_LS_MORE = 0xF7, 0xF8
_SOI, _EOI = 0xD8, 0xD9
_LS_OVERSIZE = 4  # kind of segment F8 that holds sides of more than 16 bits
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_LERC_BITS = (8, 8, 16, 16, 32, 32, 32, 64)
_XR_WIDTH, _XR_HEIGHT, _XR_IMAGE, _XR_ALPHA = 0xBC80, 0xBC81, 0xBCC0, 0xBCC2
_XR_CHANNELS = {0: 1, 1: 3, 2: 3, 3: 3, 4: 4, 5: 4, 7: 3, 8: 4}
_XR_BITS = {0: 1, 1: 8, 2: 16, 3: 16, 4: 16, 6: 32, 7: 32, 8: 5, 9: 10, 10: 6, 15: 1}


@dataclass(frozen=True)
class StreamSize:
    """The size that a stream claims.

    kind: jpeg, jpeg-lossless, jpeg-ls, jpeg2000, jpegxl, png, webp, lerc or jpegxr.
    width, height: in pixels; height is 0 for a JPEG whose height follows its pixels.
    channels: with alpha.
    bits: per channel.

    For a stream of several images each field is the largest.
    """

    width: int
    height: int
    channels: int
    bits: int
    kind: str


def stream_size(data: bytes | memoryview) -> StreamSize | None:
    """Return the size that a stream claims; None if its kind is unknown or its header is cut short.

    Takes a bounded number of steps and raises nothing for any bytes.
    """
    view = memoryview(data).cast("B")
    head = bytes(view[:16])
    for start, read in _READERS:
        if start.match(head):
            try:
                return read(view)
            except (struct.error, IndexError, KeyError, ValueError):
                return None
    return None


def _largest(sizes: Sequence[StreamSize]) -> StreamSize | None:
    """Return the maximum of each field; an unknown height of 0 takes precedence. None without sizes."""
    if not sizes:
        return None
    height = 0 if any(one.height == 0 for one in sizes) else max(one.height for one in sizes)
    width, channels, bits = (max(getattr(one, name) for one in sizes) for name in ("width", "channels", "bits"))
    return StreamSize(width, height, channels, bits, sizes[0].kind)


def _jpeg(view: memoryview) -> StreamSize | None:
    """Follow the segments up to the end of the image; their contents, such as a thumbnail, are skipped."""
    sizes: list[StreamSize] = []
    wide = high = 0
    place = 2
    for _ in range(MAX_PARTS):
        found = _JPEG_MARKER.search(view, place)
        if found is None:
            break
        marker, place = view[found.end() - 1], found.end()
        if marker == _EOI and sizes:
            break
        if marker in (_SOI, _EOI):
            continue
        (length,) = struct.unpack_from(">H", view, place)
        if marker in (*_JPEG_DCT, *_JPEG_LOSSLESS, _JPEG_LS):
            bits, height, width, channels = struct.unpack_from(">BHHB", view, place + 2)
            kind = "jpeg" if marker in _JPEG_DCT else "jpeg-ls" if marker == _JPEG_LS else "jpeg-lossless"
            sizes.append(StreamSize(width, height, channels, bits, kind))
        elif marker == _JPEG_LS_MORE and view[place + 2] == _LS_OVERSIZE:
            count = view[place + 3]
            high = max(high, int.from_bytes(view[place + 4 : place + 4 + count]))
            wide = max(wide, int.from_bytes(view[place + 4 + count : place + 4 + 2 * count]))
        place += max(length, 2)
    else:
        return None
    size = _largest(sizes)
    if size is None or size.kind != "jpeg-ls":
        return size
    return StreamSize(max(size.width, wide), max(size.height, high), size.channels, size.bits, size.kind)


def _jpeg2000(view: memoryview) -> StreamSize:
    """Read SIZ, the first segment of a codestream."""
    if bytes(view[2:4]) != b"\xff\x51":
        raise ValueError
    right, bottom, left, top = struct.unpack_from(">4I", view, 8)
    (channels,) = struct.unpack_from(">H", view, 40)
    if not channels:
        raise ValueError
    depths = bytes(view[42 : 42 + 3 * channels : 3])
    if len(depths) < channels:
        raise ValueError
    bits = max((depth & 0x7F) + 1 for depth in depths)
    return StreamSize(max(right - left, 0), max(bottom - top, 0), channels, bits, "jpeg2000")


def _jp2(view: memoryview) -> StreamSize | None:
    """Read the codestreams of a JP2, and the channels that its palette makes."""
    sizes, colours, bits = [], 0, 0
    for name, body in _boxes(view):
        if name == b"jp2c":
            sizes.append(_jpeg2000(body))
        if name == b"jp2h":
            for inner, palette in _boxes(body):
                if inner == b"pclr":
                    colours = max(colours, palette[2])
                    bits = max([bits, *((depth & 0x7F) + 1 for depth in palette[3 : 3 + palette[2]])])
    size = _largest(sizes)
    if size is None:
        return None
    return StreamSize(size.width, size.height, max(size.channels, colours), max(size.bits, bits), size.kind)


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and body of each box of the ISO kind; raises ValueError for too many."""
    place = 0
    for _ in range(MAX_PARTS):
        if place + 8 > len(view):
            return
        length, name = struct.unpack_from(">I4s", view, place)
        start = 8
        if length == 1:
            (length,), start = struct.unpack_from(">Q", view, place + 8), 16
        length = len(view) - place if length == 0 else length
        if length < start:
            raise ValueError
        yield name, view[place + start : place + length]
        place += length
    raise ValueError


def _jpegxl(view: memoryview) -> StreamSize | None:
    """Read the header of a codestream, bare or in boxes, whole or in parts."""
    streams = [view] if bytes(view[:2]) == b"\xff\x0a" else []
    parts = b""
    if not streams:
        for name, body in _boxes(view):
            if name == b"jxlc":
                streams.append(body)
            if name == b"jxlp":
                parts += bytes(body[4 : 4 + 2**16])
        streams += [memoryview(parts)] if parts else []
    sizes = []
    for stream in streams:
        if bytes(stream[:2]) != b"\xff\x0a":
            raise ValueError
        sizes.append(StreamSize(*jxl_size(bytes(stream[2 : 2**16])), "jpegxl"))
    return _largest(sizes)


def _png(view: memoryview) -> StreamSize:
    """Read IHDR, which comes first, and whether a transparent colour adds a channel."""
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", view, 8)
    if (length, name) != (13, b"IHDR"):
        raise ValueError
    channels, place = _PNG_CHANNELS[colour], 33
    for _ in range(MAX_PARTS):
        if place + 8 > len(view):
            break
        length, name = struct.unpack_from(">I4s", view, place)
        if name == b"IDAT":
            break
        if name == b"tRNS" and colour in (0, 2, 3):
            channels += 1
            break
        place += length + 12
    return StreamSize(width, height, channels, 8 if colour == 3 else bits, "png")


def _webp(view: memoryview) -> StreamSize | None:
    """Read the canvas and every frame."""
    sizes = []
    for name, body in _webp_chunks(view[12:]):
        if name == b"VP8 ":
            width, height = struct.unpack_from("<HH", body, 6)
            sizes.append(StreamSize(width & 0x3FFF, height & 0x3FFF, 3, 8, "webp"))
        elif name == b"VP8L":
            (word,) = struct.unpack_from("<I", body, 1)
            width, height = (word & 0x3FFF) + 1, (word >> 14 & 0x3FFF) + 1
            sizes.append(StreamSize(width, height, 3 + (word >> 28 & 1), 8, "webp"))
        elif name == b"VP8X":
            wide, high = struct.unpack_from("<3s3s", body, 4)
            width, height = int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
            sizes.append(StreamSize(width, height, 3 + (body[0] >> 4 & 1), 8, "webp"))
    return _largest(sizes)


def _webp_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and body of each chunk, also of those in frames; raises ValueError for too many."""
    place = 0
    for _ in range(MAX_PARTS):
        if place + 8 > len(view):
            return
        name, length = struct.unpack_from("<4sI", view, place)
        yield name, view[place + 8 : place + 8 + length]
        # The chunks of a frame's image follow 16 bytes of its position and duration.
        place += 24 if name == b"ANMF" else 8 + length + length % 2
    raise ValueError


def _lerc(view: memoryview) -> StreamSize | None:
    """Read the header of each band, which holds its length."""
    sizes: list[StreamSize] = []
    place = 0
    while bytes(view[place : place + 6]) == b"Lerc2 ":
        (version,) = struct.unpack_from("<i", view, place + 6)
        at = place + (14 if version >= 3 else 10)
        height, width = struct.unpack_from("<ii", view, at)
        depth = struct.unpack_from("<i", view, at + 8)[0] if version >= 4 else 1
        length, kind = struct.unpack_from("<ii", view, at + (20 if version >= 4 else 16))
        if min(width, height, depth, length) <= 0 or not 0 <= kind < len(_LERC_BITS) or len(sizes) >= MAX_PARTS:
            raise ValueError
        sizes.append(StreamSize(width, height, depth, _LERC_BITS[kind], "lerc"))
        place += length
    size = _largest(sizes)
    return size and StreamSize(size.width, size.height, size.channels * len(sizes), size.bits, size.kind)


def _jpegxr(view: memoryview) -> StreamSize | None:
    """Read the directory of the container and the header of each codestream that it names."""
    (directory,) = struct.unpack_from("<I", view, 4)
    (count,) = struct.unpack_from("<H", view, directory)
    if count > MAX_PARTS:
        raise ValueError
    tags = {}
    for index in range(count):
        tag, kind, _, value = struct.unpack_from("<HHII", view, directory + 2 + 12 * index)
        tags[tag] = value & {1: 0xFF, 3: 0xFFFF}.get(kind, 0xFFFFFFFF)
    sizes = [_xr_codestream(view[tags[place] :]) for place in (_XR_IMAGE, _XR_ALPHA) if place in tags]
    size = _largest(sizes)
    if size is None:
        return None
    width, height = max(size.width, tags[_XR_WIDTH]), max(size.height, tags[_XR_HEIGHT])
    return StreamSize(width, height, size.channels + len(sizes) - 1, size.bits, size.kind)


def _xr_codestream(view: memoryview) -> StreamSize:
    if bytes(view[:8]) != b"WMPHOTO\0":
        raise ValueError
    flags, colours = view[10], view[11]
    width, height = struct.unpack_from(">HH" if flags & 0x80 else ">II", view, 12)
    channels = _XR_CHANNELS[colours >> 4] + (flags & 1)
    return StreamSize(width + 1, height + 1, channels, _XR_BITS[colours & 15], "jpegxr")


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[memoryview], StreamSize | None]], ...] = (
    (re.compile(rb"\xff\xd8"), _jpeg),
    (re.compile(rb"\xff\x4f"), _jpeg2000),
    (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n"), _jp2),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), _jpegxl),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"(?s:RIFF....WEBP)"), _webp),
    (re.compile(rb"Lerc2 "), _lerc),
    (re.compile(rb"II\xbc[\0\1]"), _jpegxr),
)
