"""Lost metadata and passed over files are reported, once for each kind."""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image
import pytest

from test_translate import Negative, model_info, networks
from unpaired import cli
from unpaired.data.beside import remarks
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.noise import class_names
from unpaired.data.sources import FolderSource
from unpaired.doctor.checkup import check_data
from unpaired.errors import DataError, ImageError
from unpaired.evaluation.test_set import open_test_set
from unpaired.images import Carried, ImageHeader, lost, read_header, read_image
from unpaired.images.carried import WORDS, lost_from
from unpaired.images.files import header_of
from unpaired.images.foreign import foreign_by_name, passed_over
from unpaired.images.kinds import kind_of
from unpaired.images.registered import Known
from unpaired.storage import is_junk_folder, left_out
from unpaired.translate import Translator, plan_outputs, translate_files, write_model
from unpaired.translate.lost_metadata import LostMetadata

SMALL = DataConfig(load_size=36, crop_size=32)
RNG = np.random.default_rng(0)


def picture(side: int = 40) -> PIL.Image.Image:
    return PIL.Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8))


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(folder / name)
    return folder


def animated(path: Path) -> Path:
    picture().save(path, save_all=True, append_images=[picture()])
    return path


def negative() -> Translator:
    return Translator(model_info(), {"AtoB": Negative(), "BtoA": Negative()})


def header(format: str, *carries: Carried) -> ImageHeader:
    return ImageHeader(4, 4, "L", 1, False, 8, format, carries=frozenset(carries))


# ---- metadata of files ----


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp"])
def test_frames_of_an_animation_are_in_its_header_and_a_still_has_none(suffix: str, tmp_path: Path) -> None:
    assert read_header(animated(tmp_path / f"moves{suffix}")).carries == {"frames"}
    picture().save(tmp_path / f"still{suffix}")
    assert read_header(tmp_path / f"still{suffix}").carries == frozenset()
    assert lost_from(tmp_path / f"moves{suffix}", suffix) == {"frames"}
    assert lost_from(tmp_path / f"still{suffix}", suffix) == frozenset()


def test_the_pictures_behind_the_first_of_a_stereo_photograph_are_pages(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.mpo", save_all=True, append_images=[picture()])
    assert read_header(tmp_path / "x.mpo").carries == {"pages"}
    assert lost_from(tmp_path / "x.mpo", ".jpg") == {"pages"}


def test_an_animation_by_another_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    animated(tmp_path / "x.gif").rename(tmp_path / "x.png")
    assert lost_from(tmp_path / "x.png", ".png") == {"frames"}


def test_what_cannot_be_read_carries_nothing_and_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.gif")
    for name in ("x.png", "pipe.gif", "missing.tif"):
        assert lost_from(tmp_path / name, ".png") == frozenset()


def test_formats_that_carry_nothing_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    for suffix in (".jpg", ".JPEG", ".bmp", ".ppm"):
        assert lost_from(tmp_path / f"x{suffix}", ".png") == frozenset()


# ---- translating ----


def test_every_kind_that_results_lack_is_told_once_with_its_count_and_the_first_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(tmp_path / "in", "0.tif", "1.tif", "2.tif", "3.png")
    found = {"1.tif": header("TIFF", "georeference", "pages"), "2.tif": header("TIFF", "georeference")}
    monkeypatch.setattr("unpaired.images.carried.read_header", lambda path: found.get(Path(path).name, header("TIFF")))
    lost = LostMetadata()
    translate_files(negative(), plan_outputs([str(folder)], tmp_path / "same").jobs, lost=lost)
    first = folder / "1.tif"
    assert lost.sentences() == [
        f"1 of 4 results does not carry the further pages of its input ({first}); the picture alone is translated."
    ]
    lost = LostMetadata()
    translate_files(negative(), plan_outputs([str(folder)], tmp_path / "png", format="png").jobs, lost=lost)
    assert lost.sentences()[1:] == [
        f"2 of 4 results do not carry the georeference of their inputs (first: {first}); without --format it is kept."
    ]


def test_a_result_that_failed_is_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    animated(folder / "a.gif")
    (folder / "b.gif").write_bytes((folder / "a.gif").read_bytes()[:200])
    lost = LostMetadata()
    assert len(translate_files(negative(), plan_outputs([str(folder)], tmp_path / "out").jobs, lost=lost)) == 1
    assert [sentence.split(" of its")[0] for sentence in lost.sentences()] == [
        "1 of 1 result does not carry the further frames"
    ]


def test_callers_from_python_are_warned_by_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    animated(tmp_path / "in" / "a.gif")
    with caplog.at_level(logging.WARNING, logger="unpaired"):
        translate_files(negative(), plan_outputs([str(tmp_path / "in")], tmp_path / "out").jobs)
    assert [record.getMessage().split(" of its")[0] for record in caplog.records] == [
        "1 of 1 result does not carry the further frames"
    ]


def test_what_several_processes_counted_adds_up_in_their_order() -> None:
    one = LostMetadata(3, {"frames": (1, "b.gif"), "georeference": (2, "a.tif")}, {"georeference"})
    other = LostMetadata(2, {"georeference": (1, "c.tif")})
    merged = LostMetadata.merged([one.to_message(), other.to_message()])
    assert merged == LostMetadata(5, {"frames": (1, "b.gif"), "georeference": (3, "a.tif")}, {"georeference"})
    assert [sentence[:6] for sentence in merged.sentences()] == ["1 of 5", "3 of 5"]


def test_the_command_says_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = model_info()
    write_model(tmp_path / "model", info, networks(info))
    folder = pictures(tmp_path / "in", "a.png", "@eaDir/a.png")
    animated(folder / "b.gif")
    (folder / "clip.mp4").write_bytes(b"film")
    command = ["translate", str(tmp_path / "model"), str(folder), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        cli.main([*command, "--device", "cpu"])
    assert left.value.code == 0
    assert [line for line in capsys.readouterr().out.splitlines() if " -> " not in line][:4] == [
        "Passed over 1 file that is not read as images: clip.mp4 (a video).",
        "Videos are not read; extract the frames as PNG first, e.g. with ffmpeg.",
        f"Left out 1 hidden or system folder: {folder / '@eaDir'}.",
        f"1 of 2 results does not carry the further frames of its input ({folder / 'b.gif'}); only the first frame is "
        "translated.",
    ]


def test_every_kind_has_words_and_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, kind in enumerate(WORDS):
        picture().save(tmp_path / f"{number}.png")
        assert lost(header("PNG", kind), ".png") == {kind}

    def read(path: Path, file: BinaryIO, known: Known) -> ImageHeader:
        return replace(header_of(path, file, known), carries=frozenset({list(WORDS)[int(path.stem)]}))

    monkeypatch.setattr("unpaired.scanning.inspection.header_of", read)
    findings = {
        finding.fault.code: [item.paths[0].stem for item in finding.items]
        for finding in check_data(replace(SMALL, root=str(tmp_path))).findings
        if finding.fault.severity == "note"
    }
    codes = [re.sub(r"\W", "_", kind) for kind in WORDS]
    assert findings == {code: [str(number)] for number, code in enumerate(codes)}


# ---- training ----


def test_training_names_what_it_does_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path, "0.tif", "1.tif", "2.tif")
    found = {"1.tif": header("TIFF", "georeference", "pages"), "2.tif": header("TIFF", "pages", "pyramid")}
    monkeypatch.setattr("unpaired.images.carried.read_header", lambda path: found.get(Path(path).name, header("TIFF")))
    assert remarks([FolderSource(folder), None]) == [
        "2 of 3 files hold further pages, such as thumbnails and masks, beside the picture that is trained on "
        f"(first: {folder / '1.tif'}).",
        f"1 of 3 files holds smaller copies of the image, of which the largest is trained on ({folder / '2.tif'}).",
    ]


def test_training_says_what_it_passes_over_and_leaves_out(tmp_path: Path) -> None:
    for domain in "AB":
        pictures(tmp_path / f"train{domain}", "0.png", "1.png")
    a = pictures(tmp_path / "trainA", "@eaDir/0.png")
    for name in ("clip.mp4", "a.md", "b.mov", "slide.svs", "x.npy", "z.csv"):
        (a / name).write_bytes(b"content")
    notes = open_domains(replace(SMALL, root=str(tmp_path))).check(replace(SMALL, root=str(tmp_path)))
    assert notes[:5] == [
        f"Passed over 6 files in {a} that are not read as images: a.md (text), b.mov (a video), clip.mp4 (a video), "
        "slide.svs (a whole-slide image), x.npy (a file of arrays) and 1 more.",
        "Videos are not read; extract the frames as PNG first, e.g. with ffmpeg.",
        "Whole-slide images are not read; export the regions as TIFF first, e.g. with QuPath.",
        "Files of arrays are not read; save each image as TIFF, e.g. with tifffile.",
        f"Left out 1 hidden or system folder: {a / '@eaDir'}.",
    ]


def test_links_that_are_not_followed_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "0.png")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "linked").symlink_to(pictures(tmp_path / "more", "1.png"), target_is_directory=True)
    assert remarks([FolderSource(folder)])[0].endswith(
        ": gone.png (a link that leads nowhere), linked (a link to a folder)."
    )


# ---- junk folders ----

JUNK = ["@eaDir", "__MACOSX", "$RECYCLE.BIN", "$Recycle.Bin", ".Trash-1000", ".cache", "System Volume Information"]


@pytest.mark.parametrize("name", JUNK)
def test_junk_folders_are_left_out_by_every_walk_and_said(name: str, tmp_path: Path) -> None:
    assert is_junk_folder(name)
    for folder in ("trainA", "trainB", "testA", "testB"):
        pictures(tmp_path / folder, "0.png", f"deep/{name}/1.png")
    source = FolderSource(tmp_path / "trainA")
    assert [path.name for path in source.paths] == ["0.png"]
    assert remarks([source]) == left_out([tmp_path / "trainA" / "deep" / name])
    plan = plan_outputs([str(tmp_path / "trainA")], tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["0.png"]
    assert plan.left_out == (tmp_path / "trainA" / "deep" / name,)
    globbed = plan_outputs([str(tmp_path / "trainA" / "**" / "*.png")], tmp_path / "out")
    assert [job.source.name for job in globbed.jobs] == ["0.png"]
    assert len(open_test_set(tmp_path).a) == 1
    checkup = check_data(replace(SMALL, root=str(tmp_path)))
    assert [scan.facts()["images"] for scan in checkup.scans] == [1, 1, 1, 1]
    junk = [item.paths[0] for one in checkup.findings if one.fault.code == "junk_folder" for item in one.items]
    assert junk == [tmp_path / folder / "deep" / name for folder in ("trainA", "trainB", "testA", "testB")]


def test_junk_folders_are_no_classes(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.png", ".thumbnails/0.png", "__MACOSX/cat/0.png")
    assert class_names(FolderSource(tmp_path)) == ("cat", "dog")


def test_a_junk_folder_that_is_given_is_read(tmp_path: Path) -> None:
    for folder in (tmp_path / ".cache", tmp_path / ".cache" / "photos"):
        pictures(folder, "0.png")
        assert len(FolderSource(folder)) == 1 + (folder.name == ".cache" and (folder / "photos").is_dir())
        assert plan_outputs([str(folder)], tmp_path / "out").left_out == ()
        assert plan_outputs([str(folder / "*.png")], tmp_path / "out").left_out == ()


def test_notes_of_macos_beside_images_are_passed_over_by_training_as_by_translating(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "0.png")
    (folder / "._0.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    assert [path.name for path in FolderSource(folder).paths] == ["0.png"]
    plan = plan_outputs([str(folder)], tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["0.png"]
    reported = "1 file in {} that is not read as images: ._0.png (notes of macOS)."
    assert remarks([FolderSource(folder)]) == ["Passed over " + reported.format(folder)]
    assert passed_over(plan.passed_over, folder) == ["Passed over " + reported.format(folder)]


# ---- files of other kinds ----


def packed() -> bytes:
    return gzip.compress(b"x" * 1000)


def jpeg() -> bytes:
    made = io.BytesIO()
    picture().save(made, "JPEG")
    return made.getvalue()


CONTENT: dict[str, tuple[bytes, str]] = {
    "heic.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "a HEIF image"),
    "avif.png": (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif" + bytes(99), "an AVIF image"),
    "brand.jpg": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(99), "an AVIF image"),
    "jxl.jpg": (b"\xff\x0a" + bytes(99), "a JPEG XL image"),
    "jp2.tif": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "a JPEG 2000 image"),
    "layers.png": (b"8BPS" + bytes(99), "a layered drawing"),
    "light.tif": (b"\x76\x2f\x31\x01" + bytes(99), "an OpenEXR image"),
    "page.png": (b"<!DOCTYPE html><html>404", "a web page"),
    "error.jpg": (b'{"error": 404}', "JSON"),
    "packed.tif": (packed(), "an archive"),
    "zip.png": (b"PK\3\4" + bytes(99), "an archive"),
    "film.png": (b"\0\0\0\x20ftypisom" + bytes(99), "a video"),
    "film.gif": (b"\x1a\x45\xdf\xa3" + bytes(99), "a video"),
    "film.jpg": (b"\0\0\0\x08wide\0\0\0\0mdat" + bytes(99), "a video"),
    "film.webp": (b"RIFF\0\0\0\0AVI LIST" + bytes(99), "a video"),
    "array.png": (b"\x93NUMPY\1\0" + bytes(99), "a file of arrays"),
    "text.png": (b"hello\nworld\n", "text"),
    "text.dcm": (b"no picture\n" * 50, "text"),
    "scan.dcm": (jpeg(), "a JPEG image by another name"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_sound_file_of_another_kind_is_called_what_it_is_and_never_damaged(name: str, tmp_path: Path) -> None:
    content, what = CONTENT[name]
    (tmp_path / name).write_bytes(content)
    for read in (read_header, read_image):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name} is {what}")
        assert "damaged" not in str(caught.value)
        assert str(caught.value).count(";") == 1


def raw_thumbnail(path: Path) -> None:
    picture().save(path, "TIFF")


@pytest.mark.parametrize("name", ["photo.nef", "photo.dng", "slide.mrxs", "slide.scn", "cells.vsi"])
def test_the_small_copy_that_stands_in_for_a_picture_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    raw_thumbnail(tmp_path / name)
    with pytest.raises(ImageError, match="no image of a known format"):
        read_image(tmp_path / name)


def test_what_content_does_not_say_the_name_does(tmp_path: Path) -> None:
    for name, what in (("x.mp4", "a video"), ("x.mat", "a file of arrays"), ("x.czi", "a microscope file")):
        (tmp_path / name).write_bytes(bytes(range(128, 256)))
        with pytest.raises(ImageError, match=f"is {what}, no image of a known format; "):
            read_image(tmp_path / name)


def test_an_image_by_the_name_of_another_kind_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(jpeg())
    assert read_image(tmp_path / "x.heic").pixels.shape == (40, 40, 3)


def test_a_file_given_to_translate_that_is_no_image_fails_alone_with_one_sentence(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    jobs = plan_outputs([str(tmp_path / "clip.mp4"), str(tmp_path / "a.png")], tmp_path / "out").jobs
    (failure,) = translate_files(negative(), jobs)
    assert str(failure.error) == (
        f"{tmp_path / 'clip.mp4'} is a video, no image of a known format; extract the frames as PNG first, e.g. with "
        "ffmpeg."
    )
    assert (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("open_folder", [FolderSource, lambda folder: plan_outputs([str(folder)], folder / "out")])
def test_a_folder_of_other_files_alone_is_called_what_it_holds(
    open_folder: Callable[[Path], object], tmp_path: Path
) -> None:
    for name in ("b.mp4", "a.md", "c.mov"):
        (tmp_path / name).write_bytes(b"content")
    with pytest.raises(DataError, match=r"it holds 2 videos \(first: b\.mp4\): extract the frames as PNG first"):
        open_folder(tmp_path)


def test_a_glob_of_other_files_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "notes.md").write_text("words")
    plan = plan_outputs([str(tmp_path / "*")], tmp_path / "out")
    assert plan.passed_over == (tmp_path / "notes.md",)


def test_files_without_a_telling_suffix_are_named_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "IM001").write_bytes(bytes(128) + b"DICM" + bytes(50))
    (tmp_path / "LICENSE").write_text("free")
    picture().save(tmp_path / "raster.dat", "PNG")
    picture().save(tmp_path / ".hidden.png")
    (tmp_path / "unknown").write_bytes(bytes(range(128, 256)))
    sentences = passed_over(sorted(tmp_path.iterdir()), tmp_path)
    assert sentences[0].endswith(
        ": .hidden.png (a hidden file), IM001 (a DICOM file by another name), LICENSE (text), raster.dat (a PNG image "
        "by another name), unknown."
    )
    assert "PNG images by other names are not read; give them the suffix .png." in sentences


def test_few_files_are_opened_to_say_what_was_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counted(path: Path) -> None:
        opened.append(path.name)

    monkeypatch.setattr("unpaired.images.foreign.what_is", counted)
    passed_over([tmp_path / f"{number}.json" for number in range(5000)] + [tmp_path / str(n) for n in range(5000)])
    assert len(opened) == 64


def test_names_on_the_list_are_in_lower_case_and_no_suffix_that_is_read() -> None:
    for suffix in (".mp4", ".svs", ".heic", ".exr", ".npy", ".zip", ".nef", ".psd", ".tfw"):
        assert foreign_by_name(f"X{suffix.upper()}") is foreign_by_name(f"x{suffix}") is not None
    for suffix in (".png", ".jpg", ".tif", ".dcm", ".nii", ".nii.gz"):
        assert foreign_by_name(f"x{suffix}") is None


def test_photographs_are_of_no_foreign_kind() -> None:
    assert kind_of(jpeg()[:512]) == "JPEG"


def test_a_sound_kind_that_the_reader_lacks_is_not_called_damaged(tmp_path: Path) -> None:
    picture = io.BytesIO()
    PIL.Image.new("P", (8, 8)).save(picture, format="BMP")
    two_bits = bytearray(picture.getvalue())
    two_bits[28:30] = (2).to_bytes(2, "little")  # a depth that the format has and Pillow does not
    (tmp_path / "x.bmp").write_bytes(two_bits)
    with pytest.raises(ImageError, match=r"x\.bmp is of a kind that is not read \(Unsupported BMP.*convert it to PNG"):
        read_image(tmp_path / "x.bmp")


def test_a_slide_is_called_one_by_its_name_though_its_pages_could_be_decoded(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "x.tif")
    (tmp_path / "x.tif").rename(tmp_path / "x.svs")
    with pytest.raises(ImageError, match=r"x\.svs is a whole-slide image.*export the regions"):
        read_image(tmp_path / "x.svs")
