"""TIFF in every compression and depth: the right numbers, the table of them, and nothing unpacked beyond the page.

`python tests/test_tiff_codecs.py --write` writes the table of docs/values.md anew.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

import tiff_files as files
from tiff_files import BITS, MAKERS, NEARLY, SHAPES, Array, samples
from unpaired.errors import ImageError, MissingExtraError, UnpairedError
from unpaired.images import read_header, read_image
from unpaired.images.tiff.tiff_page import COMPRESSIONS, UNREAD

DOCS = Path(__file__).parents[1] / "docs" / "values.md"
INTRO = """\
TIFF by compression and depth, as the tests read it: `core` by Pillow, `sci` with `pip install 'unpaired[sci]'`, `–`
where a compression has no such samples. Fewer than 8 bits are spread over 0..255; 9 to 15 bits keep their numbers,
in uint16; int8 becomes int16, float16 float32. Exact but for JPEG and YCbCr. Other compressions are named and refused.
"""
BEGIN, END = "<!-- tiff:begin -->", "<!-- tiff:end -->"


def outcome(row: str, column: str, folder: Path) -> str:
    """Return who reads files of a compression and depth: "core", "sci", or "–" where there are none of that kind.

    Asserts that each gives its values.
    """
    readers = set()
    dtype, _ = SHAPES[column]
    for make in MAKERS[row]:
        for bits in BITS.get(column, (8 * np.dtype(dtype).itemsize,)):
            array = samples(column, bits)
            try:
                make(folder / "x.tif", array, bits)
            except Exception:  # the encoder has no such samples
                continue
            header, image = read_header(folder / "x.tif"), read_image(folder / "x.tif")
            wanted = np.round(array * (255 / (2**bits - 1))) if bits < 8 else array
            assert (header.width, header.height, header.depth) == (array.shape[1], array.shape[0], bits)
            assert image.pixels.shape == array.shape
            assert (image.channels, str(image.dtype)) == (header.channels, header.dtype)
            most = np.abs(image.pixels.astype(np.float64) - wanted).max()
            assert most <= NEARLY.get(row, 0), (row, column, bits)
            readers.add("core" if header.mode else "sci")
    return "–" if not readers else "core" if readers == {"core"} else "core, sci" if len(readers) > 1 else "sci"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return made_table(tmp_path_factory.mktemp("codecs"))


def made_table(folder: Path) -> dict[str, dict[str, str]]:
    return {row: {column: outcome(row, column, folder) for column in SHAPES} for row in MAKERS}


def as_markdown(table: dict[str, dict[str, str]]) -> str:
    lines = ["| compression | " + " | ".join(SHAPES) + " |", "|---" * (len(SHAPES) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(cells.values()) + " |" for row, cells in table.items()]
    return "\n".join([INTRO, *lines])


def test_the_table_of_the_manual_is_what_is_read(table: dict[str, dict[str, str]]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip() == as_markdown(table)


def test_what_is_plain_needs_no_optional_part(table: dict[str, dict[str, str]]) -> None:
    for row in ("none", "LZW", "deflate (8, 32946, 50013)", "PackBits"):
        for column in ("8 grey", "8 colour", "16 grey"):
            assert "core" in table[row][column]
    assert table["JPEG (7, 33007, 34892)"]["8 colour"] == table["CCITT RLE, G3, G4"]["1 bit"] == "core"


def test_every_compression_that_is_read_is_in_the_table() -> None:
    names = " ".join(MAKERS)
    numbered = {number for number in COMPRESSIONS if str(number) in names}
    assert set(COMPRESSIONS) - numbered <= {1, 2, 3, 4, 5, 32773, 34925}  # these stand there by name
    assert not set(COMPRESSIONS) & set(UNREAD)


@pytest.mark.parametrize("number", [6, 34676, 48124, 65000, 12345])
def test_a_compression_that_is_not_read_is_named_and_not_called_damaged(tmp_path: Path, number: int) -> None:
    page = (files.plain_tags(4, 4, compression=number), [bytes(16)])
    (tmp_path / "x.tif").write_bytes(files.tiff([page]))
    for read in (read_header, read_image):
        with pytest.raises(ImageError, match="which is not read; save it with deflate or LZW") as caught:
            read(tmp_path / "x.tif")
        assert UNREAD.get(number, "12345") in str(caught.value)
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_subsampled_jpeg_has_right_colours(tmp_path: Path, subsampling: tuple[int, int]) -> None:
    y, x = np.mgrid[:64, :64]
    array = np.stack([40 + 3 * x, 220 - 2 * y, 90 + x + y], axis=2).astype(np.uint8)
    options = {"compressionargs": {"level": 100}, "subsampling": subsampling, "metadata": None}
    for tile in ((32, 32), None):
        tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", compression="jpeg", tile=tile, **options)
        assert np.abs(read_image(tmp_path / "x.tif").pixels.astype(int) - array).max() <= 4


def test_planes_and_edges_of_tiles_are_where_they_belong(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2**16, (3, 37, 51), dtype=np.uint16)
    for compression in ("none", "zlib", "zstd", "jpeg2000"):
        for tile in ((16, 32), None):
            tifffile.imwrite(
                tmp_path / "x.tif",
                array,
                photometric="rgb",
                planarconfig="separate",
                tile=tile,
                rowsperstrip=None if tile else 10,
                compression=compression,
                compressionargs={"level": 0} if compression == "jpeg2000" else None,
                metadata=None,
            )
            np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, array.transpose(1, 2, 0))


def test_a_palette_is_read_alike_by_both_readers(tmp_path: Path) -> None:
    index = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    colours = np.random.default_rng(1).integers(0, 2**16, (3, 256), dtype=np.uint16)
    pictures = []
    for compression in ("lzw", "zstd"):
        tifffile.imwrite(
            tmp_path / "x.tif", index, photometric="palette", colormap=colours, compression=compression, metadata=None
        )
        header = read_header(tmp_path / "x.tif")
        assert header.channels == 3
        pictures.append(read_image(tmp_path / "x.tif").pixels)
    np.testing.assert_array_equal(pictures[0], (colours >> 8).T.astype(np.uint8)[index])
    np.testing.assert_array_equal(pictures[1], pictures[0])


@pytest.mark.parametrize(("declared", "gap"), [(None, float("nan")), (b"-9999\0", -9999.0)])
def test_values_that_lerc_marks_as_missing_are_no_data(tmp_path: Path, declared: bytes | None, gap: float) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = np.ones((3, 4), bool)
    mask[1, 2] = False
    tags = files.plain_tags(4, 3, 32, compression=34887, kind=3) | ({42113: ("s", declared)} if declared else {})
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [bytes(imagecodecs.lerc_encode(values, masks=mask))])]))
    image = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.pixels[:, :, 0], np.where(mask, values, gap))
    assert image.missing is not None
    np.testing.assert_array_equal(image.missing[:, :, 0], ~mask)


@pytest.mark.parametrize("module", ["imagecodecs", "tifffile"])
def test_without_the_optional_part_a_compression_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    from unpaired.images.tiff import tiff_reading

    array = samples("8 grey")
    compression = "zstd" if module == "tifffile" else "webp"
    array = array if compression == "zstd" else samples("8 colour")
    files.written(compression)(tmp_path / "x.tif", array, 8)
    tiff_reading._decoder.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    assert read_header(tmp_path / "x.tif").channels == array.shape[2]
    with pytest.raises(MissingExtraError, match=r"pip install 'unpaired\[sci\]'"):
        read_image(tmp_path / "x.tif")


# ---- bounds ----

LARGE = 96 * 2**20
OF_STREAMS = (7, 33007, 34892, 34712, 33003, 33004, 33005, 34934, 22610, 50002, 52546, 50001, 34927, 34933, 34887)


def codestream() -> bytes:
    """Return JPEG 2000 that claims 3,000 x 3,000 pixels."""
    stream = bytes(imagecodecs.jpeg2k_encode(np.zeros((8, 8), np.uint8), codecformat="J2K"))
    return stream[:8] + (3_000).to_bytes(4) * 2 + stream[16:]


def jpeg() -> bytes:
    """Return JPEG that claims 3,000 x 3,000 pixels."""
    stream = bytes(imagecodecs.jpeg_encode(np.zeros((16, 16), np.uint8)))
    place = stream.index(b"\xff\xc0") + 5
    return stream[:place] + (3_000).to_bytes(2) * 2 + stream[place + 4 :]


def larger(encode: Callable[[Array], bytes], bands: int = 1) -> bytes:
    """Return a sound stream of 1024 x 1024 pixels."""
    return bytes(encode(np.zeros((1024, 1024, bands) if bands > 1 else (1024, 1024), np.uint8)))


@cache
def claims() -> dict[int, bytes]:
    """Return for each compression a stream that unpacks to, or claims, far more than 16 x 16 pixels."""
    deflated, zstd = zlib.compress(bytes(LARGE)), bytes(imagecodecs.zstd_encode(bytes(LARGE)))
    xr, jxl, webp = (
        larger(imagecodecs.jpegxr_encode),
        larger(imagecodecs.jpegxl_encode),
        larger(imagecodecs.webp_encode, 3),
    )
    found = dict.fromkeys((8, 32946, 50013), deflated) | dict.fromkeys((50000, 34926), zstd)
    found |= {5: bytes(imagecodecs.lzw_encode(bytes(LARGE // 4))), 32773: b"\x81\0" * 2**20}
    found |= {34925: lzma.compress(bytes(LARGE), preset=0)}
    found |= dict.fromkeys((2, 3, 4), b"\xff" * 2**16) | dict.fromkeys((7, 33007, 34892), jpeg())
    found |= dict.fromkeys((34712, 33003, 33004, 33005), codestream()) | dict.fromkeys((34934, 22610), xr)
    found |= dict.fromkeys((50002, 52546), jxl) | dict.fromkeys((50001, 34927), webp)
    return found | {34933: larger(imagecodecs.png_encode), 34887: larger(imagecodecs.lerc_encode)}


def test_every_compression_has_a_stream_that_claims_too_much() -> None:
    assert set(claims()) | {1} == set(COMPRESSIONS)


MEASURE = """
import json, resource, sys
from unpaired.errors import UnpairedError
from unpaired.images import read_image
import imagecodecs, tifffile, PIL.Image
read_image(sys.argv[1])  # what libraries load once
found = {}
for path in sys.argv[2:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = str(read_image(path).pixels.shape)
    except UnpairedError as error:
        said = str(error)
    found[path] = said, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps(found))
"""


def measured(folder: Path, pages: dict[str, bytes]) -> dict[str, tuple[str, float]]:
    """Return the outcome of reading each file, and the growth of peak memory of its process in megabytes."""
    tifffile.imwrite(folder / "warm.tif", np.zeros((9, 9, 5), np.uint16), photometric="minisblack", compression="zstd")
    names = []
    for name, data in pages.items():
        (folder / f"{name}.tif").write_bytes(data)
        names.append(str(folder / f"{name}.tif"))
    command = [sys.executable, "-c", MEASURE, str(folder / "warm.tif"), *names]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(made.stdout)
    return {Path(path).stem: tuple(result) for path, result in found.items()}


def tiled(width: int, height: int, side: int, **more: int) -> files.Tags:
    return files.plain_tags(width, height, **more) | {322: ("I", [side]), 323: ("I", [side])}


def test_no_stream_unpacks_to_more_than_its_page(tmp_path: Path) -> None:
    pages = {}
    for number, stream in claims().items():
        bands = 3 if number in (50001, 34927) else 1
        tags = files.plain_tags(16, 16, 1 if number in (2, 3, 4) else 8, bands, number, 2 if bands == 3 else 1)
        pages[f"strip-{number}"] = files.tiff([(tags, [stream])])
        pages[f"signed-{number}"] = files.tiff([(tags | {339: ("H", [2])}, [stream])])  # which is not for Pillow
    for name, (said, megabytes) in measured(tmp_path, pages).items():
        assert megabytes <= 64, (name, said, megabytes)
        assert said == "(16, 16, 1)" or said.startswith(str(tmp_path)), (name, said)
        if name.startswith("signed") and int(name.split("-")[1]) in OF_STREAMS:
            assert "more than its page, and was not decoded" in said, (name, said)


def test_a_file_of_some_bytes_that_claims_60000_pixels_a_side_takes_no_memory(tmp_path: Path) -> None:
    pages = {}
    for number in sorted(COMPRESSIONS):
        wide, deep = tiled(60_000, 60_000, 256, compression=number), tiled(64, 64, 60_000, compression=number)
        bands = files.plain_tags(11_000, 11_000, 8, 1, number) | {277: ("H", [60_000])}
        for name, tags in (("picture", wide), ("tile", deep), ("bands", bands)):
            pages[f"{name}-{number}"] = files.tiff([(tags, [bytes(40)])])
    for name, (said, megabytes) in measured(tmp_path, pages).items():
        assert said.startswith(str(tmp_path)), (name, said)
        assert megabytes <= 64, (name, said, megabytes)


def test_an_animation_in_a_strip_is_its_first_picture(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpegxl_encode(np.zeros((40, 64, 64, 3), np.uint8), lossless=True))
    (tmp_path / "x.tif").write_bytes(files.tiff([(files.plain_tags(64, 64, 8, 3, 50002, 2), [stream])]))
    assert read_image(tmp_path / "x.tif").pixels.shape == (64, 64, 3)


def test_rows_beyond_the_last_one_are_cut_off(tmp_path: Path) -> None:
    """Some programs fill the last strip up to its full height."""
    array = np.arange(5 * 8, dtype=np.uint16).reshape(5, 8)
    whole = np.concatenate([array, np.full((3, 8), 9, np.uint16)])
    for number, pack in (
        (1, bytes),
        (8, zlib.compress),
        (50000, imagecodecs.zstd_encode),
        (34925, imagecodecs.lzma_encode),
    ):
        tags = files.plain_tags(8, 5, 16, 1, number) | {278: ("I", [4]), 339: ("H", [2])}
        strips = [bytes(pack(part.astype("<u2").tobytes())) for part in (whole[:4], whole[4:])]
        (tmp_path / "x.tif").write_bytes(files.tiff([(tags, strips)]))
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], array)


@pytest.mark.parametrize("number", [1, 5, 8, 50000])
def test_ycbcr_without_jpeg_is_turned_into_rgb_or_refused(tmp_path: Path, number: int) -> None:
    x = np.mgrid[:16, :32][1]
    luma, blue, red = (40 + 4 * x).astype(np.uint8), 90, 170
    wanted = np.stack([luma + 1.402 * 42, luma + 0.344136 * 38 - 0.714136 * 42, luma - 1.772 * 38], 2).clip(0, 255)
    pack = {1: bytes, 5: imagecodecs.lzw_encode, 8: zlib.compress, 50000: imagecodecs.zstd_encode}[number]
    full = np.stack([luma, np.full_like(luma, blue), np.full_like(luma, red)], 2).tobytes()
    units = luma.reshape(8, 2, 16, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    half = b"".join(bytes([*unit, blue, red]) for unit in units.tolist())
    for body, parts in ((full, [1, 1]), (half, [2, 2])):
        page = (files.plain_tags(32, 16, 8, 3, number, 6) | {530: ("H", parts)}, [bytes(pack(body))])
        (tmp_path / "x.tif").write_bytes(files.tiff([page]))
        if parts == [2, 2] and number in (1, 50000):
            with pytest.raises(ImageError, match="save it as RGB"):
                read_image(tmp_path / "x.tif")
        else:
            assert np.abs(read_image(tmp_path / "x.tif").pixels - wanted).max() <= 1


def test_broken_tags_are_an_image_or_one_sentence_at_once(tmp_path: Path) -> None:
    sources = []
    for row in ("none", "LZW", "ZSTD (50000, 34926)", "JPEG 2000 (34712, 33004, Aperio 33005)"):
        MAKERS[row][0](tmp_path / "x.tif", samples("16 grey", 16), 16)
        sources.append((tmp_path / "x.tif").read_bytes())
    for options in ({"ome": True}, {"imagej": True}, {"tile": (16, 16), "compression": "zlib"}):
        tifffile.imwrite(
            tmp_path / "x.tif", samples("8 colour").transpose(2, 0, 1).copy(), photometric="minisblack", **options
        )
        sources.append((tmp_path / "x.tif").read_bytes())
    rng, outcomes = np.random.default_rng(0), set()
    for number in range(500):
        data = bytearray(sources[number % len(sources)])
        first = int.from_bytes(data[4:8], "little")
        for _ in range(rng.integers(1, 5)):
            data[min(first + int(rng.integers(300)), len(data) - 1)] = rng.integers(256)
        (tmp_path / "x.tif").write_bytes(data)
        started = time.process_time()
        for read in (read_header, lambda path: read_image(path, max_pixels=2**20)):
            try:
                read(tmp_path / "x.tif")
                outcomes.add("")
            except UnpairedError as error:
                outcomes.add(str(error))
        assert time.process_time() - started < 1
    assert "" in outcomes
    assert len(outcomes) > 20
    assert all(said.isprintable() and (not said or "x.tif" in said) for said in outcomes)


def test_jpeg_by_pillow_takes_one_picture_too(tmp_path: Path) -> None:
    PIL.Image.fromarray(samples("8 colour")).save(tmp_path / "x.tif", compression="jpeg", quality=100)
    assert read_image(tmp_path / "x.tif").pixels.shape == (48, 64, 3)


if __name__ == "__main__":
    import tempfile

    assert sys.argv[1:] == ["--write"]
    with tempfile.TemporaryDirectory() as place:
        text = DOCS.read_text(encoding="utf-8")
        head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        DOCS.write_text(f"{head}\n{as_markdown(made_table(Path(place)))}\n{tail}", encoding="utf-8")
