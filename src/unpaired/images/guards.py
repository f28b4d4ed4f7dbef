"""Limits against damaged or hostile files that would keep a parser busy for minutes, checked before parsing.

A few megabytes can hold a million strips, comments or scans of one image, each of which costs time. Real images stay
far below these limits. A file that cannot be followed here is left to the parser, which reports the fault.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from unpaired.errors import ImageError
from unpaired.images.streams import StreamSize, stream_size

MAX_NOTES = 2**15
"""Chunks of a PNG besides the pixels of its first frame."""

MAX_CHUNKS = 2**17
"""Chunks of a PNG: 1 GB in the usual pieces of 8 KiB."""

MAX_FRAME_CHUNKS = 2**15
"""Chunks of a WebP: an animation of ten minutes."""

MAX_SEGMENTS = 4096
"""Segments of a JPEG before its pixels, and between its passes; large metadata take 64 KiB each."""

MAX_SCANS = 100
"""Scans of a progressive JPEG; encoders write about ten."""

MAX_BLOCKS = 2**14
"""Blocks of a GIF before its first frame."""

MAX_GAP = 2**16
"""Bytes without meaning before the pixels: between the segments of a JPEG, in the comments of a PPM."""

MAX_NUMBERS = 2**17
"""Numbers in one tag of a TIFF, such as the places of its strips."""

MAX_COMMENTS = 4096
"""Comments of a PPM whose pixels are text, each of which costs its reader a copy of a megabyte."""

_MAX_TAGS = 4096
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_COMMENT = re.compile(rb"#[^\r\n]*")
_BLOCK = 2**14
_SCAN, _END = 0xDA, 0xD9
_BARE = (0x01, 0xD8)  # markers without a segment
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_TIFFS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_TEXT_PPM, _TEXT_BLOCK = (b"P1", b"P2", b"P3"), 2**20
_CHEAP_TYPES = (1, 2, 6, 7)  # bytes and text, which are not converted


def refuse_overlong(name: str, head: bytes, file: BinaryIO) -> None:
    """Raise ImageError if the structure of a file exceeds the limits. head: its first bytes."""
    guard: Callable[[BinaryIO], str] | None = None
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        guard = _png
    elif head.startswith(b"\xff\xd8"):
        guard = _jpeg
    elif head[:4] in _TIFFS:
        guard = _tiff
    elif head.startswith(b"GIF8"):
        guard = _gif
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        guard = _webp
    elif head.startswith(b"P"):
        guard = _ppm
    reason = guard(file) if guard else ""
    file.seek(0)
    if reason:
        raise ImageError(f"{name} {reason}, as no picture has, and was not decoded; remove it.")


def _png(file: BinaryIO) -> str:
    """Count the chunks."""
    file.seek(8)
    notes = chunks = 0
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        chunks += 1
        notes += head[4:] != b"IDAT"
        if notes > MAX_NOTES or chunks > MAX_CHUNKS:
            return f"holds more than {MAX_NOTES if notes > MAX_NOTES else MAX_CHUNKS:,} chunks"
        file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    return ""


def _jpeg(file: BinaryIO) -> str:
    """Count the scans up to the end of the image; data behind it, such as a film, are ignored."""
    file.seek(2)
    segments, segment, scans, components, sequential, sides = 0, 2, 0, b"", False, b""
    while (marker := _next_marker(file)) not in (None, _END):
        segments += 1
        if segments > MAX_SEGMENTS:
            return f"holds more than {MAX_SEGMENTS:,} segments"
        gap, segment = file.tell() - segment, file.tell()
        if gap > MAX_GAP and not scans:
            return f"holds more than {MAX_GAP:,} bytes of nothing"
        body = file.read(8)
        if marker in _FRAMES:
            if sides and body[3:7] != sides:
                return "claims two sizes"
            sequential, components, sides = marker in _SEQUENTIAL, body[7:8], body[3:7]
        if marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                return f"has more than {MAX_SCANS} scans"
            if sequential and body[2:3] == components:
                break  # baseline: the whole image in one scan
        segment += 0 if marker in _BARE else int.from_bytes(body[:2])
        file.seek(segment)
    return ""


def _next_marker(file: BinaryIO) -> int | None:
    """Return the next marker of a JPEG and seek behind it, None at the end of the file; pixels are skipped."""
    while block := file.read(_BLOCK):
        if found := _MARKER.search(block):
            file.seek(found.end() - len(block), os.SEEK_CUR)
            return block[found.end() - 1]
        if block.endswith(b"\xff") and len(block) == _BLOCK:
            file.seek(-1, os.SEEK_CUR)
    return None


def _tiff(file: BinaryIO) -> str:
    """Check the tags of the first page, the only one that is read."""
    file.seek(0)
    order, big = _TIFFS[file.read(4)]
    where, count, entry, number = ("Q", "Q", "HHQ8x", 8) if big else ("I", "H", "HHI4x", 4)
    file.seek(8 if big else 4)
    try:
        file.seek(struct.unpack(order + where, file.read(number))[0])
        (tags,) = struct.unpack(order + count, file.read(struct.calcsize(order + count)))
        if tags > _MAX_TAGS:
            return f"holds {tags:,} tags"
        for _ in range(tags):
            _, kind, numbers = struct.unpack(order + entry, file.read(struct.calcsize(order + entry)))
            if numbers > MAX_NUMBERS and kind not in _CHEAP_TYPES:
                return f"holds {numbers:,} numbers in one tag"
    except (struct.error, OSError, OverflowError):
        pass
    return ""


def _gif(file: BinaryIO) -> str:
    """Count the blocks before the first frame, the only one that is read."""
    file.seek(10)
    flags = file.read(3)[:1]
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), os.SEEK_CUR)
    blocks, size = 0, b""
    while (mark := file.read(1)) not in (b",", b";", b""):
        blocks += 1
        if mark == b"!":
            file.seek(1, os.SEEK_CUR)
            while (size := file.read(1)) not in (b"\0", b"") and blocks <= MAX_BLOCKS:
                blocks += 1
                file.seek(size[0], os.SEEK_CUR)
        if blocks > MAX_BLOCKS:
            return f"holds more than {MAX_BLOCKS:,} blocks before its first frame"
    return ""


def _webp(file: BinaryIO) -> str:
    """Compare the size of each frame's own stream with the canvas."""
    chunks, canvas, place = 0, None, 12
    while True:
        file.seek(place)
        head = file.read(18)
        if len(head) < 8:
            return ""
        chunks += 1
        if chunks > MAX_FRAME_CHUNKS:
            return f"holds more than {MAX_FRAME_CHUNKS:,} chunks"
        size = stream_size(b"RIFF\0\0\0\0WEBP" + head)
        canvas = canvas or size
        if size and canvas and (size.width > canvas.width or size.height > canvas.height):
            return f"holds a frame of {_sides(size)} pixels on a canvas of {_sides(canvas)}"
        length = int.from_bytes(head[4:8], "little")
        place += 24 if head[:4] == b"ANMF" else 8 + length + length % 2  # a frame's chunks follow its place


def _sides(size: StreamSize) -> str:
    return f"{size.width} x {size.height}"


def _ppm(file: BinaryIO) -> str:
    """Find the end of the header: its name and up to three numbers. Count comments if the pixels are text."""
    file.seek(0)
    block = file.read(MAX_GAP)
    words = _COMMENT.sub(b"", block).split(None, 4)
    if len(block) == MAX_GAP and len(words) < 4:
        return f"has a header of more than {MAX_GAP:,} bytes"
    comments = 0
    while block and words[0] in _TEXT_PPM:
        comments += block.count(b"#")
        if comments > MAX_COMMENTS:
            return f"holds more than {MAX_COMMENTS:,} comments"
        block = file.read(_TEXT_BLOCK)
    return ""
