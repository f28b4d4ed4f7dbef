"""The search for look-alikes compares few pairs, finds those of a comparison of all, and needs bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from unpaired.doctor.comparing import look_alikes
from unpaired.doctor.neighbours import nearest_within
from unpaired.doctor.thumb_file import ThumbFile
from unpaired.errors import StorageError

Floats = NDArray[np.float32]


def units(count: int, spread: float, dimensions: int = 12) -> Floats:
    """Unit vectors around 40 centres, which differ in the first few coordinates most."""
    rng = np.random.default_rng(3)
    falling = 1 / np.arange(1, dimensions + 1)
    centres = rng.normal(size=(40, dimensions)) * falling
    made = centres[rng.integers(0, 40, count)] + rng.normal(size=(count, dimensions)) * falling * spread
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def by_all_pairs(vectors: Floats, sign: Floats, least: float, most: int) -> set[tuple[int, int]]:
    """The rule in its plainest form."""
    found = set()
    for i in range(len(vectors)):
        cosines = vectors[i + 1 :] @ (vectors[i] * sign)
        near = [j for j in np.argsort(-cosines, kind="stable")[:most] if cosines[j] >= least]
        found |= {(i, int(i + 1 + j)) for j in near}
    return found


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_nearest_of_every_vector_are_those_of_a_comparison_of_all_pairs(
    spread: float, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unpaired.doctor.neighbours._LEAF", 16)
    monkeypatch.setattr("unpaired.doctor.neighbours._COLUMNS", 50)
    vectors = units(500, spread)
    sign = np.where(np.arange(12) % 2, -1, 1).astype(np.float32) if mirrored else np.ones(12, np.float32)
    found = list(nearest_within(vectors, sign, 0.995, 8))
    assert len(set(found)) == len(found)
    assert set(found) == by_all_pairs(vectors, sign, 0.995, 8)


def test_of_equal_vectors_the_lower_ones_are_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unpaired.doctor.neighbours._LEAF", 4)
    vectors = np.tile(np.eye(4, dtype=np.float32)[:1], (30, 1))
    found = set(nearest_within(vectors, np.ones(4, np.float32), 0.995, 3))
    assert found == {(i, j) for i in range(30) for j in range(i + 1, min(i + 4, 30))}


def test_distant_leaves_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    add = "unpaired.doctor.neighbours._Nearest.add"
    monkeypatch.setattr("unpaired.doctor.neighbours._LEAF", 16)
    monkeypatch.setattr(add, lambda self, rows, columns, cosine: compared.append(cosine.size))
    list(nearest_within(units(1000, 0.02), np.ones(12, np.float32), 0.995, 8))
    assert sum(compared) < 1000**2 / 20


def test_none_and_one_vector_have_no_neighbour() -> None:
    for count in (0, 1):
        assert not list(nearest_within(units(count, 0.1), np.ones(12, np.float32), 0.995, 8))


def test_many_frames_of_one_scene_need_memory_for_a_few_neighbours_each() -> None:
    vectors = np.tile(units(1, 0.0), (1200, 1))
    tracemalloc.start()
    try:
        pairs = sum(1 for _ in nearest_within(vectors, np.ones(12, np.float32), 0.995, 8))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pairs == 8 * 1200 - 36
    assert peak < 30e6  # 700,000 pairs are near enough


def test_thumbnails_come_back_from_the_file_as_they_were() -> None:
    thumbs = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    with ThumbFile() as file:
        for thumb in thumbs:
            file.append(thumb)
        rows = file.rows([3, 4, 19])
        assert len(rows) == 3
        assert np.array_equal(rows[2], thumbs[19])
        assert np.array_equal(rows[0:2], thumbs[3:5])
        assert list(look_alikes(rows)) == list(look_alikes(thumbs[[3, 4, 19]]))


def test_without_a_folder_for_temporary_files_thumbnails_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with ThumbFile() as file:
        file.append(np.full((32, 32, 3), 7, np.uint8))
        assert file.rows([0])[0].min() == 7


def test_a_full_disk_is_one_sentence_with_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "w+b"))  # noqa: PTH123, SIM115 - a device
    many = np.zeros((10, 32, 32, 3), np.uint8)
    with pytest.raises(StorageError, match=r"temporary files .* \(No space left on device\); free some space"):
        stored(many)


def stored(thumbs: NDArray[np.uint8]) -> None:
    with ThumbFile() as file:
        for thumb in thumbs:
            file.append(thumb)
        file.rows([0])
