"""TIFF: inverted greys, no-data values, and strips that were never written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

import tiff_files as files
from tiff_files import again, drawn
from unpaired.errors import ImageError
from unpaired.images import Image, read_header, read_image, write_image

WHITE, BLACK = 0, 1


# ---- polarity ----


@pytest.mark.parametrize("compression", [1, 8, 50000])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 9, 10, 12, 14, 15, 16])
def test_where_0_is_white_numbers_are_turned_around_and_come_back(
    tmp_path: Path, bits: int, order: str, compression: int
) -> None:
    import zlib

    import imagecodecs

    most = 2**bits - 1
    stored = drawn(6, 5, 1, dtype="uint16" if bits > 8 else "uint8", most=most)
    body = files.packed(stored, bits) if bits % 8 else stored.astype(f"{order}u{bits // 8}").tobytes()
    pack = {1: bytes, 8: zlib.compress, 50000: imagecodecs.zstd_encode}[compression]
    page = (files.plain_tags(5, 6, bits, 1, compression, WHITE), [bytes(pack(body))])
    (tmp_path / "x.tif").write_bytes(files.tiff([page], order))
    image = read_image(tmp_path / "x.tif")
    value = np.round(stored * (255 / most)) if bits < 8 else stored
    np.testing.assert_array_equal(image.pixels, max(most, 255) - value)
    with tifffile.TiffFile(again(tmp_path / "x.tif")) as result:
        assert result.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(result.asarray(), value[:, :, 0])
        assert result.pages[0].bitspersample == max(bits, 8)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("extras", [[2], [0], [0, 0], [0, 2]])
def test_alpha_is_not_turned_around(tmp_path: Path, dtype: str, extras: list[int]) -> None:
    stored = drawn(6, 5, 1 + len(extras), dtype=dtype)
    tifffile.imwrite(
        tmp_path / "x.tif", stored, photometric="miniswhite", planarconfig="contig", extrasamples=extras, metadata=None
    )
    image, bands = read_image(tmp_path / "x.tif"), stored.shape[2] - (extras[-1] == 2)
    np.testing.assert_array_equal(image.pixels, np.iinfo(dtype).max - stored[:, :, :bands])
    if extras[-1] == 2:
        assert image.alpha is not None
        np.testing.assert_array_equal(image.alpha, stored[:, :, -1])
    with tifffile.TiffFile(again(tmp_path / "x.tif")) as made:
        assert made.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(made.asarray(), stored)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_signed_numbers_and_floats_have_no_largest_one_and_stay(tmp_path: Path, dtype: str) -> None:
    stored = drawn(6, 5, dtype=dtype)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], stored)
    with tifffile.TiffFile(again(tmp_path / "x.tif")) as made:
        assert made.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(made.asarray(), stored)


def test_fax_is_black_on_white(tmp_path: Path) -> None:
    picture = PIL.Image.new("1", (40, 30), 1)
    picture.paste(0, (5, 5, 20, 20))
    for compression in ("group3", "group4", "tiff_ccitt"):
        picture.save(tmp_path / "x.tif", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], np.array(picture) * 255)


# ---- no-data ----


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        ("uint8", "255", 255),
        ("uint8", "256", None),
        ("uint8", "-9999", None),
        ("uint16", " 0 ", 0),
        ("uint16", "1.5", None),
        ("int16", "-32768", -32768),
        ("int16", "-9999.0", -9999),
        ("int32", "-2147483648", -(2**31)),
        ("float32", "-9999", -9999),
        ("float32", "-3.4028234663852886e+38", float(np.finfo(np.float32).min)),
        ("float32", "-1.7976931348623157e+308", None),
        ("float32", "nan", float("nan")),
        ("float32", "0.1", float(np.float32(0.1))),
        ("float32", "-inf", -np.inf),
        ("uint16", "none", None),
        ("uint16", "9" * 400, None),
        ("uint8", "", None),
    ],
)
def test_no_data_is_what_gdal_declares(tmp_path: Path, dtype: str, text: str, value: float | None) -> None:
    tags = [(42113, "s", 0, text, True)]
    stored = drawn(6, 5, dtype=dtype)
    tifffile.imwrite(
        tmp_path / "x.tif", stored, photometric="minisblack", metadata=None, extratags=tags if text else ()
    )
    header, image = read_header(tmp_path / "x.tif"), read_image(tmp_path / "x.tif")
    np.testing.assert_equal([header.nodata, image.nodata], [value, value])
    assert ("no-data" in header.carries) == (value is not None)
    made = again(tmp_path / "x.tif")
    np.testing.assert_equal(read_header(made).nodata, value)
    np.testing.assert_array_equal(tifffile.imread(made), stored)


def test_no_data_is_turned_around_with_the_numbers(tmp_path: Path) -> None:
    for bits, declared, value in ((8, 0, 255), (16, 65535, 0), (4, 15, 0), (12, 0, 4095)):
        stored = drawn(6, 5, 1, dtype="uint16" if bits > 8 else "uint8", most=2**bits - 1)
        stored[0] = declared
        body = files.packed(stored, bits) if bits % 8 else stored.astype(f"<u{bits // 8}").tobytes()
        tags = files.plain_tags(5, 6, bits, 1, 1, WHITE) | {42113: ("s", f"{declared}\0".encode())}
        (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [body])]))
        image = read_image(tmp_path / "x.tif")
        assert image.nodata == value
        assert image.missing is not None
        assert image.missing[0].all()
        result = read_image(again(tmp_path / "x.tif"))
        assert result.nodata == value
        np.testing.assert_array_equal(result.pixels, image.pixels)


def test_no_data_is_written_for_any_source(tmp_path: Path) -> None:
    for dtype in ("uint8", "uint16", "int16", "float32"):
        for channels in (1, 3):
            image = Image(drawn(6, 5, channels, dtype=dtype), nodata=7)
            write_image(tmp_path / "x.tif", image)
            assert read_header(tmp_path / "x.tif").nodata == 7
            np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, image.pixels)


# ---- missing strips and tiles ----


@pytest.mark.parametrize("nodata", [None, 9])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compression", [1, 8, 50000])
@pytest.mark.parametrize("tiled", [False, True])
def test_what_was_never_written_is_no_data_or_0(
    tmp_path: Path, tiled: bool, compression: int, dtype: str, bands: int, nodata: int | None
) -> None:
    import zlib

    import imagecodecs

    array = drawn(32, 48, bands, dtype=dtype)
    pack = {1: bytes, 8: zlib.compress, 50000: imagecodecs.zstd_encode}[compression]
    color = 2 if bands == 3 else 1
    tags = files.plain_tags(48, 32, 8 * array.itemsize, bands, compression, color)
    boxes = [(slice(top, top + 16), slice(left, left + 16)) for top in (0, 16) for left in (0, 16, 32)]
    if tiled:
        tags |= {322: ("I", [16]), 323: ("I", [16])}
    else:
        boxes, tags[278] = [(slice(top, top + 8), slice(0, 48)) for top in range(0, 32, 8)], ("I", [8])
    if nodata is not None:
        tags[42113] = ("s", b"9\0")
    wanted, parts = array.copy(), []
    for number, box in enumerate(boxes):
        parts.append(b"" if number % 2 else bytes(pack(array[box].tobytes())))
        if number % 2:
            wanted[box] = nodata or 0
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, parts)]))
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, wanted)
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [b""] * len(parts))]))
    assert set(read_image(tmp_path / "x.tif").pixels.ravel().tolist()) == {nodata or 0}


def test_what_was_never_written_is_transparent_and_white_where_0_is_white(tmp_path: Path) -> None:
    tags = files.plain_tags(4, 4, 8, 2, 1, WHITE) | {278: ("I", [2]), 338: ("H", [2])}
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [bytes(range(16)), b""])]))
    image = read_image(tmp_path / "x.tif")
    assert image.alpha is not None
    assert image.pixels[2:].ravel().tolist() == [255] * 8
    assert image.alpha[2:].ravel().tolist() == [0] * 8


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_file_cut_short_is_not_one_that_was_never_written(tmp_path: Path, dtype: str, compression: int) -> None:
    array = drawn(40, 40, dtype=dtype)
    tifffile.imwrite(tmp_path / "x.tif", array, compression=compression, rowsperstrip=4, metadata=None)
    whole = (tmp_path / "x.tif").read_bytes()
    for length in (len(whole) - 40, len(whole) // 2, 400):
        (tmp_path / "x.tif").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"x\.tif.* cut short"):
            read_image(tmp_path / "x.tif")


def test_a_strip_with_a_place_and_no_length_is_missing(tmp_path: Path) -> None:
    tags = files.plain_tags(4, 4) | {278: ("I", [2])}
    for places in ({1: 8}, {0: 0}):
        strips = [bytes(8), b""] if 1 in places else [bytes(8), bytes(8)]
        (tmp_path / "x.tif").write_bytes(files.tiff([(tags, strips)], places=places))
        with pytest.raises(ImageError, match="strips or tiles are missing"):
            read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", [7, 34892])
def test_colours_of_a_jpeg_of_its_own_are_those_that_it_declares(tmp_path: Path, compression: int) -> None:
    rows, columns = np.mgrid[:64, :64]
    picture = np.stack([3 * columns, 3 * rows, 255 - 2 * rows - 2 * columns], -1).clip(0, 255).astype("u1")
    tifffile.imwrite(tmp_path / "x.tif", picture, photometric="rgb", compression=compression, metadata=None)
    difference = abs(read_image(tmp_path / "x.tif").pixels.astype(int) - picture)
    assert difference.mean() < 4


def test_bands_beyond_red_green_blue_stay_beside_them(tmp_path: Path) -> None:
    bands = np.arange(6 * 7 * 4, dtype="u1").reshape(6, 7, 4)
    tifffile.imwrite(tmp_path / "x.tif", bands, photometric="rgb", extrasamples=[2], metadata=None)
    result = Image(255 - bands)
    write_image(tmp_path / "y.tif", result, like=tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "y.tif") as made:
        assert made.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
        assert tuple(made.pages[0].extrasamples) == (0,)
        np.testing.assert_array_equal(made.asarray(), 255 - bands)
