"""Paired data: which files belong together, and that both images of a pair are cut and flipped as one."""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from unpaired.config import override
from unpaired.data.check import check_pairs
from unpaired.data.datasets import DataConfig, PairedDataset
from unpaired.data.domains import open_domains
from unpaired.data.loading import batches
from unpaired.data.pairs import matched, paired_sources, preview_pairs, side_by_side
from unpaired.data.sources import FolderSource
from unpaired.doctor.checkup import check_data
from unpaired.errors import ConfigError, DataError
from unpaired.images import Image
from unpaired.objectives import Pix2Pix
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.scenes.draw import draw_pairs

CROP = DataConfig(pairing="paired", preprocess="crop", crop_size=32, load_size=36)
SIDE = 40


def picture(number: int, *, side: int = SIDE, blue: int = 0) -> np.ndarray:
    """An image whose red and green are row and column, and whose blue is its number."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows * 2, columns * 2, np.full_like(rows, number * 10 + blue)], axis=2).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def sheets(folder: Path, count: int = 5) -> Path:
    for number in range(count):
        save(folder / f"{number}.png", np.concatenate([picture(number), picture(number, blue=5)], axis=1))
    return folder


def two(root: Path, a: str = "trainA", b: str = "trainB", count: int = 5) -> Path:
    for number in range(count):
        save(root / a / f"{number}.png", picture(number))
        save(root / b / f"{number}.png", picture(number, blue=5))
    return root


def pixels(images: torch.Tensor) -> np.ndarray:
    return ((images + 1) * 127.5).round().permute(0, 2, 3, 1).int().numpy()


def opened(root: Path, config: DataConfig = CROP, seed: int = 0) -> PairedDataset:
    return PairedDataset(*paired_sources(str(root), "", ""), config, seed)


# --- batches ---------------------------------------------------------------------------------------


def test_both_images_of_a_pair_have_the_same_crop_and_the_same_flip(tmp_path: Path) -> None:
    sheets(tmp_path / "train")
    data, seen = opened(tmp_path), set()
    for step in range(1, 61):
        a, b = pixels(data[step].a)[0], pixels(data[step].b)[0]
        np.testing.assert_array_equal(a[..., :2], b[..., :2])  # the same place of the pair in every pixel
        np.testing.assert_array_equal(a[..., 2] + 5, b[..., 2])  # the same pair
        seen.add((int(a[0, 0, 0]), int(a[..., 1].min()), bool(a[0, 0, 1] > a[0, -1, 1])))
    assert len(seen) > 40
    assert {flipped for *_, flipped in seen} == {True, False}


def test_side_by_side_images_and_matched_names_give_the_same_batches(tmp_path: Path) -> None:
    sheets(tmp_path / "one" / "train")
    two(tmp_path / "two")
    one, other = opened(tmp_path / "one"), opened(tmp_path / "two")
    for step in range(1, 12):
        assert torch.equal(one[step].a, other[step].a)
        assert torch.equal(one[step].b, other[step].b)


def test_an_epoch_shows_every_pair_once_in_a_new_order(tmp_path: Path) -> None:
    sheets(tmp_path / "train", 20)
    data = opened(tmp_path)
    assert data.length == 20
    orders = [[data.images_of(epoch * 20 + i)[0] for i in range(20)] for epoch in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert all(a == b for a, b in map(data.images_of, range(60)))


def test_a_batch_holds_the_samples_of_its_step_and_says_their_names(tmp_path: Path) -> None:
    two(tmp_path)
    single, double = opened(tmp_path), opened(tmp_path, replace(CROP, batch_size=2))
    assert torch.equal(double[3].a, torch.cat([single[5].a, single[6].a]))
    assert double.names_of(3) == single.names_of(5) + single.names_of(6)
    number = int(pixels(single[5].a)[0, 0, 0, 2]) // 10
    assert single.names_of(5) == [f"{number}.png"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_batches_are_the_same_for_any_number_of_loader_processes(tmp_path: Path) -> None:
    sheets(tmp_path / "train")
    alone, helped = (list(batches(opened(tmp_path), 3, 7, workers)) for workers in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.a, other.a)
        assert torch.equal(one.b, other.b)


def test_the_domains_may_differ_in_channels(tmp_path: Path) -> None:
    sheets(tmp_path / "train")
    batch = opened(tmp_path, replace(CROP, channels_a=1, batch_size=2))[1]
    assert (batch.a.shape, batch.b.shape) == ((2, 1, 32, 32), (2, 3, 32, 32))


def test_resizing_comes_first_as_published(tmp_path: Path) -> None:
    for number, side in enumerate((50, 64)):
        sheet = np.concatenate([picture(number, side=side)[:, :, :]] * 2, axis=1)
        save(tmp_path / "train" / f"{number}.png", sheet)
    batch = opened(tmp_path, DataConfig(pairing="paired", load_size=36, crop_size=32, batch_size=2))[1]
    assert batch.a.shape == (2, 3, 32, 32)
    assert torch.equal(batch.a, batch.b)


def test_the_halves_of_an_image_keep_its_transparency(tmp_path: Path) -> None:
    clear = np.zeros((8, 16, 4), np.uint8)
    clear[:, 8:, 3] = 255
    save(tmp_path / "a.png", clear)
    left, right = (half[0] for half in side_by_side(tmp_path))
    assert left.alpha is not None
    assert right.alpha is not None
    assert (left.alpha.max(), right.alpha.min()) == (0, 255)


def test_a_file_is_decoded_once_for_both_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets(tmp_path / "train")
    reads: Counter[int] = Counter()
    whole = FolderSource.__getitem__

    def counted(source: FolderSource, index: int) -> Image:
        reads[index] += 1
        return whole(source, index)

    monkeypatch.setattr(FolderSource, "__getitem__", counted)
    data = opened(tmp_path, replace(CROP, cache_mb=0))
    for step in range(1, 6):
        data[step]
    assert set(reads.values()) == {1}


# --- layouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [("trainA", "trainB"), ("train/A", "train/B"), ("A/train", "B/train"), ("A", "B")])
def test_every_layout_of_matched_names_is_found(tmp_path: Path, a: str, b: str) -> None:
    two(tmp_path, a, b)
    found = paired_sources(str(tmp_path), "", "")
    assert [source.folder for source in found] == [tmp_path / a, tmp_path / b]
    given = paired_sources("", str(tmp_path / a), str(tmp_path / b))
    assert [source.paths for source in given] == [source.paths for source in found]


def test_names_match_whatever_their_suffix_and_folder_order(tmp_path: Path) -> None:
    for a, b in (("x.png", "x.jpg"), ("sub/y.webp", "sub/y.png"), ("a.b.png", "a.b.bmp")):
        save(tmp_path / "A" / a, picture(1))
        save(tmp_path / "B" / b, picture(1))
    a_source, b_source = matched(tmp_path / "A", tmp_path / "B")
    assert [a_source.name(i) for i in range(3)] == ["a.b.png", "sub/y.webp", "x.png"]
    assert [b_source.name(i) for i in range(3)] == ["a.b.bmp", "sub/y.png", "x.jpg"]


def test_the_marks_of_the_published_facades_and_maps_are_left_out(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "trainA" / f"{number}_A.png", picture(number))
        save(tmp_path / "trainB" / f"{number}_B.png", picture(number, blue=5))
    a, b = paired_sources(str(tmp_path), "", "")
    assert [(a.name(i), b.name(i)) for i in range(3)] == [(f"{i}_A.png", f"{i}_B.png") for i in range(3)]


@pytest.mark.parametrize(("form_a", "form_b"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_match_whether_their_letters_are_composed_or_not(tmp_path: Path, form_a: str, form_b: str) -> None:
    names = ("Straße Müller", "año-2", "plain", "ü/å")  # in a folder of such a name, too
    for number, name in enumerate(names):
        save(tmp_path / "trainA" / f"{unicodedata.normalize(form_a, name)}.png", picture(number))
        save(tmp_path / "trainB" / f"{unicodedata.normalize(form_b, name)}.jpg", picture(number))
    a, b = paired_sources(str(tmp_path), "", "")
    found = [[unicodedata.normalize("NFC", source.stem(index)) for index in range(4)] for source in (a, b)]
    assert found[0] == found[1]
    assert set(found[0]) == set(names)
    config = replace(CROP, root=str(tmp_path))
    open_domains(config).check(config)
    assert "pairs" not in {finding.fault.code for finding in check_data(config, pairing="paired").findings}


def test_two_files_of_one_name_but_for_the_composition_of_letters_are_refused_in_a_sentence(tmp_path: Path) -> None:
    two(tmp_path)
    for form in ("NFC", "NFD"):
        save(tmp_path / "trainA" / f"{unicodedata.normalize(form, 'ü')}.png", picture(1))
    save(tmp_path / "trainB" / "ü.png", picture(1))
    with pytest.raises(DataError, match="share a name, one with composed and one with decomposed letters"):
        paired_sources(str(tmp_path), "", "")


def test_names_without_a_partner_are_listed(tmp_path: Path) -> None:
    two(tmp_path)
    save(tmp_path / "trainA" / "lonely.png", picture(1))
    save(tmp_path / "trainB" / "other.png", picture(1))
    with pytest.raises(DataError, match="2 images have no partner") as error:
        paired_sources(str(tmp_path), "", "")
    assert f"lonely is in {tmp_path / 'trainA'} only" in str(error.value)
    assert f"other is in {tmp_path / 'trainB'} only" in str(error.value)
    for number in range(20, 35):
        save(tmp_path / "trainB" / f"{number}.png", picture(1))
    with pytest.raises(DataError, match="and 7 more"):
        paired_sources(str(tmp_path), "", "")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    two(tmp_path)
    save(tmp_path / "trainA" / "0.jpg", picture(0))
    with pytest.raises(DataError, match=r"0\.jpg and .*0\.png share a name"):
        paired_sources(str(tmp_path), "", "")


def test_what_holds_no_pairs_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pairs"):
        paired_sources(str(tmp_path), "", "")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="holds no pairs"):
        paired_sources(str(tmp_path), "", "")
    with pytest.raises(DataError, match="No data"):
        paired_sources("", "", "")
    with pytest.raises(DataError, match="--a is given alone"):
        paired_sources("", "left", "")
    with pytest.raises(DataError, match="is not a folder"):
        paired_sources("", str(tmp_path / "x"), str(tmp_path / "y"))


def test_previews_are_test_pairs_or_validation_pairs_in_the_middle(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "drawn", count=3, num_test=2, size=40)
    config = replace(CROP, root=str(tmp_path / "drawn"))
    domains = open_domains(config)
    assert domains.preview_a is not None
    assert (len(domains.preview_a), len(domains.preview_b)) == (2, 2)
    assert domains.preview_b.folder.name == "test"
    batch = domains.previews(config, 0).preview(5)
    assert batch.a.shape == batch.b.shape == (2, 3, 32, 32)
    shutil.move(tmp_path / "drawn" / "test", tmp_path / "drawn" / "val")
    assert open_domains(config).preview_b.folder.name == "val"
    shutil.rmtree(tmp_path / "drawn" / "val")
    assert preview_pairs(config.root) is None
    assert open_domains(config).preview_b.folder.name == "train"


# --- the look at every image before the first step --------------------------------------------------


def test_an_odd_width_is_named_before_training(tmp_path: Path) -> None:
    sheets(tmp_path / "train", 2)
    save(tmp_path / "train" / "odd.png", np.zeros((40, 81, 3), np.uint8))
    config = replace(CROP, root=str(tmp_path))
    with pytest.raises(DataError, match=r"odd\.png is 81 pixels wide, which is odd"):
        open_domains(config).check(config)


def test_a_broken_or_small_pair_is_named_before_training(tmp_path: Path) -> None:
    sheets(tmp_path / "train", 2)
    save(tmp_path / "train" / "small.png", np.zeros((40, 62, 3), np.uint8))  # each half is narrower than the crop
    (tmp_path / "train" / "text.png").write_text("<html>")
    config = replace(CROP, root=str(tmp_path))
    with pytest.raises(DataError, match="2 of 4 images") as error:
        open_domains(config).check(config)
    assert "small.png" in str(error.value)
    assert "text.png" in str(error.value)


def test_pairs_of_different_sizes_are_refused_where_they_are_not_resized(tmp_path: Path) -> None:
    two(tmp_path)
    save(tmp_path / "trainB" / "3.png", picture(3, side=44))
    a, b = paired_sources(str(tmp_path), "", "")
    with pytest.raises(DataError, match=r"1 of 5 pairs differ in size.*\n.*3\.png are 40x40 and 44x44"):
        check_pairs(a, b)
    config = replace(CROP, root=str(tmp_path))
    with pytest.raises(DataError, match="differ in size"):
        open_domains(config).check(config)
    with pytest.raises(DataError, match=r"3\.png are a pair of different sizes"):
        list(map(opened(tmp_path).__getitem__, range(1, 6)))
    resized = replace(config, preprocess="resize_and_crop")
    open_domains(resized).check(resized)
    assert opened(tmp_path, resized)[1].a.shape == (1, 3, 32, 32)


def test_sources_of_different_lengths_are_no_pairs(tmp_path: Path) -> None:
    two(tmp_path)
    a = FolderSource(tmp_path / "trainA")
    (tmp_path / "trainB" / "0.png").unlink()
    with pytest.raises(DataError, match="not 5 and 4"):
        PairedDataset(a, FolderSource(tmp_path / "trainB"), CROP, 0)


def test_the_record_of_the_data_names_both_domains_and_changes_with_the_files(tmp_path: Path) -> None:
    sheets(tmp_path / "maps" / "train")
    config = replace(CROP, root=str(tmp_path / "maps"))
    facts = open_domains(config).facts()
    assert {domain: (facts[domain]["name"], facts[domain]["images"]) for domain in facts} == {
        "A": ("A", 5),
        "B": ("B", 5),
    }
    assert open_domains(config).described(config) == "5 pairs"
    (tmp_path / "maps" / "train" / "0.png").unlink()
    assert open_domains(config).facts()["A"]["fingerprint"] != facts["A"]["fingerprint"]


def test_an_unknown_pairing_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose from: unpaired, paired, noise"):
        override(DataConfig(), {"pairing": "sideways"})
    with pytest.raises(ConfigError, match=r"did you mean paired\?"):
        override(DataConfig(), {"pairing": "pared"})


def test_pix2pix_trains_on_a_folder_of_pairs(toy_config: Config, tmp_path: Path, said: list[str]) -> None:
    draw_pairs(tmp_path / "labels2summer", count=3, num_test=2, size=40)
    config = replace(
        toy_config,
        data=replace(toy_config.data, pairing="paired", root=str(tmp_path / "labels2summer")),
        objective=Pix2Pix(),
    )
    said.clear()
    run = train(config, out=tmp_path / "run")
    assert run.finished
    assert said[0] == "Scanning 3 pairs."
    assert run.domains == {"A": "labels", "B": "summer"}
    assert run.num_images == {"A": 3, "B": 3}
    (tmp_path / "labels2summer" / "train" / "scene-000000.png").unlink()
    with pytest.raises(DataError, match="changed since"):
        train(config, out=tmp_path / "run")
