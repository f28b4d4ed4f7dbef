"""The size in the header of a codec stream is read without errors, whatever it claims."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unpaired.images.streams import StreamSize, stream_size

imagecodecs = pytest.importorskip("imagecodecs")

_SIDES = ((1, 1), (7, 13), (101, 33), (1, 300), (640, 480), (30, 40), (90, 160), (50, 100), (40, 50))
_Encoder = tuple[Callable[..., bytes], dict[str, Any]]
_ENCODERS: dict[str, _Encoder] = {
    "jpeg": (imagecodecs.jpeg8_encode, {}),
    "jpeg-lossless": (imagecodecs.jpeg8_encode, {"lossless": True}),
    "jpeg-ls": (imagecodecs.jpegls_encode, {}),
    "jpeg2000": (imagecodecs.jpeg2k_encode, {"codecformat": "J2K"}),
    "jpeg2000 in boxes": (imagecodecs.jpeg2k_encode, {"codecformat": "JP2"}),
    "jpeg2000 of high throughput": (imagecodecs.htj2k_encode, {}),
    "jpegxl": (imagecodecs.jpegxl_encode, {}),
    "jpegxl in boxes": (imagecodecs.jpegxl_encode, {"usecontainer": True}),
    "png": (imagecodecs.png_encode, {}),
    "webp": (imagecodecs.webp_encode, {}),
    "webp lossless": (imagecodecs.webp_encode, {"lossless": True}),
    "lerc": (imagecodecs.lerc_encode, {}),
    "jpegxr": (imagecodecs.jpegxr_encode, {}),
}
_GREY, _GREY_ALPHA, _RGB, _RGBA = 1, 2, 3, 4
_NOT_ENCODED = {  # channels that the encoder does not take
    "jpeg-ls": {_GREY_ALPHA},
    "webp": {_GREY, _GREY_ALPHA},
    "webp lossless": {_GREY, _GREY_ALPHA},
    "jpegxr": {_GREY_ALPHA},
}
_EIGHT_BITS = {"webp", "webp lossless"}


def _stream(name: str, height: int, width: int, channels: int, bits: int) -> bytes:
    encode, options = _ENCODERS[name]
    rows, columns, bands = np.ogrid[:height, :width, :channels]
    values = (7 * rows + 5 * columns + 31 * bands) % 2**bits
    if name == "jpeg-lossless":
        options = {**options, "bitspersample": bits}
    array = values.astype(np.uint8 if bits == 8 else np.uint16)
    return encode(array[:, :, 0] if channels == 1 else array, **options)


@pytest.mark.parametrize("name", _ENCODERS)
@pytest.mark.parametrize("channels", [_GREY, _GREY_ALPHA, _RGB, _RGBA])
def test_size_channels_and_depth_are_those_that_were_encoded(name: str, channels: int) -> None:
    if channels in _NOT_ENCODED.get(name, ()):
        pytest.skip("no such stream can be encoded")
    for height, width in _SIDES:
        for bits in (8,) if name in _EIGHT_BITS else (8, 12) if name == "jpeg" else (8, 16):
            data = _stream(name, height, width, channels, bits)
            assert stream_size(data) == StreamSize(width, height, channels, bits, name.split()[0])
            assert stream_size(memoryview(data)) == stream_size(data)


@pytest.mark.parametrize("name", _ENCODERS)
def test_a_stream_cut_short_says_its_size_or_nothing(name: str) -> None:
    whole = stream_size(data := _stream(name, 33, 101, _RGB, 8))
    assert whole is not None
    sizes = [stream_size(data[:length]) for length in range(len(data))]
    assert {size and (size.width, size.height) for size in sizes} == {None, (101, 33)}
    assert sizes[0] is None
    assert sizes[-1] == whole


@given(st.sampled_from(sorted(_ENCODERS)), st.data())
def test_no_bytes_raise(name: str, data: st.DataObject) -> None:
    stream = bytearray(_stream(name, 7, 13, _RGB, 8))
    for place in data.draw(st.lists(st.integers(0, min(len(stream), 200) - 1), max_size=6)):
        stream[place] = data.draw(st.integers(0, 255))
    stream_size(bytes(stream))
    stream_size(bytes(stream[: data.draw(st.integers(0, 64))]) + data.draw(st.binary(max_size=64)))


@given(st.binary(max_size=200))
def test_what_is_no_stream_has_no_size(data: bytes) -> None:
    assert stream_size(b"\0" + data) is None


def _marker(code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def _frame(width: int, height: int, channels: int = 1, code: int = 0xC0, bits: int = 8) -> bytes:
    parts = b"".join(bytes((number, 0x11, 0)) for number in range(channels))
    return _marker(code, struct.pack(">BHHB", bits, height, width, channels) + parts)


def test_a_thumbnail_inside_of_a_segment_is_not_the_picture() -> None:
    picture, thumbnail = _stream("jpeg", 33, 101, _RGB, 8), _stream("jpeg", 90, 120, _RGB, 8)
    data = picture[:2] + _marker(0xE1, b"Exif\0\0" + thumbnail) + picture[2:]
    assert stream_size(data) == StreamSize(101, 33, 3, 8, "jpeg")


def test_what_follows_the_end_of_a_picture_is_not_the_picture() -> None:
    assert stream_size(_stream("jpeg", 7, 13, 1, 8) + _stream("jpeg", 300, 400, 1, 8)) == StreamSize(
        13, 7, 1, 8, "jpeg"
    )


@pytest.mark.parametrize("code", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7])
def test_every_kind_of_frame_is_known(code: int) -> None:
    size = stream_size(b"\xff\xd8" + _frame(13, 7, 3, code, 12))
    kind = "jpeg-ls" if code == 0xF7 else "jpeg-lossless" if code in (0xC3, 0xC7, 0xCB, 0xCF) else "jpeg"
    assert size == StreamSize(13, 7, 3, 12, kind)


@pytest.mark.parametrize("scan", [b"", _marker(0xDA, b"\1\0\0\0\x3f\0") + b"\x12\xff\0\x34\xff\xd0\x56"])
def test_of_two_frames_the_largest_value_of_each_counts(scan: bytes) -> None:
    small, large = _frame(13, 7, 3), _frame(60_000, 50_000, 1)
    expected = StreamSize(60_000, 50_000, 3, 8, "jpeg")
    assert stream_size(b"\xff\xd8" + small + scan + large) == expected
    assert stream_size(b"\xff\xd8" + large + scan + b"\xff\xd8" + small) == expected


def test_a_height_that_stands_behind_the_pixels_is_zero() -> None:
    data = b"\xff\xd8" + _frame(13, 0) + _marker(0xDA, bytes(6)) + b"\1" + _marker(0xDC, b"\xc3\x50")
    assert stream_size(data) == StreamSize(13, 0, 1, 8, "jpeg")


def test_sides_of_more_than_16_bits_of_jpeg_ls_are_read() -> None:
    more = _marker(0xF8, struct.pack(">BBII", 4, 4, 70_000, 80_000))
    assert stream_size(b"\xff\xd8" + _frame(0, 0, 1, 0xF7) + more) == StreamSize(80_000, 70_000, 1, 8, "jpeg-ls")


def test_a_stream_of_too_many_segments_is_not_understood() -> None:
    assert stream_size(b"\xff\xd8" + _marker(0xFE, b"") * 5000 + _frame(13, 7)) is None


def _box(name: bytes, body: bytes, *, long: bool = False) -> bytes:
    length = struct.pack(">I4sQ", 1, name, len(body) + 16) if long else struct.pack(">I4s", len(body) + 8, name)
    return length + body


_JP2 = _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
_JXL = _box(b"JXL ", b"\r\n\x87\n") + _box(b"ftyp", b"jxl \0\0\0\0jxl ")


def test_of_several_codestreams_in_one_jp2_the_largest_counts() -> None:
    small, large = _stream("jpeg2000", 7, 13, 1, 8), _stream("jpeg2000", 101, 33, 3, 16)
    expected = StreamSize(33, 101, 3, 16, "jpeg2000")
    for first, second in ((small, large), (large, small)):
        assert stream_size(_JP2 + _box(b"jp2c", first, long=True) + _box(b"jp2c", second)) == expected


def test_the_colours_of_a_palette_in_a_jp2_count() -> None:
    palette = _box(b"pclr", struct.pack(">HB", 2, 3) + b"\x07\x07\x0f" + bytes(8))
    data = _JP2 + _box(b"jp2h", palette) + _box(b"jp2c", _stream("jpeg2000", 7, 13, 1, 8))
    assert stream_size(data) == StreamSize(13, 7, 3, 16, "jpeg2000")


def test_where_a_jpeg2000_starts_is_left_out_of_its_size() -> None:
    stream = bytearray(_stream("jpeg2000", 7, 13, 1, 8))
    struct.pack_into(">4I", stream, 8, 113, 57, 100, 50)
    assert stream_size(bytes(stream)) == StreamSize(13, 7, 1, 8, "jpeg2000")


def test_a_jpegxl_in_parts_is_read() -> None:
    stream = _stream("jpegxl", 101, 33, 3, 8)
    parts = [struct.pack(">I", number) + stream[at : at + 3] for number, at in enumerate(range(0, 30, 3))]
    data = _JXL + b"".join(_box(b"jxlp", part) for part in parts) + _box(b"jxlp", b"\x80\0\0\x0a" + stream[30:])
    assert stream_size(data) == StreamSize(33, 101, 3, 8, "jpegxl")


def test_extra_channels_of_a_jpegxl_count() -> None:
    bands = np.arange(5 * 7 * 13, dtype=np.uint16).reshape(5, 7, 13)
    data = imagecodecs.jpegxl_encode(bands, photometric="gray", planar=True)
    assert stream_size(data) == StreamSize(13, 7, 5, 16, "jpegxl")


def test_a_transparent_colour_of_a_png_is_a_channel() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (13, 7)).save(file, "PNG", transparency=(1, 2, 3))
    assert stream_size(file.getvalue()) == StreamSize(13, 7, 4, 8, "png")


def test_colours_of_a_palette_of_a_png_have_three_channels_of_8_bits() -> None:
    file = io.BytesIO()
    PIL.Image.new("P", (13, 7)).save(file, "PNG", bits=2)
    assert stream_size(file.getvalue()) == StreamSize(13, 7, 3, 8, "png")


def test_frames_of_a_webp_count_beside_its_canvas() -> None:
    file = io.BytesIO()
    frames = [PIL.Image.new("RGBA", (40, 30), (index, 2, 3, 4)) for index in range(3)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    data = bytearray(file.getvalue())
    assert stream_size(bytes(data)) == StreamSize(40, 30, 4, 8, "webp")
    at = data.rfind(b"VP8L") + 9
    struct.pack_into("<I", data, at, 9_999 | 8_999 << 14)
    assert stream_size(bytes(data)) == StreamSize(10_000, 9_000, 4, 8, "webp")


def test_the_bands_of_a_lerc_are_channels() -> None:
    bands = imagecodecs.lerc_encode(np.zeros((3, 7, 13), np.float32), planar=True)
    assert stream_size(bands) == StreamSize(13, 7, 3, 32, "lerc")


def test_the_codestream_of_a_jpegxr_counts_beside_its_container() -> None:
    data = bytearray(_stream("jpegxr", 7, 13, 1, 8))
    at = data.find(b"WMPHOTO\0") + 12
    short = bool(data[at - 2] & 0x80)
    struct.pack_into(">HH" if short else ">II", data, at, 9_999, 4_999)
    assert stream_size(bytes(data)) == StreamSize(10_000, 5_000, 1, 8, "jpegxr")
