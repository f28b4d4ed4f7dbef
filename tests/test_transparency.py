"""Transparent levels and colours of PNG, in every depth, against the content of the file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unpaired.images import Image, read_header, read_image


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, depth: int, colour: int, row: bytes, *notes: bytes) -> bytes:
    """Return a PNG of one row."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", header, *notes, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b""))
    )


def packed(levels: list[int], depth: int) -> bytes:
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    return bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_every_grey_level_of_every_depth_may_be_the_transparent_one(tmp_path: Path, depth: int) -> None:
    levels = list(range(2**depth))
    for level in levels[:: 1 if depth < 8 else 51]:
        data = png(len(levels), depth, 0, packed(levels, depth), chunk(b"tRNS", struct.pack(">H", level)))
        (tmp_path / "x.png").write_bytes(data)
        image = read_image(tmp_path / "x.png")
        assert read_header(tmp_path / "x.png").has_alpha
        assert image.pixels.ravel().tolist() == [value * 255 // (2**depth - 1) for value in levels]
        assert image.alpha is not None
        assert image.alpha.ravel().tolist() == [0 if value == level else 255 for value in levels]
        with PIL.Image.open(io.BytesIO(data)) as picture:
            given = Image.from_pil(picture)
            again = Image.from_pil(picture)
        assert given.alpha is not None
        assert given.alpha.tolist() == image.alpha.tolist()
        assert again.pixels.tolist() == image.pixels.tolist()


def test_bits_of_the_transparent_level_beyond_the_depth_do_not_count(tmp_path: Path) -> None:
    levels = list(range(16))
    (tmp_path / "x.png").write_bytes(png(16, 4, 0, packed(levels, 4), chunk(b"tRNS", struct.pack(">H", 0x125))))
    image = read_image(tmp_path / "x.png")
    assert image.alpha is not None
    assert image.alpha.argmin() == 5
    row = bytes(range(12))
    (tmp_path / "y.png").write_bytes(png(4, 8, 2, row, chunk(b"tRNS", struct.pack(">3H", 0x303, 4, 5))))
    image = read_image(tmp_path / "y.png")
    assert image.alpha is not None
    assert image.alpha.tolist() == [[255, 0, 255, 255]]


def test_a_transparent_colour_is_that_colour_alone(tmp_path: Path) -> None:
    colours = np.array([[1, 2, 3], [1, 2, 4], [0, 2, 3], [1, 2, 3]])
    for depth, dtype in ((8, ">u1"), (16, ">u2")):
        if depth == 16:
            pytest.importorskip("imagecodecs")
        values = (colours * (257 if depth == 16 else 1)).astype(dtype)
        note = chunk(b"tRNS", values[0].astype(">u2").tobytes())
        (tmp_path / "x.png").write_bytes(png(4, depth, 2, values.tobytes(), note))
        image = read_image(tmp_path / "x.png")
        assert read_header(tmp_path / "x.png").has_alpha
        np.testing.assert_array_equal(image.pixels[0], values)
        assert image.alpha is not None
        top = np.iinfo(image.dtype).max
        assert image.alpha.tolist() == [[0, top, top, 0]]


def test_deep_colours_close_to_the_transparent_one_are_opaque(tmp_path: Path) -> None:
    """They differ in their lower byte, which a look at 8 bits would miss."""
    pytest.importorskip("imagecodecs")
    values = np.array([[0x1234, 1, 1], [0x1235, 1, 1]], ">u2")
    note = chunk(b"tRNS", values[0].tobytes())
    (tmp_path / "x.png").write_bytes(png(2, 16, 2, values.tobytes(), note))
    image = read_image(tmp_path / "x.png")
    assert image.alpha is not None
    assert image.alpha.tolist() == [[0, 65535]]


def test_deep_grey_has_one_transparent_level(tmp_path: Path) -> None:
    values = np.array([0, 255, 256, 0x1234, 0x1235, 65535], ">u2")
    for level in values:
        note = chunk(b"tRNS", struct.pack(">H", level))
        (tmp_path / "x.png").write_bytes(png(6, 16, 0, values.tobytes(), note))
        image = read_image(tmp_path / "x.png")
        np.testing.assert_array_equal(image.pixels[0, :, 0], values)
        assert image.alpha is not None
        assert image.alpha[0].tolist() == [0 if value == level else 65535 for value in values]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_entries_of_a_palette_have_an_alpha_each(tmp_path: Path, depth: int) -> None:
    count = min(2**depth, 16)
    palette = bytes(range(3 * count))
    for alphas in (bytes(range(count)), b"\0", b"\xff\0", bytes([9]) * count):
        notes = chunk(b"PLTE", palette), chunk(b"tRNS", alphas)
        (tmp_path / "x.png").write_bytes(png(count, depth, 3, packed(list(range(count)), depth), *notes))
        image = read_image(tmp_path / "x.png")
        assert image.pixels.tobytes() == palette
        assert image.alpha is not None
        assert image.alpha.tobytes() == alphas + b"\xff" * (count - len(alphas))
