"""The cache of scans: files that are the same are not read again, and nothing else is taken from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unpaired.data import known_files, scan_cache
from unpaired.data.check import scan_images
from unpaired.data.datasets import DataConfig
from unpaired.data.pairs import side_by_side
from unpaired.data.ranges import headers_of
from unpaired.data.scan_cache import cache_folder, recall, remember
from unpaired.data.sources import FolderSource, fingerprint, image_list
from unpaired.images import read_image

CONFIG = DataConfig(load_size=36, crop_size=32, background=(255, 255, 255))
WHITE = (255, 255, 255)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan_cache, "_LEAST", 1)
    monkeypatch.setattr(known_files, "_UNSETTLED", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photographs"
    (made / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a.png", "below/b.png", "c.jpg", "grey.png")):
        shape = (40, 40) if name.startswith("grey") else (40, 40 + number, 3)
        PIL.Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(made / name)
    return made


def scanned(folder: Path, *, again: bool = False) -> FolderSource:
    """A source that was scanned, as at the start of a run; again: by a process that knows the cache."""
    source = FolderSource(folder)
    if again:
        recall(source, WHITE)
    scan_images(source, CONFIG)
    headers_of(source)
    image_list(source)
    remember(source, WHITE)
    return source


def known_of(source: FolderSource) -> list[bool]:
    return list(map(bool, source.known.has_digest))


def recalled(folder: Path) -> FolderSource:
    source = FolderSource(folder)
    recall(source, WHITE)
    return source


def cache_file() -> Path:
    (found,) = cache_folder().iterdir()
    return found


def test_a_known_folder_gives_the_same_facts_without_reading_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scanned(folder)
    expected = scan_images(FolderSource(folder), CONFIG).images
    monkeypatch.setattr(scan_cache, "_SAMPLE", 0)
    source = recalled(folder)
    reads: list[Path] = []
    monkeypatch.setattr("unpaired.data.sources.read_image", lambda path, **_: reads.append(path))
    monkeypatch.setattr("unpaired.data.sources._file_facts", lambda path: reads.append(path))
    monkeypatch.setattr("unpaired.scanning.header_scan.read_header", lambda path: reads.append(path))
    assert scan_images(source, CONFIG).images == expected
    assert headers_of(source) == headers_of(first)
    assert image_list(source) == image_list(first)
    assert fingerprint(source) == fingerprint(first)
    assert reads == []


def test_only_files_that_changed_are_read_again(folder: Path) -> None:
    scanned(folder)
    status = (folder / "a.png").stat()
    content = bytearray((folder / "a.png").read_bytes())
    content[-1] ^= 1
    (folder / "a.png").write_bytes(content)
    os.utime(folder / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does
    PIL.Image.new("RGB", (40, 40)).save(folder / "d.png")
    (folder / "grey.png").unlink()
    source = recalled(folder)
    assert [source.name(index) for index in range(4)] == ["a.png", "below/b.png", "c.jpg", "d.png"]
    assert known_of(source) == [False, True, True, False]
    assert image_list(scanned(folder, again=True)) == image_list(FolderSource(folder))
    assert all(known_of(recalled(folder)))


def test_a_replaced_file_has_another_inode(folder: Path) -> None:
    scanned(folder)
    copy = folder.parent / "copy"
    copy.write_bytes((folder / "c.jpg").read_bytes())
    copy.replace(folder / "c.jpg")
    assert known_of(recalled(folder)) == [True, True, False, True]


def test_a_file_changed_a_moment_before_it_was_listed_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "_UNSETTLED", 10**12)
    scanned(folder)
    assert not any(known_of(recalled(folder)))


def cut(content: bytes) -> bytes:
    return content[:-10]


def flipped(content: bytes) -> bytes:
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


def other_version(content: bytes) -> bytes:
    head, body = content.split(b"\n", 1)
    facts = json.loads(head)
    facts["about"]["versions"][0] = "0.0.1"
    return json.dumps(facts).encode() + b"\n" + body


def resealed(change: Callable[[dict[str, list[dict[str, object]]]], None]) -> Callable[[bytes], bytes]:
    """A forgery whose hash is right."""

    def forged(content: bytes) -> bytes:
        head, tables, rest = content.split(b"\n", 2)
        facts, about = json.loads(tables), json.loads(head)
        change(facts)
        body = json.dumps(facts).encode() + b"\n" + rest
        about["sha256"] = scan_cache._hash(body)
        return json.dumps(about).encode() + b"\n" + body

    return forged


def as_sixteen_bit(facts: dict[str, list[dict[str, object]]]) -> None:
    facts["headers"][0]["dtype"] = "uint16"


def without_a_fact(facts: dict[str, list[dict[str, object]]]) -> None:
    del facts["images"][0]["flat"]


def of_another_type(facts: dict[str, list[dict[str, object]]]) -> None:
    facts["images"][0]["height"] = "40"


def shorter(facts: dict[str, list[dict[str, object]]]) -> None:
    facts["headers"].clear()


FORGERIES = {
    "empty": lambda content: b"",
    "cut off": cut,
    "a flipped bit": flipped,
    "another version": other_version,
    "another type of the values": resealed(as_sixteen_bit),
    "a missing fact": resealed(without_a_fact),
    "a fact of another type": resealed(of_another_type),
    "numbers beyond the table": resealed(shorter),
    "no JSON": lambda content: b"[" * 100_000,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_nothing_is_taken_from_a_damaged_or_forged_cache(name: str, folder: Path) -> None:
    scanned(folder)
    cache_file().write_bytes(FORGERIES[name](cache_file().read_bytes()))
    source = recalled(folder)
    assert not any(known_of(source))
    assert source.known.without_header() == [0, 1, 2, 3]
    assert image_list(source) == image_list(FolderSource(folder))


def test_nothing_is_taken_from_a_cache_that_others_may_write_to(folder: Path) -> None:
    scanned(folder)
    cache_file().chmod(0o666)
    assert not any(known_of(recalled(folder)))


def test_a_cache_of_another_folder_is_not_taken(folder: Path) -> None:
    scanned(folder)
    content = cache_file().read_bytes()
    folder.rename(folder.parent / "moved")
    assert not any(known_of(recalled(folder.parent / "moved")))
    (cache_folder() / scan_cache._path(FolderSource(folder.parent / "moved"), WHITE).name).write_bytes(content)
    assert not any(known_of(recalled(folder.parent / "moved")))


def test_a_wrong_digest_is_found_by_the_sample_and_all_files_are_read(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = scanned(folder)
    source.known.add_digest(1, "0" * 64)
    remember(source, WHITE)
    assert not any(known_of(recalled(folder)))
    assert "b.png is not as at the last scan, although its dates are; every file is read anew." in caplog.text


def test_wrong_facts_about_an_image_are_found_by_the_sample_and_all_images_are_decoded(folder: Path) -> None:
    source = scanned(folder)
    expected = scan_images(FolderSource(folder), CONFIG).images
    source.known.images[0] = source.known.images[3]  # of the grey one
    source.known.changed = True
    remember(source, WHITE)
    assert scan_images(recalled(folder), CONFIG).images == expected


def test_an_unusable_image_is_never_kept(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"?")
    (folder / "small.png").write_bytes((folder / "a.png").read_bytes())
    source = FolderSource(folder)
    assert set(scan_images(source, CONFIG).problems) == {2}
    assert source.known.images[2] == -1
    assert source.known.image(0, source.paths[0]) is not None


def test_small_folders_have_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_cache, "_LEAST", 5)
    scanned(folder)
    assert not cache_folder().exists()


def test_a_place_that_refuses_the_cache_stops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "file"))
    scanned(folder)
    assert not any(known_of(recalled(folder)))


def test_the_cache_is_for_its_user_alone(folder: Path) -> None:
    scanned(folder)
    assert cache_file().stat().st_mode & 0o077 == 0
    assert cache_folder().stat().st_mode & 0o077 == 0


def test_the_default_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().is_relative_to(Path("~").expanduser())


def test_a_relative_place_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert cache_folder().is_relative_to(Path("~").expanduser())


def test_a_user_without_a_home_has_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", unknown)
    scanned(folder)
    assert not any(known_of(recalled(folder)))


def test_halves_are_known_apart_from_whole_images(folder: Path) -> None:
    scanned(folder)
    left, right = side_by_side(folder)
    recall(left, WHITE)
    assert not any(known_of(left))
    assert right.known is left.known


def test_skipped_images_keep_the_facts_of_the_others(folder: Path) -> None:
    source = scanned(folder)
    whole = image_list(source)
    source.choose([3, 0])
    assert image_list(source) == {name: whole[name] for name in ("grey.png", "a.png")}
    assert source.known.image(0, source.paths[0]) == scan_images(source, CONFIG).images[0]
    assert read_image(source.paths[0]).channels == 1
