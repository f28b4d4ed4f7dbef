"""TIFF: the pages of a picture, stacks and their axes, and the metadata that a result keeps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

import tiff_files as files
from tiff_files import again, drawn
from unpaired.errors import ImageError, OutputError
from unpaired.images import Image, count_slices, lost, read_header, read_image, write_image, write_stack
from unpaired.images.tiff import tiff_pages, tiff_writing

# ---- which pages are the picture ----


def test_a_thumbnail_before_the_picture_is_not_the_picture(tmp_path: Path) -> None:
    for dtype, bands in (("uint8", 3), ("uint8", 1), ("uint16", 3), ("float32", 1)):
        picture = drawn(64, 48, bands, dtype=dtype)
        color = {"photometric": "rgb" if bands == 3 else "minisblack", "metadata": None}
        flat = picture if bands == 3 else picture[:, :, 0]
        for flagged in (1, 0):
            with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
                writer.write(np.ascontiguousarray(flat[::8, ::8]), subfiletype=flagged, **color)
                writer.write(flat, subfiletype=0, **color)
            header = read_header(tmp_path / "x.tif")
            assert (header.width, header.height, header.frames) == (48, 64, 1)
            assert header.carries == {"pages"}
            np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, picture)


def test_smaller_copies_are_a_pyramid_and_a_mask_is_no_data(tmp_path: Path) -> None:
    picture = drawn(64, 96, dtype="uint8")
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(picture, photometric="minisblack", metadata=None)
        writer.write(picture[::2, ::2].copy(), photometric="minisblack", subfiletype=1, metadata=None)
        writer.write(picture[::4, ::4].copy(), photometric="minisblack", subfiletype=1, metadata=None)
    assert read_header(tmp_path / "x.tif").carries == {"pyramid"}
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(picture, photometric="minisblack", metadata=None)
        writer.write(picture > 9, photometric="mask", subfiletype=4, metadata=None)
    assert read_header(tmp_path / "x.tif").carries == {"no-data"}
    assert read_header(tmp_path / "x.tif").frames == 1
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], picture)


def test_a_pyramid_below_its_page_is_one_picture(tmp_path: Path) -> None:
    picture = drawn(64, 96, 3, dtype="uint8")
    with tifffile.TiffWriter(tmp_path / "x.ome.tif") as writer:
        writer.write(picture, photometric="rgb", subifds=1, tile=(32, 32), metadata={"axes": "YXS"})
        writer.write(picture[::2, ::2].copy(), photometric="rgb", subfiletype=1, tile=(32, 32), metadata=None)
    header = read_header(tmp_path / "x.ome.tif")
    assert (header.frames, header.channels, header.width) == (1, 3, 96)
    assert "pyramid" in header.carries
    np.testing.assert_array_equal(read_image(tmp_path / "x.ome.tif").pixels, picture)


def test_a_picture_below_a_thumbnail_is_the_picture(tmp_path: Path) -> None:
    picture = drawn(64, 96, dtype="uint16")
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(picture[::8, ::8].copy(), photometric="minisblack", subfiletype=1, subifds=1, metadata=None)
        writer.write(picture, photometric="minisblack", subfiletype=0, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], picture)
    assert read_header(tmp_path / "x.tif").carries == {"pages"}


def test_pages_that_loop_end(tmp_path: Path) -> None:
    page = (files.plain_tags(4, 4), [bytes(16)])
    data = bytearray(files.tiff([page, page]))
    last, first = data.rindex(bytes(4)), int.from_bytes(data[4:8], "little")
    for place in range(len(data) - 4, 8, -1):  # the link of the second page, which is the last of zeros
        if data[place : place + 4] == bytes(4) and place + 4 <= last + 4:
            data[place : place + 4] = first.to_bytes(4, "little")
            break
    (tmp_path / "x.tif").write_bytes(data)
    assert read_header(tmp_path / "x.tif").frames == 2


STACKS: dict[str, dict[str, Any]] = {
    "plain": {"metadata": None},
    "json": {"metadata": {"axes": "ZYX"}},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 0.5}, "resolution": (4.0, 4.0)},
    "ome": {
        "ome": True,
        "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 0.5},
    },
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", STACKS)
def test_the_pages_of_a_stack_are_slices_and_come_back(tmp_path: Path, kind: str, dtype: str) -> None:
    stack = drawn(5, 12, 9, dtype=dtype)
    path = tmp_path / ("x.ome.tif" if kind == "ome" else "x.tif")
    tifffile.imwrite(path, stack, photometric="minisblack", **STACKS[kind])
    header = read_header(path)
    assert (header.frames, header.channels, count_slices(path)) == (5, 1, 5)
    for number in range(5):
        np.testing.assert_array_equal(read_image(path, frame=number).pixels[:, :, 0], stack[number])
    with pytest.raises(ImageError, match="has 5 slices, and slice 5 was asked for"):
        read_image(path, frame=5)
    assert lost(header, ".tif") == set()
    made = again(path)
    np.testing.assert_array_equal(tifffile.imread(made), stack)
    assert read_header(made).carries == header.carries
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(made) as after:
        assert (before.is_ome, before.is_imagej) == (after.is_ome, after.is_imagej)
        if kind == "imagej":
            for name in ("spacing", "unit", "images", "slices"):
                assert before.imagej_metadata[name] == after.imagej_metadata[name]
            assert after.pages[0].resolution == (4.0, 4.0)
        if kind == "ome":
            for part in ('PhysicalSizeX="0.25"', 'PhysicalSizeZ="0.5"', 'SizeZ="5"'):
                assert part in before.ome_metadata
                assert part in after.ome_metadata


@pytest.mark.parametrize("imagej", [False, True])
@pytest.mark.parametrize("axes", ["CYX", "ZCYX", "TZCYX", "CZYX", "TCYX"])
def test_an_axis_of_channels_is_channels_and_t_is_outside_of_z(tmp_path: Path, axes: str, imagej: bool) -> None:
    if imagej and axes == "CZYX":
        pytest.skip("ImageJ has channels inside of slices")
    sizes = {"T": 3, "Z": 2, "C": 4, "Y": 6, "X": 5}
    array = drawn(*(sizes[axis] for axis in axes))
    path = tmp_path / ("x.tif" if imagej else "x.ome.tif")
    tifffile.imwrite(path, array, photometric="minisblack", imagej=imagej, ome=not imagej, metadata={"axes": axes})
    header = read_header(path)
    frames = array.size // (4 * 6 * 5)
    assert (header.channels, header.frames, header.has_alpha) == (4, frames, False)
    order = [axes.index(axis) for axis in "TZYXC" if axis in axes]
    wanted = array.transpose(order).reshape(frames, 6, 5, 4)
    for number in range(frames):
        np.testing.assert_array_equal(read_image(path, frame=number).pixels, wanted[number])
    made = again(path)
    with tifffile.TiffFile(made) as result:
        assert (result.is_ome, result.is_imagej) == (not imagej, imagej)
        found = result.series[0]
        assert set(found.axes) == set(axes)
        moved = found.asarray().transpose([found.axes.index(axis) for axis in axes])
        np.testing.assert_array_equal(moved, array)


def test_channel_names_stay_if_their_number_does(tmp_path: Path) -> None:
    path, said = tmp_path / "x.ome.tif", {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(path, drawn(2, 6, 5), photometric="minisblack", metadata=said)
    assert "planes" in read_header(path).carries
    with tifffile.TiffFile(again(path)) as made:
        assert 'Name="DAPI"' in made.ome_metadata
    write_image(tmp_path / "y.tif", Image(drawn(6, 5, 1)), like=path)
    with tifffile.TiffFile(tmp_path / "y.tif") as made:
        assert "DAPI" not in made.ome_metadata


def test_slices_of_colour_are_slices_of_colour(tmp_path: Path) -> None:
    stack = drawn(4, 6, 5, 3, dtype="uint8")
    for name, options in (("x.tif", {"metadata": None}), ("y.ome.tif", {"metadata": {"axes": "ZYXS"}})):
        tifffile.imwrite(tmp_path / name, stack, photometric="rgb", **options)
        header = read_header(tmp_path / name)
        assert (header.frames, header.channels) == (4, 3)
        np.testing.assert_array_equal(read_image(tmp_path / name, frame=2).pixels, stack[2])
        np.testing.assert_array_equal(tifffile.imread(again(tmp_path / name)), stack)


def test_a_stack_of_imagej_under_one_page_has_all_its_slices(tmp_path: Path) -> None:
    stack = drawn(6, 7, 5)
    text = b"ImageJ=1.54f\nimages=6\nslices=6\n\0"
    tags = files.plain_tags(5, 7, 16) | {270: ("s", text), 279: ("I", [70])}
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [stack.astype("<u2").tobytes()])]))
    assert read_header(tmp_path / "x.tif").frames == 6
    for number in range(6):
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif", frame=number).pixels[:, :, 0], stack[number])
    tags[270] = ("s", text.replace(b"=6", b"=60"))
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [stack.astype("<u2").tobytes()])]))
    header = read_header(tmp_path / "x.tif")
    assert header.frames == 1
    assert "pages" in header.carries


def ome(planes: str, **sizes: int) -> bytes:
    said = {"SizeX": 5, "SizeY": 7, "SizeZ": 1, "SizeC": 1, "SizeT": 1} | sizes
    attributes = " ".join(f'{key}="{value}"' for key, value in said.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels DimensionOrder="XYZCT" {attributes}>{planes}</Pixels>'
        "</Image></OME>"
    ).encode() + b"\0"


def test_planes_of_ome_in_other_files_are_said_and_never_opened(tmp_path: Path) -> None:
    elsewhere = '<TiffData FirstZ="1" IFD="0"><UUID FileName="/etc/passwd">urn:uuid:2</UUID></TiffData>'
    here = '<TiffData FirstZ="0" IFD="0"><UUID FileName="x.tif">urn:uuid:1</UUID></TiffData>'
    tags = files.plain_tags(5, 7, 16) | {270: ("s", ome(here + elsewhere, SizeZ=2))}
    picture = drawn(7, 5)
    (tmp_path / "x.tif").write_bytes(files.tiff([(tags, [picture.astype("<u2").tobytes()])]))
    header = read_header(tmp_path / "x.tif")
    assert header.frames == 1
    assert "pages" in header.carries
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[:, :, 0], picture)


@pytest.mark.parametrize(
    "text",
    [
        b"<OME",
        b'<!DOCTYPE OME [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OME>&b;</OME>',
        ome('<TiffData IFD="7"/>'),
        ome("<TiffData/>", SizeZ=10**9, SizeT=10**9),
        ome("<TiffData/>", SizeX=6),
        ome('<TiffData IFD="-1"/>'),
        ome('<TiffData FirstZ="-1" IFD="0"/>'),
        ome('<TiffData IFD="x"/>'),
        ome(""),
        b"<OME><BinaryOnly MetadataFile='y.companion.ome' UUID='urn:uuid:3'/></OME>",
        b"ImageJ=\nimages=99999999999\n",
        b"ImageJ=\nimages=-1\nchannels=x\n",
        b'{"shape": [1e99, 3]}',
        b'{"shape": ' + b"[" * 100_000,
    ],
    ids=range(14),
)
def test_a_description_that_does_not_fit_is_passed_over(tmp_path: Path, text: bytes) -> None:
    tags = files.plain_tags(5, 7, 16) | {270: ("s", text + b"\0")}
    picture = drawn(7, 5)
    page = (tags, [picture.astype("<u2").tobytes()])
    (tmp_path / "x.tif").write_bytes(files.tiff([page, page]))
    assert read_header(tmp_path / "x.tif").frames == 2
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", frame=1).pixels[:, :, 0], picture)


def test_two_thousand_slices_cost_as_much_as_they_are(tmp_path: Path) -> None:
    stack = np.arange(2000, dtype=np.uint16)[:, None, None] + np.zeros((1, 8, 8), np.uint16)
    for options in ({"compression": "zstd"}, {"imagej": True, "metadata": {"axes": "TYX"}}):
        tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", **options)
        started = time.process_time()
        assert [int(read_image(tmp_path / "x.tif", frame=k).pixels[3, 3, 0]) for k in range(2000)] == list(range(2000))
        assert time.process_time() - started < 6


def test_more_pages_than_are_followed_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_pages, "MAX_PAGES", 10)
    tifffile.imwrite(tmp_path / "x.tif", drawn(11, 6, 5), photometric="minisblack", metadata=None)
    header = read_header(tmp_path / "x.tif")
    assert (header.frames, header.carries) == (1, {"pages"})


def test_a_stack_whose_last_pages_are_missing_is_cut_short(tmp_path: Path) -> None:
    page = (files.plain_tags(5, 7, 16), [drawn(7, 5).tobytes()])
    data = files.tiff([page] * 6)
    (tmp_path / "x.tif").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(ImageError, match="some of its pages lie beyond its end"):
        read_header(tmp_path / "x.tif")


def test_turned_pages_of_a_stack_are_upright(tmp_path: Path) -> None:
    stack = drawn(3, 6, 5, dtype="uint8")
    tifffile.imwrite(
        tmp_path / "x.tif", stack, photometric="minisblack", metadata=None, extratags=[(274, "H", 1, 6, False)]
    )
    for number in range(3):
        found = read_image(tmp_path / "x.tif", frame=number).pixels[:, :, 0]
        np.testing.assert_array_equal(found, np.rot90(stack[number], -1))


# ---- metadata of results ----

PLACE = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34736, "d", 1, (6378137.0,), True),
    (34737, "s", 0, "WGS 84 / UTM zone 11N|", True),
]


@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 1), ("uint8", 3), ("uint16", 1), ("uint16", 4), ("float32", 1)])
def test_a_place_on_the_map_and_the_size_of_a_pixel_are_kept(tmp_path: Path, dtype: str, bands: int) -> None:
    array = drawn(6, 5, bands, dtype=dtype)
    options: dict[str, Any] = {"photometric": "rgb" if bands == 3 else "minisblack", "metadata": None}
    options |= {"planarconfig": "contig"} if bands > 1 else {}
    secret = [(42112, "s", 0, '<GDALMetadata><Item name="DESCRIPTION" sample="0" role="description">x</Item>', True)]
    person = [(315, "s", 0, "Kim", True), (270, "s", 0, "by Kim", True)]
    tifffile.imwrite(
        tmp_path / "x.tif",
        array if bands > 1 else array[:, :, 0],
        extratags=PLACE + secret + person,
        resolution=(120.0, 60.0),
        resolutionunit="CENTIMETER",
        **options,
    )
    header = read_header(tmp_path / "x.tif")
    assert header.carries == {"georeference", "physical size", "band descriptions"}
    assert lost(header, ".tif") == {"band descriptions"}
    assert lost(header, ".png") == header.carries
    made = again(tmp_path / "x.tif")
    assert b"Kim" not in made.read_bytes()
    with tifffile.TiffFile(tmp_path / "x.tif") as before, tifffile.TiffFile(made) as after:
        for tag in (33550, 33922, 34735, 34736, 34737, 282, 283, 296):
            assert before.pages[0].tags[tag].value == after.pages[0].tags[tag].value
        assert 42112 not in after.pages[0].tags
        np.testing.assert_array_equal(before.asarray(), after.asarray())


def test_a_place_on_the_map_belongs_to_the_rows_as_they_are_stored(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        for dtype in ("uint8", "int16"):
            array = drawn(6, 5, dtype=dtype)
            turned = [(274, "H", 1, orientation, True)]
            tifffile.imwrite(
                tmp_path / "x.tif", array, photometric="minisblack", metadata=None, extratags=PLACE + turned
            )
            made = again(tmp_path / "x.tif")
            np.testing.assert_array_equal(tifffile.imread(made), array)
            np.testing.assert_array_equal(read_image(made).pixels, read_image(tmp_path / "x.tif").pixels)


def test_a_result_of_another_size_has_no_place_on_the_map(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", drawn(6, 5), photometric="minisblack", metadata=None, extratags=PLACE)
    write_image(tmp_path / "y.tif", Image(drawn(12, 10, 1)), like=tmp_path / "x.tif")
    assert read_header(tmp_path / "y.tif").carries == set()


def test_the_resolution_of_a_screen_is_no_size(tmp_path: Path) -> None:
    for dpi, said in ((72, False), (96, False), (600, True)):
        PIL.Image.new("L", (5, 6)).save(tmp_path / "x.tif", dpi=(dpi, dpi))
        assert ("physical size" in read_header(tmp_path / "x.tif").carries) == said


def test_slices_that_differ_are_not_one_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", drawn(2, 6, 5), photometric="minisblack", metadata=None)
    with pytest.raises(OutputError, match="must be of one size and type"):
        write_stack(tmp_path / "y.tif", [Image(drawn(6, 5, 1)), Image(drawn(6, 4, 1))], like=tmp_path / "x.tif")


def test_a_stack_of_another_domain_is_written_as_that(tmp_path: Path) -> None:
    for kind, options in STACKS.items():
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, drawn(3, 6, 5), photometric="minisblack", **options)
        for dtype, bands in (("uint8", 3), ("float32", 1), ("int16", 2)):
            slices = [Image(drawn(6, 5, bands, dtype=dtype, seed=k)) for k in range(3)]
            write_stack(tmp_path / "y.tif", slices, like=path)
            header = read_header(tmp_path / "y.tif")
            assert (header.frames, header.channels, header.dtype) == (3, bands, dtype)
            for number, image in enumerate(slices):
                found = read_image(tmp_path / "y.tif", frame=number)
                np.testing.assert_array_equal(found.pixels, image.pixels)


def test_more_than_4_gb_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_writing, "_BIG", 10)
    for kind, options in STACKS.items():
        stack = drawn(3, 6, 5)
        tifffile.imwrite(tmp_path / f"{kind}.tif", stack, photometric="minisblack", **options)
        made = again(tmp_path / f"{kind}.tif")
        assert made.read_bytes()[:4] == b"II+\0"
        np.testing.assert_array_equal(tifffile.imread(made), stack)
        assert count_slices(made) == 3


def test_microns_of_imagej_come_back(tmp_path: Path) -> None:
    said = {"axes": "ZYX", "unit": "\\u00B5m", "spacing": 2.0}
    tifffile.imwrite(tmp_path / "x.tif", drawn(3, 6, 5), imagej=True, metadata=said, resolution=(3.0, 3.0))
    with tifffile.TiffFile(tmp_path / "x.tif") as before, tifffile.TiffFile(again(tmp_path / "x.tif")) as after:
        assert before.imagej_metadata["unit"] == after.imagej_metadata["unit"]
        assert before.pages[0].tags[282].value == after.pages[0].tags[282].value
        assert before.pages[0].tags[296].value == after.pages[0].tags[296].value


def test_plain_files_and_their_stacks_need_no_optional_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    stack = drawn(3, 6, 5, dtype="uint8")
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", compression="zlib", metadata=None)
    tifffile.imwrite(tmp_path / "y.tif", stack[0], metadata=None, resolution=(300.0, 300.0), extratags=PLACE)
    odd = drawn(5, 7, 1, most=4095)
    (tmp_path / "z.tif").write_bytes(files.tiff([(files.plain_tags(7, 5, 12), [files.packed(odd, 12)])]))
    for module in ("tifffile", "imagecodecs"):
        monkeypatch.setitem(sys.modules, module, None)
    for number in range(3):
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif", frame=number).pixels[:, :, 0], stack[number])
    made = again(tmp_path / "y.tif")
    assert read_header(made).carries == {"georeference", "physical size"}
    np.testing.assert_array_equal(read_image(made).pixels[:, :, 0], stack[0])
    np.testing.assert_array_equal(read_image(tmp_path / "z.tif").pixels, odd)


def test_the_time_between_frames_of_imagej_is_kept(tmp_path: Path) -> None:
    said = {"axes": "TYX", "finterval": 0.25}
    tifffile.imwrite(tmp_path / "x.tif", drawn(3, 6, 5), imagej=True, metadata=said)
    slices = [read_image(tmp_path / "x.tif", frame=frame) for frame in range(3)]
    write_stack(tmp_path / "y.tif", slices, like=tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "y.tif") as made:
        assert made.imagej_metadata is not None
        assert (made.imagej_metadata["finterval"], made.imagej_metadata["frames"]) == (0.25, 3)
