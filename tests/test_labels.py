"""Maps of classes: resized by nearest pixels no class arises that was not there, and data check knows such maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from test_translate import model_info, networks
from unpaired.data.beside import mixed_classes
from unpaired.data.datasets import DataConfig, PairedDataset, UnpairedDataset, prepare
from unpaired.data.domains import open_domains
from unpaired.data.noise import NoiseDataset
from unpaired.data.pairs import side_by_side
from unpaired.data.sources import FolderSource
from unpaired.doctor.checkup import Checkup, check_data
from unpaired.errors import ModelError
from unpaired.evaluation.test_set import as_tested
from unpaired.images import Image, resize
from unpaired.images.input_spec import InputSpec
from unpaired.images.labels import is_label_map
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate import DomainValues, read_model, write_model

SMALL = DataConfig(load_size=36, crop_size=32)
CLASSES = np.array([0, 7, 19, 33], np.uint8)


def classes(side: int = 70, seed: int = 0, kind: Any = np.uint8) -> np.ndarray[Any, Any]:
    """Return a map of class numbers in areas of 7 x 7 pixels, h w."""
    drawn = np.random.default_rng(seed).choice(CLASSES, (side // 7, side // 7))
    return np.kron(drawn, np.ones((7, 7), int)).astype(kind)


def photograph(side: int = 70, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def write(folder: Path, arrays: list[np.ndarray[Any, Any]]) -> Path:
    folder.mkdir(parents=True)
    for number, array in enumerate(arrays):
        PIL.Image.fromarray(array).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write(tmp_path / "trainA", [classes(seed=seed) for seed in range(3)])
    write(tmp_path / "trainB", [photograph(seed=seed) for seed in range(3)])
    return tmp_path


# ---- resizing ----


@pytest.mark.parametrize("size", [(36, 36), (35, 35), (10, 70), (70, 10), (7, 7), (140, 140), (143, 98), (1, 1)])
def test_nearest_picks_the_pixels_that_pillow_and_torch_pick(size: tuple[int, int]) -> None:
    made = resize(Image(photograph()), size, "nearest").pixels
    pillow = PIL.Image.fromarray(photograph()).resize(size[::-1], PIL.Image.Resampling.NEAREST)
    np.testing.assert_array_equal(made, np.asarray(pillow))
    chw = torch.from_numpy(photograph()).permute(2, 0, 1)[None]
    picked = torch.nn.functional.interpolate(chw, size, mode="nearest-exact")[0].permute(1, 2, 0)
    np.testing.assert_array_equal(made, picked.numpy())


def test_a_centre_between_two_pixels_takes_the_later_one_at_every_size() -> None:
    column = Image(np.arange(70, dtype=np.uint8)[None, :, None])
    for width in range(1, 300):
        picked = [math.floor(Fraction((2 * index + 1) * 70, 2 * width)) for index in range(width)]
        assert resize(column, (1, width), "nearest").pixels[0, :, 0].tolist() == picked


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "float32"])
def test_nearest_makes_no_value_that_was_not_there_in_any_type_with_alpha_too(kind: str) -> None:
    labels = classes(kind=kind) * np.array(100, kind) if kind != "uint8" else classes()
    made = resize(Image(labels[:, :, None], labels), (36, 50), "nearest")
    assert made.dtype == labels.dtype
    assert made.alpha is not None
    for array in (made.pixels, made.alpha):
        assert set(np.unique(array)) == set(np.unique(labels))
    assert len(np.unique(resize(Image(labels[:, :, None]), (36, 50)).pixels)) > 4  # bicubic makes others


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width", "scale_width_and_crop", "none"])
def test_each_domain_is_resized_in_its_own_way_by_every_preprocessing(preprocess: Any, pairs: Path) -> None:
    config = replace(SMALL, channels_a=1, resize_a="nearest", preprocess=preprocess)
    a, b = FolderSource(pairs / "trainA"), FolderSource(pairs / "trainB")
    for kind in (UnpairedDataset, PairedDataset):
        batch = kind(a, b, config, seed=0)[1]
        assert set(((batch.a + 1) * 127.5).round().unique().tolist()) <= set(CLASSES.tolist())
        swapped = replace(config, channels_a=3, channels_b=1, resize_a="bicubic", resize_b="nearest")
        batch = kind(b, a, swapped, seed=0)[1]
        assert set(((batch.b + 1) * 127.5).round().unique().tolist()) <= set(CLASSES.tolist())
        batch = kind(a, b, replace(config, resize_a="bicubic"), seed=0)[1]
        assert len(((batch.a + 1) * 127.5).round().unique()) > 4


def test_side_by_side_pairs_and_previews_are_resized_so_too(tmp_path: Path) -> None:
    sheets = [np.concatenate([np.repeat(classes()[:, :, None], 3, 2), photograph()], axis=1)]
    a, b = side_by_side(write(tmp_path / "train", sheets))
    batch = PairedDataset(a, b, replace(SMALL, resize_a="nearest"), seed=0).preview(1)
    assert set(((batch.a + 1) * 127.5).round().unique().tolist()) <= set(CLASSES.tolist())


def test_images_made_from_noise_are_resized_as_domain_b(pairs: Path) -> None:
    config = replace(SMALL, pairing="noise", channels_b=1, resize_b="nearest")
    batch = NoiseDataset(FolderSource(pairs / "trainA"), config, seed=0)[1]
    assert set(((batch.b + 1) * 127.5).round().unique().tolist()) <= set(CLASSES.tolist())


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = Image(classes()[:, :, None])
    assert prepare(image, replace(SMALL, load_size=70), InputSpec(channels=1, resize="nearest")) is image


# ---- evaluation ----


def test_a_test_resizes_as_training_did_and_model_json_keeps_how(tmp_path: Path) -> None:
    info = model_info(channels=1)
    assert "resize" not in (tmp_path / write_json(tmp_path, info)).read_text()
    values = {"A": DomainValues(resize="nearest"), "B": DomainValues()}
    info = replace(info, values=values)
    write_json(tmp_path, info)
    assert read_model(tmp_path / "model")[0].values == values
    seen = as_tested(Image(classes()[:, :, None]), info, "A", 1, 36)
    assert set(((seen + 1) * 127.5).round().unique().tolist()) <= set(CLASSES.tolist())
    assert len(((as_tested(Image(classes()[:, :, None]), info, "B", 1, 36) + 1) * 127.5).round().unique()) > 4


def write_json(tmp_path: Path, info: Any) -> str:
    write_model(tmp_path / "model", info, networks(info))
    return "model/model.json"


def test_another_word_for_resizing_in_model_json_is_refused(tmp_path: Path) -> None:
    info = replace(model_info(), values={"A": DomainValues(resize="nearest"), "B": DomainValues()})
    path = tmp_path / write_json(tmp_path, info)
    path.write_text(path.read_text().replace('"nearest"', '"lanczos"'))
    with pytest.raises(ModelError, match="lanczos"):
        read_model(tmp_path / "model")


# ---- which images are maps of classes ----


def scene(style: str) -> Callable[[], np.ndarray[Any, Any]]:
    return lambda: draw_scene(next(iter(scene_seeds("trainA", 1, seed=3))), style, 64)


def smooth_drawing() -> np.ndarray[Any, Any]:
    large = PIL.Image.fromarray(classes(70)).resize((700, 700), PIL.Image.Resampling.NEAREST).rotate(20)
    return np.asarray(large.resize((64, 64), PIL.Image.Resampling.BICUBIC))


MAPS: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
    "numbers": classes,
    "numbers of 16 bits": lambda: classes(kind=np.uint16) * np.uint16(1000),
    "colours": scene("labels"),
    "one channel three times": lambda: np.repeat(classes()[:, :, None], 3, axis=2),
}
PICTURES: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
    "photograph": photograph,
    "grey photograph": lambda: photograph()[:, :, 0],
    "summer": scene("summer"),
    "winter": scene("winter"),
    "night": scene("night"),
    "smooth drawing": smooth_drawing,
    "scan": lambda: (classes() > 10).astype(np.uint8) * np.uint8(255),
    "one colour": lambda: np.full((64, 64), 7, np.uint8),
    "gradient": lambda: (
        np.tile(np.arange(64, dtype=np.uint8), (64, 1)) * np.uint8(4) + np.arange(64, dtype=np.uint8)[:, None]
    ),
    "few grey levels": lambda: photograph()[:, :, 0] // np.uint8(32),
    "icon": lambda: classes()[:7, :7],
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_of_classes_are_known(name: str) -> None:
    array = MAPS[name]()
    assert is_label_map(array.reshape(*array.shape[:2], -1))


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_not_taken_for_maps(name: str) -> None:
    array = PICTURES[name]()
    assert not is_label_map(array.reshape(*array.shape[:2], -1))


# ---- findings ----


def found(checkup: Checkup) -> list[tuple[str, str, str]]:
    """Return place, first file and detail of the findings on maps of classes."""
    return [
        (finding.place, finding.items[0].paths[0].name, finding.items[0].detail)
        for finding in checkup.findings
        if finding.fault.code == "label_map"
    ]


def test_data_check_names_the_domain_and_the_option(pairs: Path) -> None:
    assert found(check_data(replace(SMALL, root=str(pairs)))) == [("trainA", "0.png", "--data.resize-a nearest")]
    assert not found(check_data(replace(SMALL, root=str(pairs), resize_a="nearest")))
    assert not found(check_data(replace(SMALL, root=str(pairs), preprocess="crop", crop_size=16)))


def test_data_check_finds_the_half_of_side_by_side_pairs(tmp_path: Path) -> None:
    sheets = [
        np.concatenate([photograph(seed=seed), np.repeat(classes(seed=seed)[:, :, None], 3, 2)], axis=1)
        for seed in range(3)
    ]
    write(tmp_path / "train", sheets)
    checkup = check_data(replace(SMALL, root=str(tmp_path)), pairing="paired")
    assert found(checkup) == [("train", "0.png", "--data.resize-b nearest")]


def test_one_map_among_photographs_is_none_of_its_business(tmp_path: Path) -> None:
    write(tmp_path / "x", [photograph(seed=1), photograph(seed=2), photograph(seed=3), classes()])
    assert not found(check_data(replace(SMALL, root=str(tmp_path / "x"))))


def test_training_says_so_before_step_one(pairs: Path) -> None:
    config = replace(SMALL, root=str(pairs), channels_a=1)
    (note,) = [note for note in open_domains(config).check(config) if "maps of classes" in note]
    assert note == (
        f"The images in {pairs / 'trainA'} look like maps of classes, and bicubic resizing mixes classes: if they are, "
        "add --data.resize-a nearest."
    )
    domains = open_domains(config)
    assert mixed_classes(domains.train_a, domains.train_b, replace(config, resize_a="nearest")) == []
    assert mixed_classes(None, domains.train_b, config) == []
