"""PNG and PPM with 16 bits per channel in colour, which Pillow neither reads nor writes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.extras import extra
from unpaired.images.image import Image

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 2**20
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def decode_png(data: bytes, icc: bytes | None) -> Image:
    """Decode a PNG of 16 bits with more than one channel; raises MissingExtraError without imagecodecs."""
    decoder = extra("imagecodecs", "Reading PNG with 16 bits per channel in colour")
    refuse_surplus(data)
    array = decoder.png_decode(_pixels_alone(data))
    if array.shape[2] in (2, 4):
        return Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]), icc)
    return Image(array, icc=icc)


def refuse_surplus(data: bytes) -> None:
    """Raise ImageError if the pixel data unpack to more bytes than the image needs; the decoder would unpack all."""
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    left = 2 * height * (1 + width * {2: 3, 4: 2, 6: 4}.get(color, 1) * depth // 8) + 1024  # interlaced ones have more
    packer, place = zlib.decompressobj(), 8
    while place + 8 <= len(data) and left >= 0:
        length, name = struct.unpack(">I4s", data[place : place + 8])
        piece = data[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        while piece and left >= 0 and not packer.eof:
            left -= len(packer.decompress(piece, _CHUNK))
            piece = packer.unconsumed_tail
        place += length + 12
    if left < 0:
        raise ImageError("It holds more pixels than its size declares; replace or remove it.")


def _pixels_alone(data: bytes) -> bytes:
    """Return a PNG without metadata and profile; the decoder would unpack each of them to up to 8 MB and keep it."""
    kept, place = [data[:8]], 8
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if name in _PIXELS:
            kept.append(data[place : place + length + 12])
        place += length + 12
    return b"".join(kept)


def encode_png(image: Image, icc: bytes | None) -> bytes:
    """Encode 16 bits per channel, in grey or colour, with or without alpha."""
    array = image.interleaved.astype(">u2")
    rows = array.reshape(image.height, -1).view(np.uint8)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # PNG's filter 2, modulo 256
    data = np.concatenate([np.full((image.height, 1), 2, np.uint8), up], axis=1).tobytes()
    color = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", image.width, image.height, 16, color, 0, 0, 0)
    profile = chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
    chunks = chunk(b"IHDR", header) + profile + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def decode_ppm(data: bytes, offset: int, size: tuple[int, int], most: int) -> Image:
    """Decode a binary PPM of more than 8 bits. size: (w, h); offset: of the first pixel; most: the value of white."""
    width, height = size
    values = np.frombuffer(data, ">u2", count=width * height * 3, offset=offset).reshape(height, width, 3)
    if most == 65535:
        return Image(values.astype(np.uint16))
    spread = np.round(np.arange(65536).clip(max=most) * (65535 / most)).astype(np.uint16)  # of each value
    return Image(spread[values])


def encode_ppm(image: Image) -> bytes:
    """Encode 16 bits per channel without alpha: colour as PPM, grey as PGM."""
    kind = "P6" if image.channels == 3 else "P5"
    return f"{kind}\n{image.width} {image.height}\n65535\n".encode() + image.pixels.astype(">u2").tobytes()
