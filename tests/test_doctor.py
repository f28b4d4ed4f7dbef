"""The data doctor: every planted fault is found, sound files are not reported, and reports include the fix."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import forked
from test_values import write_dicom, write_nifti
from unpaired import cli
from unpaired.config import override, to_yaml
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.doctor.checkup import Checkup, check_data
from unpaired.doctor.comparing import descriptions, look_alikes
from unpaired.doctor.findings import FAULTS
from unpaired.doctor.folders import find_places
from unpaired.doctor.sheet import MOST_THUMBNAILS, write_sheet
from unpaired.errors import DataError
from unpaired.images import Image
from unpaired.images.headers import has_more_frames, orientation_in
from unpaired.images.kinds import kind_of
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.scanning.inspection import inspect_file
from unpaired.scanning.thumbnails import thumbnail
from unpaired.scenes.scene import draw_scene, scene_seeds

ROOT = Path(__file__).parents[1]
SMALL = DataConfig(load_size=36, crop_size=32)
SCENES = [draw_scene(seed, "summer", 48) for seed in scene_seeds("trainA", 30, seed=5)]


def picture(number: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(SCENES[number])


def folder_of(path: Path, numbers: range, suffix: str = ".png") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        picture(number).save(path / f"{number:02d}{suffix}")
    return path


def found(checkup: Checkup, code: str) -> list[tuple[str, ...]]:
    """The names of the files of a finding, item by item."""
    items = [item for finding in checkup.findings if finding.fault.code == code for item in finding.items]
    return [tuple(path.name for path in item.paths) for item in items]


def check(root: Path, **settings: object) -> Checkup:
    pairing = str(settings.pop("pairing", ""))
    return check_data(replace(SMALL, root=str(root), **settings), pairing=pairing)


def cmyk(path: Path) -> None:
    picture(1).convert("CMYK").save(path)


def palette(path: Path) -> None:
    picture(1).quantize(16).save(path)


def transparent(path: Path) -> None:
    made = picture(1).convert("RGBA")
    made.putalpha(PIL.Image.linear_gradient("L").resize(made.size))
    made.save(path)


def deep(path: Path) -> None:
    levels = SCENES[1][:, :, 0].astype(np.uint16) * 16
    PIL.Image.fromarray(levels).save(path)


def animation(path: Path) -> None:
    picture(1).save(path, save_all=True, append_images=[picture(2)])


def turned(path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture(1).save(path, exif=exif)


def bomb(path: Path) -> None:
    chunk = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + b"IHDR" + chunk + struct.pack(">I", zlib.crc32(b"IHDR" + chunk))
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + end)


def truncated(path: Path) -> None:
    picture(1).save(path)
    path.write_bytes(path.read_bytes()[:-200])


def saved_as(fmt: str) -> Callable[[Path], None]:
    return lambda path: picture(1).save(path, format=fmt)


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


PLANTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "lfs_pointer": ("a.jpg", written(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")),
    "empty": ("b.png", written(b"")),
    "not_an_image": ("c.jpg", written(b"<!DOCTYPE html><html>404</html>")),
    "damaged": ("d.png", truncated),
    "too_large": ("e.png", bomb),
    "unsupported": ("f.tif", lambda path: PIL.Image.new("LAB", (40, 40)).save(path)),
    "junk_image": ("._g.jpg", written(b"\0\5\x16\7\0\2\0\0Mac OS X")),
    "flat": ("h.png", lambda path: PIL.Image.new("RGB", (40, 40), (90, 20, 7)).save(path)),
    "enlarged": ("i.png", lambda path: picture(1).resize((30, 40)).save(path)),
    "thin": ("j.png", lambda path: picture(1).resize((300, 40)).save(path)),
    "grey": ("k.jpg", lambda path: picture(1).convert("L").save(path)),
    "passed_over": ("l.avif", written(b"\0\0\0\x20ftypavif\0\0\0\0")),
    "cmyk": ("m.jpg", cmyk),
    "mislabelled": ("n.jpg", saved_as("PNG")),
    "turned": ("o.jpg", turned),
    "frames": ("p.gif", animation),
    "transparent": ("q.png", transparent),
    "palette": ("r.png", palette),
    "one_bit": ("s.png", lambda path: picture(1).convert("1").save(path)),
    "deep": ("t.png", deep),
    "large": ("u.png", lambda path: picture(1).resize((300, 300)).save(path)),
    "junk": (".DS_Store", written(b"\0\0\0\1Bud1")),
    "other": ("w.txt", written(b"notes")),
}
SOUND = {"few_images"}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_found_and_names_its_file_alone(code: str, tmp_path: Path) -> None:
    name, write = PLANTED[code]
    folder_of(tmp_path, range(10, 14))
    assert {finding.fault.code for finding in check(tmp_path).findings} == SOUND
    write(tmp_path / name)
    checkup = check(tmp_path)
    assert found(checkup, code) == [(name,)]
    stops = any(finding.fault.severity == "error" for finding in checkup.findings)
    assert stops == (FAULTS[code].severity == "error")


@pytest.mark.parametrize("code", PLANTED)
def test_what_is_called_an_error_is_what_training_refuses(code: str, tmp_path: Path) -> None:
    name, write = PLANTED[code]
    for domain in ("trainA", "trainB"):
        folder_of(tmp_path / domain, range(10, 13))
    write(tmp_path / "trainA" / name)
    config = replace(SMALL, root=str(tmp_path))
    if FAULTS[code].severity == "error":
        with pytest.raises(DataError, match=re.escape(name)):
            open_domains(config).check(config)
    else:
        assert all(isinstance(note, str) for note in open_domains(config).check(config))


def test_links_and_pipes_are_told_of_and_not_waited_for(tmp_path: Path) -> None:
    folder_of(tmp_path, range(4))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "linked").symlink_to(tmp_path.parent, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert sorted(found(check(tmp_path), "not_a_file")) == [("gone.png",), ("linked",), ("pipe.png",)]


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_of(tmp_path, range(1)) / "00.png"

    def refuse(self: Path, *rest: object, **more: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    seen = inspect_file(path)
    assert (seen.fault, seen.reason) == ("unreadable", "Permission denied")


def test_names_with_escapes_and_broken_encodings_reach_no_terminal_and_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(tmp_path / "data", range(2))
    for name in (b"\x1b[31m<b>&.png", b"\xff\xfe.png", b"new\nline.png"):
        (Path(os.fsdecode(os.fsencode(tmp_path / "data") + b"/" + name))).write_bytes(b"")
    page = tmp_path / "page.html"
    code, printed, _ = run(capsys, "data", "check", str(tmp_path / "data"), "--html", str(page))
    assert code == 65
    assert "\x1b[31m<" not in printed
    assert "<b>&" not in page.read_text(encoding="utf-8")
    code, printed, _ = run(capsys, "data", "check", str(tmp_path / "data"), "--json")
    files = [file for finding in json.loads(printed)["findings"] for item in finding["items"] for file in item["files"]]
    assert any(file.endswith("new\nline.png") for file in files)


# ---- metadata without decoding ----


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_read_from_every_format(fmt: str, orientation: int, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture(0).save(tmp_path / "x", format=fmt, exif=exif)
    with (tmp_path / "x").open("rb") as file:
        assert orientation_in(file, fmt) == orientation


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "GIF", "TIFF"])
def test_further_frames_are_seen_in_every_format(fmt: str, tmp_path: Path) -> None:
    for count in (1, 3):
        others = [picture(number) for number in range(1, count)]
        picture(0).save(tmp_path / "x", format=fmt, save_all=True, append_images=others)
        with (tmp_path / "x").open("rb") as file:
            assert has_more_frames(file, fmt) == (count > 1)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_headers_cut_anywhere_and_changed_anywhere_raise_nothing(fmt: str, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture(0).resize((16, 16)).save(tmp_path / "x", format=fmt, exif=exif)
    whole = (tmp_path / "x").read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(120):
        broken = bytearray(whole[: draw.integers(len(whole) + 1)])
        for place in draw.integers(len(broken), size=3) if broken else ():
            broken[place] = draw.integers(256)
        (tmp_path / "y").write_bytes(broken)
        with (tmp_path / "y").open("rb") as file:
            assert has_more_frames(file, fmt) in (False, True)
            assert 1 <= orientation_in(file, fmt) <= 8
        assert isinstance(kind_of(bytes(broken[:512])), str)


# ---- the same picture twice ----


def reencoded(image: PIL.Image.Image, path: Path, how: str) -> None:
    large = image.resize((192, 192), PIL.Image.Resampling.BICUBIC)
    changes: dict[str, Callable[[], None]] = {
        "jpeg": lambda: large.save(path.with_suffix(".jpg"), quality=60),
        "webp": lambda: large.save(path.with_suffix(".webp"), quality=60),
        "half": lambda: large.resize((96, 96), PIL.Image.Resampling.LANCZOS).save(path.with_suffix(".png")),
        "mirror": lambda: large.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(path.with_suffix(".png")),
        "bmp": lambda: large.save(path.with_suffix(".bmp")),
    }
    changes[how]()


def test_copies_are_found_however_they_were_encoded_and_nothing_else(tmp_path: Path) -> None:
    train_a, test_a, train_b = (tmp_path / name for name in ("trainA", "testA", "trainB"))
    for folder in (train_a, test_a, train_b, tmp_path / "testB"):
        folder.mkdir()
    large = [picture(number).resize((192, 192), PIL.Image.Resampling.BICUBIC) for number in range(30)]
    for number, image in enumerate(large):
        image.save((train_a if number < 15 else train_b) / f"{number:02d}.png")
    for number, how in enumerate(("jpeg", "webp", "half", "mirror", "bmp")):
        reencoded(picture(number), test_a / f"leak{number}", how)
    shutil.copy(train_a / "06.png", train_a / "copy6.png")
    reencoded(picture(7), train_a / "copy7", "jpeg")
    reencoded(picture(8), train_a / "copy8", "mirror")
    reencoded(picture(9), train_b / "both9", "jpeg")
    large[29].rotate(90).save(tmp_path / "testB" / "sound.png")
    checkup = check(tmp_path)
    assert found(checkup, "leak") == [
        ("00.png", "leak0.jpg"),
        ("01.png", "leak1.webp"),
        ("02.png", "leak2.png"),
        ("03.png", "leak3.png"),
        ("04.png", "leak4.bmp"),
    ]
    details = [item.detail for finding in checkup.findings if finding.fault.code == "leak" for item in finding.items]
    assert details == ["looks the same", "looks the same", "looks the same", "mirrored", "same pixels"]
    assert found(checkup, "duplicate") == [("06.png", "copy6.png"), ("07.png", "copy7.jpg")]
    assert found(checkup, "mirrored") == [("08.png", "copy8.png")]
    assert found(checkup, "both_domains") == [("09.png", "both9.jpg")]


def test_a_local_change_makes_another_picture() -> None:
    whole = np.asarray(picture(3).resize((192, 192), PIL.Image.Resampling.BICUBIC))
    changed = whole.copy()
    changed[80:110, 80:110] = 255 - changed[80:110, 80:110]
    thumbs = np.stack([thumbnail(Image(np.array(one))) for one in (whole, changed)])
    assert list(look_alikes(thumbs)) == []
    assert list(look_alikes(np.stack([thumbs[0], thumbs[0] + (thumbs[0] < 250)]))) == [(0, 1, False)]


def test_blocks_of_the_comparison_miss_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    thumbs = draw.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    thumbs[50:] = thumbs[:10]
    monkeypatch.setattr("unpaired.doctor.comparing._BLOCK", 7)
    assert sorted(look_alikes(thumbs)) == [(number, number + 50, False) for number in range(10)]


def test_a_mirrored_picture_has_the_description_with_odd_frequencies_negated() -> None:
    thumbs = np.stack([thumbnail(Image(scene)) for scene in SCENES[:4]])
    plain, _ = descriptions(thumbs)
    mirrored, _ = descriptions(np.ascontiguousarray(thumbs[:, :, ::-1]))
    sign = np.tile((-1.0) ** np.arange(8), 8)
    np.testing.assert_allclose(mirrored, plain * sign, atol=1e-4)


def test_images_of_one_colour_are_not_copies_of_one_another(tmp_path: Path) -> None:
    for number in range(3):
        PIL.Image.new("RGB", (40, 40 + number), "white").save(tmp_path / f"{number}.png")
    checkup = check(tmp_path)
    assert len(found(checkup, "flat")) == 3
    assert not found(checkup, "duplicate")


# ---- folders and domains ----


def layout(tmp_path: Path, *names: str) -> Path:
    for name in names:
        folder_of(tmp_path / name, range(1))
    return tmp_path


@pytest.mark.parametrize(
    ("names", "pairing", "places"),
    [
        (["trainA", "trainB", "testA", "testB"], "", ["trainA", "trainB", "testA", "testB"]),
        (["trainA"], "", ["trainA", "trainB"]),
        (["train/A", "train/B", "val/A", "val/B"], "", ["train/A", "train/B", "val/A", "val/B"]),
        (["A/train", "B/train", "A/test", "B/test"], "", ["A/train", "B/train", "A/test", "B/test"]),
        (["A", "B"], "", ["A", "B"]),
        (["train", "test"], "", ["train", "test"]),
        (["train", "trainA", "trainB"], "", ["trainA", "trainB"]),
        (["train", "trainA", "trainB"], "paired", ["train"]),
        (["trainA", "trainB"], "noise", ["trainB"]),
        (["cat", "dog"], "", ["it"]),
    ],
)
def test_layouts_are_those_that_training_takes(
    names: list[str], pairing: str, places: list[str], tmp_path: Path
) -> None:
    root = layout(tmp_path / "it", *names)
    assert [place.name for place in find_places(str(root), "", "", pairing)] == places


def test_a_missing_or_empty_domain_is_an_error(tmp_path: Path) -> None:
    root = layout(tmp_path, "trainA")
    assert check(root).count("error") == 1
    (root / "trainB").mkdir()
    assert [finding.place for finding in check(root).findings if finding.fault.code == "layout"] == ["trainB"]


def test_two_folders_are_taken_and_one_alone_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "x", "y")
    config = replace(SMALL, a=str(tmp_path / "x"), b=str(tmp_path / "y"))
    assert [scan.place.domain for scan in check_data(config).scans] == ["A", "B"]
    with pytest.raises(DataError, match="--a is given alone"):
        check_data(replace(SMALL, a=str(tmp_path / "x")))
    with pytest.raises(DataError, match="is not a folder"):
        check_data(replace(SMALL, root=str(tmp_path / "nowhere")))


def test_domains_that_differ_in_number_size_format_and_colour_are_told_of(tmp_path: Path) -> None:
    folder_of(tmp_path / "trainA", range(20), ".jpg")
    folder = tmp_path / "trainB"
    folder.mkdir()
    for number in range(20, 24):
        picture(number).resize((100, 100)).convert("L").save(folder / f"{number}.png")
    codes = {finding.fault.code for finding in check(tmp_path).findings}
    assert codes == {"few_images", "unequal_counts", "unequal_sizes", "unequal_formats", "unequal_colour"}


def test_the_minority_of_a_mixed_domain_is_named(tmp_path: Path) -> None:
    for number in range(6):
        picture(number).convert("RGB" if number == 2 else "L").save(tmp_path / f"{number}.png")
    assert found(check(tmp_path), "grey") == [("2.png",)]


@pytest.mark.parametrize("suffix", [".dcm", ".nii.gz"])
def test_a_medical_image_among_pictures_is_named_and_a_folder_of_them_is_none(tmp_path: Path, suffix: str) -> None:
    write = write_dicom if suffix == ".dcm" else write_nifti
    for number in range(2):
        write(tmp_path / f"scan{number}{suffix}", np.random.default_rng(number).integers(0, 4096, (40, 40), np.uint16))
    assert found(check(tmp_path), "medical") == []
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    assert sorted(found(check(tmp_path), "medical")) == [(f"scan{number}{suffix}",) for number in range(2)]


def test_names_that_clash_elsewhere_are_told_of(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "A.png", "b.png", "b.jpg", "caf\u00e9.png", "cafe\u0301.png", "d.png")):
        picture(number).save(tmp_path / name)
    groups = [set(group) for group in found(check(tmp_path), "name_clash")]
    assert {"a.png", "A.png"} in groups
    assert {"b.png", "b.jpg"} in groups
    assert len(groups) == 3


def test_images_outside_the_folders_that_are_read_are_told_of(tmp_path: Path) -> None:
    root = layout(tmp_path, "trainA", "trainB", "traina_more")
    (root / "LICENSE").write_text("free")
    (root / "trainA" / ".DS_Store").write_bytes(b"")
    (root / "Thumbs.db").write_bytes(b"")
    checkup = check(root)
    assert found(checkup, "outside") == [("00.png",)]
    assert found(checkup, "other") == [("LICENSE",)]
    assert sorted(found(checkup, "junk")) == [(".DS_Store",), ("Thumbs.db",)]


def test_pairs_that_do_not_match_are_told_of(tmp_path: Path) -> None:
    folder_of(tmp_path / "trainA", range(3))
    folder_of(tmp_path / "trainB", range(4))
    assert check(tmp_path).count("error") == 0
    assert check(tmp_path, pairing="paired").count("error") == 1
    (tmp_path / "trainB" / "03.png").unlink()
    picture(2).resize((60, 50)).save(tmp_path / "trainB" / "02.png")
    assert not found(check(tmp_path, pairing="paired"), "pairs")
    assert found(check(tmp_path, pairing="paired", preprocess="crop"), "pairs") == [("02.png", "02.png")]
    sheets = tmp_path / "sheets"
    folder_of(sheets / "train", range(2))
    picture(1).resize((81, 40)).save(sheets / "train" / "odd.png")
    assert ("odd.png",) in found(check(sheets, pairing="paired"), "pairs")


def test_a_crop_that_does_not_fit_is_an_error_where_nothing_enlarges(tmp_path: Path) -> None:
    folder_of(tmp_path, range(2))
    picture(5).resize((30, 60)).save(tmp_path / "small.png")
    assert found(check(tmp_path, preprocess="crop"), "too_small") == [("small.png",)]
    assert found(check(tmp_path), "enlarged") == [("small.png",)]
    assert not found(check(tmp_path, preprocess="none"), "enlarged")


# ---- the printed report ----


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


def test_the_verb_prints_a_table_json_or_a_page_and_its_exit_code_says_whether_training_would_stop(
    two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(two_folders / "trainA" / "000.png", two_folders / "testA" / "copy.png")
    code, printed, _ = run(capsys, "data", "check", str(two_folders), "--size", "32")
    assert code == 0
    assert "test images" in printed
    assert "copy.png" in printed
    (two_folders / "trainB" / "bad.png").write_bytes(b"")
    page = tmp_path / "page.html"
    code, printed, _ = run(capsys, "data", "check", str(two_folders), "--size", "32", "--json", "--html", str(page))
    assert code == 65
    reported = json.loads(printed)
    assert reported["counts"]["error"] == 1
    by_code = {finding["code"]: finding for finding in reported["findings"]}
    assert by_code["empty"]["items"][0]["files"] == [str(two_folders / "trainB" / "bad.png")]
    assert by_code["leak"]["remedy"]
    assert page.exists()


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.outside = 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += tag == "img"
        sources = [value or "" for name, value in attrs if name in ("src", "href")]
        self.outside += [source for source in sources if not source.startswith("data:image/jpeg;base64,")]
        self.outside += [tag] if tag in ("script", "link", "iframe") else []


def test_the_page_stands_alone_and_holds_a_bounded_number_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(30):
        picture(number).convert("L").save(folder / f"{number}.png")
        picture(number).rotate(90).save(folder / f"{number}c.png")
    picture(3).save(folder / "colour<img src=x>.png")
    checkup = check(folder)
    assert len(found(checkup, "grey")) == 30
    write_sheet(tmp_path / "page.html", checkup)
    links = Links()
    links.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert links.outside == []
    assert links.pictures == MOST_THUMBNAILS
    assert "And" not in (tmp_path / "page.html").read_text(encoding="utf-8")[:200]


def test_every_kind_of_finding_is_in_the_manual_as_the_program_tells_it() -> None:
    page = (ROOT / "docs" / "data-check.md").read_text(encoding="utf-8")
    for fault in FAULTS.values():
        assert f"| {fault.title} | `{fault.code}` | {fault.training} | {fault.remedy} |" in page, fault.code


def test_a_check_of_a_hostile_folder_writes_nothing_but_the_table(tmp_path: Path) -> None:
    folder_of(tmp_path, range(2))
    PIL.Image.effect_noise((64, 64), 90).save(tmp_path / "x.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "x.tif").read_bytes())
    content[100:2000] = bytes(1900)
    (tmp_path / "x.tif").write_bytes(content)
    command = [sys.executable, "-m", "unpaired", "data", "check", str(tmp_path)]
    made = forked.run(command, capture_output=True, text=True)
    assert made.returncode == 65
    assert made.stderr == ""


# ---- before step one ----


def spoilt(path: Path, number: int) -> None:
    content = path.read_bytes()
    broken = {0: content[: len(content) // 2], 1: b"", 2: b"just text", 3: b"<html>not found</html>"}
    if number % 5 == 4:
        damaged = bytearray(content)
        place = content.index(b"IDAT") + 12
        damaged[place : place + 40] = bytes(255 - value for value in damaged[place : place + 40])
        path.write_bytes(damaged)
    else:
        path.write_bytes(broken[number % 5])


def thousand(root: Path) -> set[str]:
    """A thousand images, of which fifty are spoilt in five ways; returns their names."""
    draw = np.random.default_rng(3)
    bad = set(draw.choice(1000, 50, replace=False).tolist())
    names = set()
    for number in range(1000):
        path = root / ("trainA" if number < 500 else "trainB") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(draw.integers(0, 256, (34, 34, 3), dtype=np.uint8)).save(path, compress_level=1)
        if number in bad:
            spoilt(path, number)
            names.add(path.name)
    return names


def test_fifty_bad_images_of_a_thousand_are_all_named_before_step_one_or_skipped_and_listed(
    toy_config: Config, tmp_path: Path, said: list[str]
) -> None:
    bad = thousand(tmp_path / "data")
    config = override(toy_config, {"data.root": str(tmp_path / "data"), "run.trust_images": 0})
    with pytest.raises(DataError) as error:
        train(config, out=tmp_path / "run")
    named = set(re.findall(r"\d{3}\.png", str(error.value)))
    assert named == bad
    assert not (tmp_path / "run").exists()

    checkup = check(tmp_path / "data")
    broken = [item for finding in checkup.findings if finding.fault.severity == "error" for item in finding.items]
    assert {item.paths[0].name for item in broken} == bad

    said.clear()
    skipping = replace(config, data=replace(config.data, bad_images="skip"))
    done = train(skipping, out=tmp_path / "run")
    assert done.finished
    assert sum(done.num_images.values()) == 950
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {*facts["A"]["skipped"], *facts["B"]["skipped"]} == bad
    assert len(facts["A"]["skipped"]) + len(facts["B"]["skipped"]) == 50
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"\b\d{3}\.png", re.sub(r"base64,[^\"]*", "", report))) == bad
    assert any("are left out" in sentence for sentence in said)


def test_a_run_that_skipped_images_is_continued_without_them(
    toy_config: Config, two_folders: Path, tmp_path: Path
) -> None:
    (two_folders / "trainA" / "002.png").write_bytes(b"")
    (two_folders / "testB" / "001.png").write_bytes(b"")
    config = replace(toy_config, data=replace(toy_config.data, root=str(two_folders), bad_images="skip"))
    whole = train(config, out=tmp_path / "whole")
    train(config, out=tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    shutil.rmtree(newest)
    again = train(config, out=tmp_path / "run")
    assert again.state_sha256 == whole.state_sha256
    assert info(tmp_path / "run").num_images == {"A": 5, "B": 5}
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert (facts["A"]["skipped"], facts["B"]["skipped_test"]) == (["002.png"], ["001.png"])


def test_a_skipped_image_takes_its_partner_along(tmp_path: Path) -> None:
    folder_of(tmp_path / "trainA", range(4))
    folder_of(tmp_path / "trainB", range(4))
    (tmp_path / "trainB" / "01.png").write_bytes(b"")
    config = replace(SMALL, root=str(tmp_path), pairing="paired", bad_images="skip")
    usable, _ = open_domains(config).usable(config)
    assert usable.train_a is not None
    assert [path.name for path in usable.train_a.paths] == [path.name for path in usable.train_b.paths]
    assert [path.name for path in usable.train_b.paths] == ["00.png", "02.png", "03.png"]


def test_skipped_sheets_leave_the_halves_of_the_others_together(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(3):
        sheet = np.concatenate([SCENES[number], SCENES[number + 10]], axis=1)
        PIL.Image.fromarray(sheet).save(tmp_path / "train" / f"{number}.png")
    (tmp_path / "train" / "1.png").write_bytes(b"")
    config = replace(SMALL, root=str(tmp_path), pairing="paired", bad_images="skip")
    usable, _ = open_domains(config).usable(config)
    assert usable.train_a is not None
    assert np.array_equal(usable.train_a[1].pixels, SCENES[2])
    assert np.array_equal(usable.train_b[1].pixels, SCENES[12])


def test_nothing_left_after_skipping_is_an_error(two_folders: Path) -> None:
    for path in (two_folders / "trainB").glob("*.png"):
        path.write_bytes(b"")
    config = replace(SMALL, root=str(two_folders), bad_images="skip")
    with pytest.raises(DataError, match="None of the images"):
        open_domains(config).usable(config)


def test_training_says_in_one_sentence_what_a_check_would_tell(
    two_folders: Path, toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(two_folders / "trainA" / "000.png", two_folders / "testA" / "copy.png")
    shutil.copy(two_folders / "trainB" / "000.png", two_folders / "trainB" / "copy.png")
    PIL.Image.new("RGB", (40, 40), "red").save(two_folders / "trainA" / "red.png")
    with PIL.Image.open(two_folders / "trainB" / "001.png") as image:
        image.convert("L").save(two_folders / "trainB" / "grey.png")
    (tmp_path / "toy.yaml").write_text(to_yaml(toy_config))
    code, printed, _ = run(
        capsys,
        *("train", str(two_folders), "--config", str(tmp_path / "toy.yaml")),
        *("--steps", "1", "--out", str(tmp_path / "run")),
    )
    assert code == 0
    reported = next(line for line in printed.splitlines() if line.startswith("Among the images"))
    assert reported == (
        "Among the images: 1 test image is also trained on, 1 file is a copy of another, 1 of a single colour, "
        f"1 in grey among colour; `unpaired data check {two_folders}` names them."
    )
