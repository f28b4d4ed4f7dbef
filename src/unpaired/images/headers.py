"""Facts that are in the headers of a file and not in the decoded image: further frames and the EXIF orientation.

The walk over headers takes a bounded number of steps and ends at the first fault, so hostile files cost little.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

_MOST_STEPS = 1 << 16
_MOST_EXIF_BYTES = 1 << 20
_ORIENTATION_TAG = 0x0112
_Found = TypeVar("_Found")


def has_more_frames(file: BinaryIO, kind: str) -> bool:
    """Return whether a file holds more than one image. kind: Pillow's name of its format."""
    walks = {"PNG": _png_moves, "WEBP": _webp_moves, "GIF": _gif_moves, "TIFF": _tiff_goes_on}
    return kind in walks and bool(_careful(walks[kind], file))


def orientation_in(file: BinaryIO, kind: str) -> int:
    """Return the EXIF orientation of a file, 1 to 8; 1 if it declares none. kind: Pillow's name of its format."""
    if kind == "TIFF":
        value = _careful(_orientation_tag, file)
    else:
        walks = {"PNG": _png_exif, "WEBP": _webp_exif, "JPEG": _jpeg_exif}
        exif = _careful(walks[kind], file) if kind in walks else None
        value = _careful(_orientation_tag, io.BytesIO(exif)) if exif else None
    return value if value is not None and 1 <= value <= 8 else 1


def _careful(walk: Callable[[BinaryIO], _Found], file: BinaryIO) -> _Found | None:
    """Return the result of a walk from the start of a file, None if the file is damaged."""
    try:
        file.seek(0)
        return walk(file)
    except (struct.error, IndexError, OverflowError, ValueError, OSError):
        return None


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield the name and length of each chunk, the file standing at its content."""
    place = 8
    for _ in range(_MOST_STEPS):
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        yield name, length
        place += length + 12


def _png_moves(file: BinaryIO) -> bool:
    frames, first_is_one = 0, False
    for name, _ in _png_chunks(file):
        if name == b"acTL":
            frames = struct.unpack(">I", file.read(4))[0]
        first_is_one |= name == b"fcTL"
        if name == b"IDAT":  # an animation chunk behind the pixels does not count
            break
    return bool(frames > first_is_one)


def _png_exif(file: BinaryIO) -> bytes | None:
    for name, length in _png_chunks(file):
        if name == b"eXIf":
            return file.read(min(length, _MOST_EXIF_BYTES))
    return None


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    place = 12
    for _ in range(_MOST_STEPS):
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name, length
        place += 8 + length + length % 2


def _webp_moves(file: BinaryIO) -> bool:
    return sum(name == b"ANMF" for name, _ in _until_end(_webp_chunks(file))) > 1


def _webp_exif(file: BinaryIO) -> bytes | None:
    for name, length in _webp_chunks(file):
        if name == b"EXIF":
            return file.read(min(length, _MOST_EXIF_BYTES)).removeprefix(b"Exif\0\0")
    return None


def _until_end(chunks: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    try:
        yield from chunks
    except struct.error:
        return


def _jpeg_exif(file: BinaryIO) -> bytes | None:
    place = 2
    for _ in range(_MOST_STEPS):
        file.seek(place)
        marker, length = struct.unpack(">HH", file.read(4))
        if marker == 0xFFDA:  # the pixels begin
            return None
        content = file.read(6) if marker == 0xFFE1 else b""
        if content == b"Exif\0\0":
            return file.read(length - 8)
        place += 2 + length
    return None


def _gif_moves(file: BinaryIO) -> bool:
    def skip_blocks() -> None:
        for _ in range(_MOST_STEPS):
            (length,) = struct.unpack("B", file.read(1))
            if not length:
                return
            file.seek(length, io.SEEK_CUR)

    flags = file.read(13)[10]
    file.seek(3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0, io.SEEK_CUR)
    pictures = 0
    for _ in range(_MOST_STEPS):
        block = file.read(1)
        if block == b"!":
            file.seek(1, io.SEEK_CUR)
        elif block == b",":
            pictures += 1
            if pictures > 1:
                return True
            flags = file.read(9)[8]
            file.seek((3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0) + 1, io.SEEK_CUR)
        else:
            return False
        skip_blocks()
    return False


def _tiff_directory(file: BinaryIO) -> tuple[str, int]:
    """Return the byte order of a TIFF, and the number of entries of its first directory, at which the file stands."""
    head = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}[head[:4]] if head[:4] in (b"II*\0", b"MM\0*") else ""
    if not order:
        raise ValueError
    file.seek(struct.unpack(order + "I", head[4:])[0])
    return order, struct.unpack(order + "H", file.read(2))[0]


def _tiff_goes_on(file: BinaryIO) -> bool:
    order, entries = _tiff_directory(file)
    file.seek(12 * entries, io.SEEK_CUR)
    return bool(struct.unpack(order + "I", file.read(4))[0])


def _orientation_tag(file: BinaryIO) -> int | None:
    order, entries = _tiff_directory(file)
    for _ in range(entries):
        tag, kind, _, value, _ = struct.unpack(order + "HHIHH", file.read(12))
        if tag == _ORIENTATION_TAG and kind == 3:  # a 16-bit number
            return int(value)
    return None
