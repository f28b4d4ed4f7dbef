"""Decompression of gzip files in bounded memory and time for any headers and members.

zlib does all the parsing: the file object of the standard library reads names in headers byte by byte, and takes a
thousand times as long for an empty member.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.image import Array

MAGIC = b"\x1f\x8b"

MAX_MEMBERS = 2**16
"""Members of one file; block-wise compressors write one for some 64 KiB, so that this is 4 GiB."""

_GZIP = 31  # zlib mode: expect the header of a gzip member and verify its checksum
_PIECE = 2**14
_CHUNK = 2**20
_SURPLUS = 2**20  # bytes behind the requested ones that are unpacked to reach the checksum of their member


class Unpacker:
    """Unpacks a file from its start, piece by piece.

    `read` raises ImageError for too many members and at an end in the middle of one, zlib.error for damaged ones.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self._data = b""
        self._members = 0
        self._packer = zlib.decompressobj(_GZIP)
        self._inside = False

    def read(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most `most` >= 1; b"" at the end."""
        while True:
            self._data = self._data or self._file.read(_PIECE)
            if self._inside:
                if piece := self._inflate(most):
                    return piece
            elif not self._data:
                return b""
            else:
                self._data = self._data.lstrip(b"\0")  # tapes and disks fill their last block
                if self._data:
                    self._begin()

    def finish(self, most: int) -> None:
        """Unpack the rest of the current member for its checksum, unless that is more than about `most` bytes."""
        while self._inside and most > 0:
            self._data = self._data or self._file.read(_PIECE)
            most -= len(self._inflate(_CHUNK))

    def _inflate(self, most: int) -> bytes:
        ended = not self._data
        piece = self._packer.decompress(self._data, min(most, _CHUNK))
        self._data = self._packer.unconsumed_tail
        if self._packer.eof:
            self._data, self._inside = self._packer.unused_data, False
        elif ended and not piece:
            raise ImageError("It is cut short in the middle of its gzipped values; fetch it again.")
        return piece

    def _begin(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise ImageError(f"It is gzipped in more than {MAX_MEMBERS:,} pieces; unpack and gzip it anew.")
        self._packer, self._inside = zlib.decompressobj(_GZIP), True


def first_bytes(file: BinaryIO, count: int) -> bytes:
    """Return the first `count` unpacked bytes, fewer if the file holds fewer."""
    unpacker, found = Unpacker(file), bytearray()
    while len(found) < count and (piece := unpacker.read(count - len(found))):
        found += piece
    return bytes(found)


def unpack(file: BinaryIO, start: int, count: int) -> Array:
    """Return `count` unpacked bytes from byte `start` on, as an array, their checksum verified.

    Raises ImageError if there are fewer. The checksum is not verified if more than a megabyte follows in its member.
    """
    unpacker, found, filled = Unpacker(file), np.empty(count, np.uint8), -start
    while filled < count:
        piece = unpacker.read(_CHUNK if filled >= 0 else min(-filled, _CHUNK))
        if not piece:
            raise ImageError(f"It holds {max(filled, 0):,} bytes of values of {count:,}; fetch it again.")
        if filled >= 0:
            piece = piece[: count - filled]
            found[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    unpacker.finish(_SURPLUS)
    return found
