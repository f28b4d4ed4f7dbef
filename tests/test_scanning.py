"""The scan that training and the doctor share: one decoding a file, the same facts, and no more work than is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.doctor.checkup import check_data
from unpaired.doctor.findings import FAULTS
from unpaired.errors import ImageError
from unpaired.images import read_image
from unpaired.scanning import file_faults, inspection
from unpaired.scanning.header_scan import headers_by_path
from unpaired.scanning.inspection import Inspected, inspect_file, inspect_image
from unpaired.scanning.threads import on_threads

WHITE = (255, 255, 255)
COLOURS = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
PICTURES = {
    "colours.png": COLOURS[:, :, :3],
    "transparent.png": COLOURS,
    "grey.png": COLOURS[:, :, 0],
    "grey in three.png": COLOURS[:, :, :1].repeat(3, axis=2),
    "one colour.png": np.full((40, 48, 3), (200, 30, 30), np.uint8),
    "deep.png": COLOURS[:, :, 0].astype(np.uint16) * 257,
    "alpha is a band.tif": COLOURS // 2 + 50,
}


def write(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        PIL.Image.fromarray(PICTURES[name]).save(folder / name)
    return [folder / name for name in names or PICTURES]


@pytest.mark.parametrize("name", PICTURES)
def test_training_and_the_doctor_gather_the_same_facts(name: str, tmp_path: Path) -> None:
    (path,) = write(tmp_path, name)
    training, doctor = inspect_image(path, lambda: read_image(path), WHITE), inspect_file(path)
    shared = ("height", "width", "channels", "dtype", "has_alpha", "flat", "grey", "alpha_is_a_band")
    assert {fact: getattr(training, fact) for fact in shared} == {fact: getattr(doctor, fact) for fact in shared}
    assert doctor.header is not None
    assert (training.height, training.width, training.dtype) == (40, 48, doctor.header.dtype)
    assert (training.flat, training.grey) == ("one colour" in name, "grey" in name or "deep" in name)
    assert (training.has_alpha, training.alpha_is_a_band) == ("alpha" in name or "transp" in name, "alpha" in name)


def test_the_facts_of_the_doctor_alone_cost_training_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("thumbnail", "file_digest", "label_parts", "orientation_in", "_pixel_digest", "header_of"):
        monkeypatch.setattr(inspection, name, lambda *given, name=name: pytest.fail(f"training asks for {name}"))
    for letter in "AB":
        write(tmp_path / f"train{letter}", "colours.png", "grey.png")
    config = DataConfig(root=str(tmp_path), load_size=36, crop_size=32)
    domains, notes = open_domains(config).usable(config)
    assert len(domains.train_b) == 2
    assert any("2 in grey among colour" in note for note in notes)


def test_the_doctor_decodes_a_file_once_and_opens_it_for_header_and_pixels_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()
    for name in ("header_of", "image_of", "opened"):
        own = getattr(inspection, name)

        def counted(path: Path, *rest: object, name: str = name, own: object = own) -> object:
            calls[f"{name} {path.name}"] += 1
            return own(path, *rest)  # type: ignore[operator]

        monkeypatch.setattr(inspection, name, counted)
    write(tmp_path, "colours.png", "grey.png")
    check_data(DataConfig(root=str(tmp_path)))
    assert set(calls.values()) == {1}
    assert len(calls) == 6


@pytest.mark.parametrize(
    ("content", "fault", "reason"),
    [
        (b"", "empty", "0 bytes"),
        (b"MZ\x90\x00 not a picture", "not_an_image", ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "not_an_image", ""),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "lfs_pointer", "63 bytes of text"),
    ],
)
def test_a_fault_has_a_known_code_and_a_reason_without_the_name_of_the_file(
    content: bytes, fault: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    found = inspect_file(path)
    assert found.fault == fault
    assert found.reason.startswith(reason)
    assert found.reason
    assert "x.png" not in found.reason


def test_every_fault_of_a_file_has_a_row_in_the_table() -> None:
    assert set(file_faults._BY_MESSAGE.values()) <= FAULTS.keys()


def test_headers_are_read_once_a_file_and_only_the_errors_that_are_named_are_passed_over(tmp_path: Path) -> None:
    one, other = write(tmp_path, "colours.png", "grey.png")
    (tmp_path / "broken.png").write_bytes(b"?")
    paths = [other, one, other, tmp_path / "broken.png"]
    found = headers_by_path(paths, passed_over=ImageError)
    assert [(path, header.channels) for path, header in found.items()] == [(other, 1), (one, 3)]
    with pytest.raises(ImageError, match=r"broken\.png"):
        headers_by_path(paths)


def test_results_come_in_the_order_of_the_items_whatever_thread_ends_first() -> None:
    assert list(on_threads(lambda number: number * number, range(50), num_threads=3)) == [n * n for n in range(50)]


def test_the_first_error_in_order_is_raised_and_what_came_before_it_is_not_lost() -> None:
    def work(number: int) -> int:
        if number % 10 == 7:
            raise ValueError(number)
        return number

    results = on_threads(work, range(40))
    found = [next(results) for _ in range(7)]
    assert found == list(range(7))
    with pytest.raises(ValueError, match=r"^7$"):
        next(results)


def test_an_inspection_of_a_broken_file_holds_no_fact() -> None:
    found = inspect_file(Path("nowhere.png"))
    assert found == Inspected(path=Path("nowhere.png"), fault="unreadable", reason="No such file or directory")


def test_items_are_taken_little_ahead_of_their_results() -> None:
    taken: list[int] = []
    results = on_threads(lambda item: item, (taken.append(number) or number for number in range(5000)), 2)
    assert [next(results) for _ in range(1000)] == list(range(1000))
    assert len(taken) < 1000 + 400
    results.close()
