"""Draws files that are small on disk and claim, or become, more than a machine should give them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import PIL.Image

HUGE, LARGE = 60_000, 13_000  # a side beyond every limit, and one where Pillow only warns
MANY = 100_000


def images() -> dict[str, Callable[[], bytes]]:
    """Return a function for each file, by name. The first word is the format."""
    return {
        "png 60k": lambda: _png(HUGE, HUGE),
        "png 13k": lambda: _png(LARGE, LARGE),
        "png 1 x 1e9": lambda: _png(1, 10**9),
        "png iTXt of 1 GB": lambda: _png(9, 9, _chunk(b"iTXt", b"k\0\1\0\0\0" + _zeros(2**30))),
        "png zTXt of 1 GB": lambda: _png(9, 9, _chunk(b"zTXt", b"k\0\0" + _zeros(2**30))),
        "png iCCP of 1 GB": lambda: _png(9, 9, _chunk(b"iCCP", b"k\0\0" + _zeros(2**30))),
        "png pixels of 1 GB": lambda: _png(9, 9, pixels=_zeros(2**30)),
        "png 16 bits, pixels of 1 GB": lambda: _png(9, 9, pixels=_zeros(2**30), depth=16),
        "png 200,000 notes": lambda: _png(9, 9, _chunk(b"tEXt", b"k\0v") * 2 * MANY),
        "apng 100,000 frames": _apng,
        "gif canvas 60k": lambda: _gif(HUGE, HUGE, 9, 9),
        "gif frame 60k": lambda: _gif(9, 9, HUGE, HUGE),
        "gif frame 13k": lambda: _gif(1, 1, LARGE, LARGE),
        "gif 300,000 blocks": lambda: _gif(9, 9, 9, 9, b"!\xfe\1a\0" * 3 * MANY),
        "gif a million times nothing": lambda: _gif(9, 9, 9, 9, bytes(10 * MANY)),
        "png 16 bits, notes of 100 MB behind its pixels": _deep_png_with_notes,
        "tiff 60k": lambda: _tiff(HUGE, HUGE),
        "tiff 13k": lambda: _tiff(LARGE, LARGE),
        "tiff 1,000,000 strips": lambda: _tiff(9, 9, strips=10 * MANY),
        "bmp 60k": lambda: _bmp(HUGE, HUGE),
        "bmp 13k": lambda: _bmp(LARGE, LARGE),
        "ppm 60k": lambda: b"P6 60000 60000 255\n",
        "ppm 13k": lambda: b"P6 13000 13000 255\n",
        "ppm comment of 3 MB": lambda: b"P6 #" + b"x" * 30 * MANY + b"\n1 1 255\n123",
        "ppm of text, 5,000 comments": lambda: b"P2\n9 9\n255\n" + b"#\n" * 5000 + b"1 " * 81,
        "webp 16k": _webp,
        "webp frame of 99 on a canvas of 9": lambda: _webp_frame(animated=False),
        "webp moving frame of 99 on a canvas of 9": lambda: _webp_frame(animated=True),
        "webp 40,000 chunks": lambda: _riff(_vp8x(9) + b"NOTE\0\0\0\0" * 40_000),
        "jpeg of two sizes": lambda: _jpeg(9, b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 99, 99) + b"\1\1\x11\0"),
        "jpeg 60k": lambda: _jpeg(HUGE),
        "jpeg 13k": lambda: _jpeg(LARGE),
        "jpeg 11k in 200 passes": lambda: _jpeg(11_000, passes=200),
        "jpeg 300,000 comments": lambda: _jpeg(9, b"\xff\xfe\0\3a" * 3 * MANY),
        "jpeg 1 MB of filling": lambda: _jpeg(9, b"\xff" * 10 * MANY),
        "ico": lambda: struct.pack("<3H4B2H2I", 0, 1, 1, 0, 0, 0, 0, 1, 32, 99, 22) + _png(HUGE, HUGE),
    }


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _zeros(count: int) -> bytes:
    """Return some `count` zeros, packed: one piece of them, over and over, with a checksum that is never reached."""
    packer = zlib.compressobj(9)
    packer.compress(b"")
    packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + piece * (count // 2**20) + b"\3\0" + bytes(4)


def _png(width: int, height: int, notes: bytes = b"", pixels: bytes = b"", depth: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    data = _chunk(b"IDAT", pixels or zlib.compress(bytes(9 * 28)))
    return b"\x89PNG\r\n\x1a\n" + header + notes + data + _chunk(b"IEND", b"")


def _apng() -> bytes:
    frame, pixels = struct.pack(">4I2H2B", 9, 9, 0, 0, 1, 1, 0, 0), zlib.compress(bytes(9 * 28))
    later = b"".join(
        _chunk(b"fcTL", struct.pack(">I", 2 * number + 1) + frame)
        + _chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + pixels)
        for number in range(MANY)
    )
    first = _chunk(b"acTL", struct.pack(">II", MANY, 0)) + _chunk(b"fcTL", bytes(4) + frame)
    return _png(9, 9, first).removesuffix(_chunk(b"IEND", b"")) + later + _chunk(b"IEND", b"")


def _gif(width: int, height: int, frame_width: int, frame_height: int, blocks: bytes = b"") -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return (
        b"GIF89a" + screen + blocks + b"," + struct.pack("<4HB", 0, 0, frame_width, frame_height, 0) + b"\2\2\x4c\1\0;"
    )


def _tiff(width: int, height: int, strips: int = 1) -> bytes:
    rows = height if strips == 1 else 1
    tags = [(256, 1, width), (257, 1, height), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, strips, 8), (278, 1, rows)]
    tags.append((279, strips, min(width * height, 2**32 - 1) if strips == 1 else 8))
    page = struct.pack("<H", len(tags)) + b"".join(struct.pack("<2H2I", tag, 4, n, value) for tag, n, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + page + bytes(4) + bytes(4 * strips)


def _bmp(width: int, height: int) -> bytes:
    head = struct.pack("<I2HI", 54, 0, 0, 54)
    return b"BM" + head + struct.pack("<Iii2H6I", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _deep_png_with_notes() -> bytes:
    note = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_900_000), 9))
    whole = _png(9, 9, pixels=zlib.compress(bytes(9 * 55)), depth=16)
    return whole.removesuffix(_chunk(b"IEND", b"")) + note * 13 + _chunk(b"IEND", b"")


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _vp8x(side: int) -> bytes:
    return b"VP8X" + struct.pack("<II", 10, 2) + struct.pack("<I", side - 1)[:3] * 2


def _webp_frame(*, animated: bool) -> bytes:
    stream = b"VP8L" + struct.pack("<IBI", 5, 0x2F, 98 | 98 << 14) + b"\0"
    if not animated:
        return _riff(_vp8x(9) + stream)
    frame = bytes(6) + struct.pack("<I", 8)[:3] * 2 + bytes(4) + stream
    return _riff(_vp8x(9) + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + b"ANMF" + struct.pack("<I", len(frame)) + frame)


def _webp() -> bytes:
    side = struct.pack("<I", 16_383)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + side + side + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(side: int, notes: bytes = b"", passes: int = 0) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.effect_noise((64, 64), 50).save(buffer, "JPEG", progressive=passes > 0)
    content = bytearray(buffer.getvalue())
    frame = content.index(b"\xff\xc2" if passes else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    last, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return bytes(content[:2] + notes + content[2:end] + content[last:end] * passes + content[end:])
