"""Files, arrays and tensors convert without loss, and unsupported ones are refused in one sentence."""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from unpaired.errors import ConfigError, ImageError, MissingExtraError, NonFiniteError, OutputError
from unpaired.images import (
    Image,
    from_tensor,
    read_header,
    read_image,
    resize,
    to_tensor,
    write_image,
)

ORIENTATION = 0x0112
SIZES = [(1, 1), (7, 5), (33, 70)]


def random_image(
    height: int = 7, width: int = 5, channels: int = 3, alpha: bool = False, dtype: type = np.uint8
) -> Image:
    rng = np.random.default_rng(height * 1000 + width * 10 + channels)
    top = np.iinfo(dtype).max + 1
    pixels = rng.integers(0, top, (height, width, channels), dtype=dtype)
    return Image(pixels, rng.integers(0, top, (height, width), dtype=dtype) if alpha else None)


def assert_same(one: Image, other: Image) -> None:
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None and other.alpha is not None:
        np.testing.assert_array_equal(one.alpha, other.alpha)


# --- tensors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_way_to_a_tensor_and_back(dtype: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(16, -1, 1)
    tensor = to_tensor(Image(values), 1)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1.0, 1.0)
    np.testing.assert_array_equal(from_tensor(tensor, dtype=dtype).pixels, values)


def test_values_are_clamped_and_rounded_never_cut_off() -> None:
    tensor = torch.tensor([-3.0, 0.6 / 127.5 - 1, 0.4 / 127.5 - 1, 254.9 / 127.5 - 1, 7.0])
    assert from_tensor(tensor.reshape(1, 1, 5)).pixels.ravel().tolist() == [0, 1, 0, 255, 255]


def test_nan_is_never_written_as_a_colour() -> None:
    with pytest.raises(NonFiniteError, match="NaN"):
        from_tensor(torch.full((3, 2, 2), torch.nan))


def test_grey_is_repeated_for_a_colour_network() -> None:
    image = random_image(channels=1)
    tensor = to_tensor(image, 3)
    assert tensor.shape == (3, 7, 5)
    np.testing.assert_array_equal(from_tensor(tensor).pixels, np.repeat(image.pixels, 3, axis=2))


def test_colour_becomes_grey_by_the_luma_of_rec_601() -> None:
    image = Image(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8))
    assert from_tensor(to_tensor(image, 1)).pixels.ravel().tolist() == [76, 150, 29, 255]


def test_other_changes_of_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 3 channels and 4 are wanted"):
        to_tensor(random_image(), 4)


def test_transparency_must_be_laid_over_a_colour_before_it_becomes_a_tensor() -> None:
    with pytest.raises(ImageError, match="over"):
        to_tensor(random_image(alpha=True), 3)


def test_arrays_that_torch_would_not_take_are_understood() -> None:
    image = random_image(1, 5, 1)
    image.pixels.flags.writeable = False
    backwards = Image(image.pixels[::-1, ::-1])
    assert to_tensor(backwards, 1).flip(2).equal(to_tensor(image, 1))
    assert resize(backwards, (2, 2)).height == 2


# --- composition, Pillow, resizing -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_over_mixes_exactly_and_rounds(dtype: type) -> None:
    image = random_image(alpha=True, dtype=dtype)
    top = np.iinfo(dtype).max
    assert image.alpha is not None
    share = image.alpha[:, :, None] / top
    color = np.array([255, 128, 0]) * (top / 255)
    over = image.over((255, 128, 0))
    assert over.alpha is None
    assert np.abs(over.pixels - (image.pixels * share + color * (1 - share))).max() <= 0.5 + 1e-6


def test_grey_stays_grey_over_grey_and_becomes_colour_over_colour() -> None:
    image = random_image(channels=1, alpha=True)
    assert image.over((255, 255, 255)).channels == 1
    assert image.over((255, 0, 0)).channels == 3


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", SIZES)
def test_pillow_images_come_back_as_they_went(mode: str, size: tuple[int, int]) -> None:
    dtype = np.uint16 if mode == "I;16" else np.uint8
    image = random_image(*size, 1 if mode[0] in "LI" else 3, "A" in mode, dtype)
    assert image.to_pil().mode == mode
    assert_same(Image.from_pil(image.to_pil()), image)


def test_16_bit_colour_is_not_handed_to_pillow() -> None:
    with pytest.raises(ImageError, match="3 channels of uint16"):
        random_image(dtype=np.uint16).to_pil()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    picture = random_image().to_pil().convert(mode)
    np.testing.assert_array_equal(Image.from_pil(picture).pixels, np.array(picture.convert("RGB")))


def test_lab_is_refused_with_the_way_out() -> None:
    with pytest.raises(ImageError, match="mode LAB"):
        Image.from_pil(PIL.Image.new("LAB", (2, 2)))


@pytest.mark.parametrize(("mode", "value", "dtype"), [("F", -0.25, "float32"), ("I", -1, "int32"), ("I", 7, "uint16")])
def test_numbers_beyond_16_bits_keep_their_type(mode: str, value: float, dtype: str) -> None:
    image = Image.from_pil(PIL.Image.new(mode, (2, 2), value))
    assert image.dtype == dtype
    assert np.unique(image.pixels).tolist() == [value]


@pytest.mark.parametrize("size", [(12, 9), (40, 90), (1, 1)])
def test_resizing_agrees_with_pillow_to_one_grey_level(size: tuple[int, int]) -> None:
    smooth = resize(random_image(8, 8), (33, 70))
    wanted = np.array(smooth.to_pil().resize(size[::-1], PIL.Image.Resampling.BICUBIC))
    assert np.abs(resize(smooth, size).pixels.astype(int) - wanted).max() <= 1


def test_16_bits_keep_their_depth_when_resized() -> None:
    image = Image(np.full((9, 9, 1), 40_001, np.uint16))
    assert np.unique(resize(image, (5, 20)).pixels).tolist() == [40_001]


def test_hidden_colours_do_not_bleed_when_resized() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = (200, 100, 50)
    pixels[:, 4:] = (0, 255, 0)  # a palette's arbitrary background under full transparency
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, :4] = 255
    small = resize(Image(pixels, alpha), (3, 3))
    assert small.alpha is not None
    visible = small.pixels[small.alpha > 8].astype(int)
    assert np.abs(visible - (200, 100, 50)).max() <= 1


# --- files: round trips ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".ppm"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_8_bits_exactly(
    tmp_path: Path, suffix: str, size: tuple[int, int], channels: int
) -> None:
    image = random_image(*size, channels)
    write_image(tmp_path / f"x{suffix}", image)
    assert_same(read_image(tmp_path / f"x{suffix}"), image)
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_tiff_keep_transparency_exactly(tmp_path: Path, suffix: str, channels: int) -> None:
    image = random_image(33, 70, channels, alpha=True)
    write_image(tmp_path / f"x{suffix}", image)
    assert_same(read_image(tmp_path / f"x{suffix}"), image)
    assert read_header(tmp_path / f"x{suffix}").has_alpha


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("size", SIZES)
def test_16_bit_grey_is_exact(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    image = random_image(*size, 1, dtype=np.uint16)
    write_image(tmp_path / f"x{suffix}", image)
    assert_same(read_image(tmp_path / f"x{suffix}"), image)
    assert read_header(tmp_path / f"x{suffix}").depth == 16


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_close_and_keep_their_size(tmp_path: Path, suffix: str) -> None:
    image = resize(random_image(4, 4), (33, 70))
    write_image(tmp_path / f"x{suffix}", image)
    again = read_image(tmp_path / f"x{suffix}")
    assert np.abs(again.pixels.astype(int) - image.pixels).mean() < 4


def test_big_endian_tiff_and_16_bit_pgm_are_exact(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255], [256, 40_000, 65_535]], ">u2")
    header = struct.pack(">2sHIH", b"MM", 42, 8, 8)
    tags = {256: 3, 257: 2, 258: 16, 259: 1, 262: 1, 273: 8 + 2 + 8 * 12 + 4, 278: 2, 279: 12}
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    (tmp_path / "x.tif").write_bytes(header + entries + bytes(4) + values.tobytes())
    (tmp_path / "x.pgm").write_bytes(b"P5\n3 2\n65535\n" + values.tobytes())
    for name in ("x.tif", "x.pgm"):
        image = read_image(tmp_path / name)
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image.pixels[:, :, 0], values)


@pytest.mark.parametrize(("channels", "alpha"), [(1, True), (3, False), (3, True)])
def test_16_bit_colour_is_written_whole(tmp_path: Path, channels: int, alpha: bool) -> None:
    image = random_image(7, 5, channels, alpha, np.uint16)
    write_image(tmp_path / "x.png", image)
    data = (tmp_path / "x.png").read_bytes()
    with PIL.Image.open(tmp_path / "x.png") as picture:
        picture.load()  # checks lengths and checksums
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(data[start + 4 : start + 4 + length]), np.uint8).reshape(7, -1)
    assert set(rows[:, 0]) == {2}
    plain = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    np.testing.assert_array_equal(plain.copy().view(">u2").reshape(7, 5, -1), image.interleaved)


def test_16_bits_are_never_reduced_on_writing(tmp_path: Path) -> None:
    for name, channels in (("x.jpg", 1), ("x.webp", 3), ("x.bmp", 1)):
        with pytest.raises(OutputError, match=r"of uint16 without loss; write \.png or \.tif"):
            write_image(tmp_path / name, random_image(channels=channels, dtype=np.uint16))


# --- files: palettes, single bits, orientation -----------------------------------------------------


def test_a_palette_with_transparency_never_shows_the_hidden_background(tmp_path: Path) -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([0, 255, 0, 200, 100, 50])  # entry 0, a loud green, is transparent
    picture.putdata([0, 1])
    picture.save(tmp_path / "x.png", transparency=b"\x00\x80")
    picture.save(tmp_path / "x.gif", transparency=0)
    image = read_image(tmp_path / "x.png")
    assert image.alpha is not None
    assert image.alpha.tolist() == [[0, 128]]
    assert image.over((255, 255, 255)).pixels[0].tolist() == [[255, 255, 255], [227, 177, 152]]
    gif = read_image(tmp_path / "x.gif").over((255, 255, 255))
    assert gif.pixels[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_palettes_and_single_bits_are_understood(tmp_path: Path) -> None:
    palette = PIL.Image.new("P", (1, 1))
    palette.putpalette([9, 8, 7])
    palette.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").pixels.tolist() == [[[9, 8, 7]]]
    PIL.Image.new("1", (3, 2), 1).save(tmp_path / "1.png")
    assert read_image(tmp_path / "1.png").pixels.ravel().tolist() == [255] * 6
    assert read_header(tmp_path / "1.png").depth == 1


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_one_transparent_colour_becomes_alpha(tmp_path: Path, mode: str) -> None:
    picture = PIL.Image.new(mode, (2, 1))
    picture.putpixel((1, 0), (1, 1, 1) if mode == "RGB" else 1)
    picture.save(tmp_path / "x.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    image = read_image(tmp_path / "x.png")
    assert image.alpha is not None
    assert (image.alpha > 0).tolist() == [[False, True]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = resize(random_image(3, 2, 3), (48, 32)).to_pil()
    ways = PIL.Image.Transpose
    stored = {  # the stored pixels whose orientation tag gives `upright`
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_90,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_270,
    }
    picture = upright.transpose(stored[orientation]) if orientation > 1 else upright
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(suffix, {})
    picture.save(tmp_path / f"x{suffix}", exif=exif, **options)
    header, image = read_header(tmp_path / f"x{suffix}"), read_image(tmp_path / f"x{suffix}")
    assert (header.height, header.width) == (image.height, image.width) == (48, 32)
    error = np.abs(image.pixels.astype(int) - np.array(upright))
    assert error.max() == 0 if suffix != ".jpg" else error.mean() < 3


def test_exif_behind_the_pixels_of_a_png_is_found_in_the_header(tmp_path: Path) -> None:
    random_image(4, 6).to_pil().save(tmp_path / "x.png")
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:-12] + chunk + data[-12:])
    header, image = read_header(tmp_path / "x.png"), read_image(tmp_path / "x.png")
    assert (header.height, header.width) == (image.height, image.width) == (6, 4)


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    random_image().to_pil().save(tmp_path / "x.jpg", exif=b"Exif\0\0garbage")
    assert read_image(tmp_path / "x.jpg").pixels.shape == (7, 5, 3)


def test_metadata_is_not_written(tmp_path: Path) -> None:
    picture = random_image().to_pil()
    exif = PIL.Image.Exif()
    exif[0x010E] = "where and who"
    picture.save(tmp_path / "in.jpg", exif=exif)
    write_image(tmp_path / "out.jpg", read_image(tmp_path / "in.jpg"))
    assert b"who" not in (tmp_path / "out.jpg").read_bytes()


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (3, 3), color) for color in ("red", "blue")]
    for name in ("x.png", "x.gif", "x.webp", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert read_image(tmp_path / name).pixels[0, 0].tolist()[0] > 200


# --- files: refusals -------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write_image(path, random_image(33, 70))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    message = refused(path)
    assert "damaged" in message


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
    for name, content, word in (
        ("lfs.jpg", pointer, "Git LFS pointer"),
        ("empty.jpg", "", "is empty"),
        ("page.jpg", "<html>not found</html>", "no image of a known format"),
        ("vector.png", "%!PS-Adobe-3.0 EPSF-3.0\n", "no image of a known format"),
    ):
        (tmp_path / name).write_text(content)
        assert word in refused(tmp_path / name)
    assert "No such file" in refused(tmp_path / "missing.png")
    (tmp_path / "folder.png").mkdir()
    assert "not a regular file" in refused(tmp_path / "folder.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refused(tmp_path / "pipe.png")


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\\x1b\[31m") as caught:
        read_image(tmp_path / "\x1b[31m.png")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(("channels", "alpha"), [(3, False), (3, True), (1, True)])
def test_16_bit_colour_is_refused_rather_than_reduced_where_its_reader_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, alpha: bool
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    write_image(tmp_path / "x.png", random_image(7, 5, channels, alpha, np.uint16))
    with pytest.raises(MissingExtraError, match=r"unpaired\[sci\]"):
        read_image(tmp_path / "x.png")
    assert read_header(tmp_path / "x.png").depth == 16


def test_16_bit_ppm_needs_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6\n1 1\n65535\n\0\1\1\0\xff\xff")
    assert read_image(tmp_path / "x.ppm").pixels.tolist() == [[[1, 256, 65535]]]


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    body = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT")
    assert "more pixels" in refused(tmp_path / "bomb.png")
    write_image(tmp_path / "x.png", random_image(20, 20))
    with pytest.raises(ImageError, match="20 x 20 pixels, more than the limit of 399"):
        read_image(tmp_path / "x.png", max_pixels=399)


def test_a_picture_in_pillows_zone_of_warnings_is_read_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "x.png", random_image(20, 20))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 300)
    assert read_image(tmp_path / "x.png").height == 20


def test_threads_that_read_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    import warnings

    write_image(tmp_path / "x.png", random_image(20, 20))
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(tmp_path / "x.png") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_outputs_that_cannot_be_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.png"):
        write_image(tmp_path / "x.gif", random_image())
    with pytest.raises(OutputError, match="transparency"):
        write_image(tmp_path / "x.jpg", random_image(alpha=True))
    with pytest.raises(OutputError, match="No such file"):
        write_image(tmp_path / "missing" / "x.png", random_image())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="directory"):
        write_image(tmp_path / "folder.png", random_image())
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_an_image_whose_parts_do_not_fit_is_refused() -> None:
    with pytest.raises(ImageError, match="float64"):
        Image(np.zeros((2, 2, 3)))
    with pytest.raises(ImageError, match="Alpha"):
        Image(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.uint8))


def test_an_image_saves_itself_and_describes_itself_without_its_pixels(tmp_path: Path) -> None:
    image = Image(np.zeros((4, 6, 3), np.uint16), alpha=np.full((4, 6), 65535, np.uint16), nodata=0.0)
    assert repr(image) == "Image(4 x 6, 3 channels, alpha, nodata, uint16)"
    image.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").interleaved, image.interleaved)
    with pytest.raises(OutputError, match=r"\.xyz"):
        image.save(tmp_path / "x.xyz")
