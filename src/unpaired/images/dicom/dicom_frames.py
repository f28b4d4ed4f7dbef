"""The positions of the frames in a DICOM file, and reading the bytes of a frame.

Lengths and counts are compared with the size of the file before they are used. Fragments of encapsulated frames are
found in one walk over their headers.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.dicom.dicom_codecs import Layout, Syntax
from unpaired.images.image import Array

MAX_FRAGMENTS = 2**17
"""Fragments of one file that are followed."""

MAX_HEADER = 2**24
"""Largest size of a deflated file's unpacked bytes before its pixels, until the size of the pixels is known."""

_MOST_DEFLATE = 1032  # bytes that one byte of deflate can become
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL ")


@dataclass(frozen=True, eq=False)
class Frames:
    """The positions of frames in a file.

    count: number of frames.
    start: first byte of uncompressed frames.
    places: start and length of each fragment, n x 2.
    first: the first fragment of each frame, count + 1 numbers.
    inflated: first byte of the compressed data set in the file, None if it is not compressed.
    """

    count: int
    start: int = 0
    places: Array | None = None
    first: Array | None = None
    inflated: int | None = None


class Inflated(io.RawIOBase):
    """The bytes of a deflated data set, unpacked on demand up to `limit`."""

    def __init__(self, packed: bytes, name: str) -> None:
        self._packed = packed
        self.name = name
        self.limit = MAX_HEADER
        self._restart()

    def _restart(self) -> None:
        self._inflate, self._rest, self._place = zlib.decompressobj(-zlib.MAX_WBITS), self._packed, 0

    @property
    def packed(self) -> int:
        """Length of the packed data in bytes."""
        return len(self._packed)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; seeking backwards unpacks again from the start."""
        return True

    def tell(self) -> int:
        """Return the number of bytes read."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Unpack up to the size of the buffer; raises ImageError beyond the limit."""
        view = memoryview(buffer).cast("B")
        data = self._inflate.decompress(self._rest, len(view)) if len(view) else b""
        self._rest = self._inflate.unconsumed_tail
        self._place += len(data)
        if self._place > self.limit:
            raise ImageError(f"It unpacks to more than the expected {self.limit:,} bytes; save it uncompressed.")
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek to a byte; positions from the end are not supported."""
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("the length is not known")
        target = offset + (self._place if whence == os.SEEK_CUR else 0)
        if target < self._place:
            self._restart()
        while self._place < target and self.read(min(target - self._place, 2**16)):
            pass
        return self._place


def find_frames(
    stream: BinaryIO, layout: Layout, syntax: Syntax, count: int, inflated: int | None, *, item: tuple[int, Any]
) -> Frames:
    """Return the positions of `count` frames. stream: at the first byte of the pixels.

    item: the length that the pixels' element claims, and the data set's own table of offsets, if any.

    Raises ImageError if the file does not hold that many frames.
    """
    length, start = item[0], stream.tell()
    if syntax.encapsulated:
        if length != _UNDEFINED:
            raise ImageError(f"Its pixels are not in fragments, as {syntax.name} has them; save it anew.")
        return _fragments(stream, count, item[1])
    size = (count * layout.frame_bits + 7) // 8
    if inflated is None:
        stream.seek(0, os.SEEK_END)
        room = stream.tell() - start
    else:
        room = stream.raw.packed * _MOST_DEFLATE  # type: ignore[attr-defined]
    if length == _UNDEFINED or min(length, room) < size:
        frames = f"{count:,} frames of " if count > 1 else ""
        raise ImageError(
            f"It is cut short: {frames}{layout.columns} x {layout.rows} pixels need {size:,} bytes, and it holds "
            f"{0 if length == _UNDEFINED else min(length, room):,}; fetch it again."
        )
    return Frames(count, start, inflated=inflated)


def read_frame(file: BinaryIO, frames: Frames, number: int, layout: Layout, *, little: bool) -> bytes:
    """Return the bytes of a frame: compressed ones unchanged, uncompressed ones in their byte order."""
    if frames.places is not None and frames.first is not None:
        parts = []
        for start, length in frames.places[frames.first[number] : frames.first[number + 1]].tolist():
            file.seek(start)
            parts.append(file.read(length))
        return b"".join(parts)
    first = number * layout.frame_bits
    begin, end = first // 8, (first + layout.frame_bits + 7) // 8
    swapped = layout.packed and not little
    if swapped:
        begin, end = begin - begin % 2, end + end % 2
    if frames.inflated is None:
        file.seek(frames.start + begin)
        data = file.read(end - begin)
    else:
        data = _inflated_part(file, frames, begin, end)
    if layout.allocated == 1 and first % 8:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[first % 8 :]
        return np.packbits(bits, bitorder="little").tobytes()
    if swapped:
        data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
        return data[first // 8 - begin :]
    return data


_unpacking: dict[tuple[object, ...], io.BufferedReader] = {}
_lock = threading.Lock()


def _inflated_part(file: BinaryIO, frames: Frames, begin: int, end: int) -> bytes:
    """Return bytes of a deflated file; the last file continues at its position, so that a stack is unpacked once."""
    status = os.fstat(file.fileno())
    key = (file.name, status.st_ino, status.st_mtime_ns, status.st_size)
    with _lock:
        stream = _unpacking.pop(key, None)
        _unpacking.clear()
    if stream is None:
        assert frames.inflated is not None
        stream = open_inflated(file, frames.inflated)
    raw = stream.raw
    assert isinstance(raw, Inflated)
    raw.limit = frames.start + end + io.DEFAULT_BUFFER_SIZE
    stream.seek(frames.start + begin)
    data = stream.read(end - begin)
    with _lock:
        _unpacking[key] = stream
    return data


def open_inflated(file: BinaryIO, start: int) -> io.BufferedReader:
    """Return a reader of the compressed data set that begins at byte `start` of a file."""
    file.seek(start)
    return io.BufferedReader(Inflated(file.read(), file.name))


def _fragments(stream: BinaryIO, count: int, table: Any) -> Frames:
    """Walk over the items and assign them to frames."""
    offsets, places = _items(stream)
    if len(places) < count:
        raise ImageError(f"It claims {count:,} frames and holds {len(places):,}; fetch it again.")
    array = np.array(places, np.int64).reshape(-1, 2)
    if count == 1:
        first = [0, len(places)]
    elif len(places) == count:
        first = list(range(count + 1))
    else:
        first = [*_first_of(stream, array, count, table if table is not None else offsets), len(places)]
    return Frames(count, places=array, first=np.array(first))


def _items(stream: BinaryIO) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the offset table and start and length of each fragment behind it."""
    place = stream.tell()
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    offsets: list[int] | None = None
    places: list[tuple[int, int]] = []
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(8)
        tag, length = head[:4], int.from_bytes(head[4:], "little")
        place += 8
        if tag == _END:
            break
        if tag != _ITEM or place + length > size:
            raise ImageError("It is cut short or broken between its fragments; fetch it again.")
        if offsets is None:
            table = stream.read(min(length, 4 * MAX_FRAGMENTS))
            offsets = list(struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4]))
        else:
            places.append((place, length))
        if len(places) > MAX_FRAGMENTS:
            raise ImageError(f"It holds more than {MAX_FRAGMENTS:,} fragments, more than are followed; split it.")
        place += length
    return offsets or [], places


def _first_of(stream: BinaryIO, places: Array, count: int, offsets: list[int]) -> list[int]:
    """Return the first fragment of each frame: by the table of offsets, else by the signatures of streams."""
    starts = (places[:, 0] - 8 - (places[0, 0] - 8)).tolist()
    if len(offsets) == count and offsets == sorted(set(offsets)) and set(offsets) <= set(starts):
        return [int(place) for place in np.searchsorted(starts, offsets)]
    found = []
    for index, (start, _) in enumerate(places.tolist()):
        stream.seek(start)
        if stream.read(12).startswith(_STARTS):
            found.append(index)
    if len(found) != count or found[0] != 0:
        raise ImageError(f"Its {len(places):,} fragments cannot be assigned to {count:,} frames; save it anew.")
    return found
