"""Domain A as noise: standard normal by sample, the class of the image behind it, images in a shuffled order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from unpaired.config import override
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.loading import batches
from unpaired.data.noise import NoiseDataset, class_names, noise_source
from unpaired.data.sources import FolderSource
from unpaired.errors import ConfigError, DataError
from unpaired.recipes import named
from unpaired.runs import default_out, train

CONFIG = DataConfig(pairing="noise", noise_channels=6, load_size=36, crop_size=32, flip=False)
LEVELS = {"cat": 10, "dog": 100, "owl": 200}


def save(path: Path, level: int, size: tuple[int, int] = (40, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (level,) * 3).save(path)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Three classes of grey squares: the level encodes class and number."""
    for name, level in LEVELS.items():
        for number in range(4):
            save(tmp_path / "animals" / "train" / name / f"{number}.png", level + number)
    return tmp_path / "animals"


def levels(images: torch.Tensor) -> list[int]:
    return [round(float(image.mean() + 1) * 127.5) for image in images]


def conditional(root: Path, seed: int = 0, config: DataConfig = CONFIG) -> NoiseDataset:
    source = noise_source(str(root), "", "")
    return NoiseDataset(source, config, seed, class_names(source))


def test_noise_is_standard_normal_and_indexed_by_sample(animals: Path) -> None:
    source = noise_source(str(animals), "", "")
    data = NoiseDataset(source, replace(CONFIG, noise_channels=100, batch_size=4), 0)
    assert data[1].a.shape == (4, 100, 1, 1)
    assert data[1].b.shape == (4, 3, 32, 32)
    assert data[1].a.dtype == torch.float32
    values = torch.cat([data[step].a.flatten() for step in range(1, 51)])
    assert abs(values.mean()) < 4 / len(values) ** 0.5
    assert abs(values.var() - 1) < 4 * (2 / len(values)) ** 0.5
    assert len(values.unique()) > 0.999 * len(values)  # single precision has few enough values for some to meet
    single = NoiseDataset(source, replace(CONFIG, noise_channels=100), 0)
    assert torch.equal(data[3].a, torch.cat([single[step].a for step in range(9, 13)]))
    assert not torch.equal(single[1].a, NoiseDataset(source, replace(CONFIG, noise_channels=100), 1)[1].a)


def test_an_epoch_shows_every_image_once_in_a_new_order(animals: Path) -> None:
    data = conditional(animals)
    assert data.length == 12
    orders = [[data.image_of(epoch * 12 + i) for i in range(12)] for epoch in range(3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_class_behind_the_noise_is_that_of_the_image(animals: Path) -> None:
    data, seen = conditional(animals), set()
    for step in range(1, 25):
        batch = data[step]
        assert batch.a.shape == (1, 9, 1, 1)
        one_hot = batch.a[0, 6:].flatten().tolist()
        assert sorted(one_hot) == [0, 0, 1]
        name, level = list(LEVELS)[one_hot.index(1)], levels(batch.b)[0]
        assert level in range(LEVELS[name], LEVELS[name] + 4)
        assert data.names_of(step) == [f"{name}/{level - LEVELS[name]}.png"]
        seen.add(name)
    assert seen == set(LEVELS)


def test_the_noise_of_a_sample_is_the_same_with_and_without_classes(animals: Path) -> None:
    plain = NoiseDataset(noise_source(str(animals), "", ""), CONFIG, 0)
    assert torch.equal(plain[5].a, conditional(animals)[5].a[:, :6])


def test_the_preview_is_fixed_noise_with_the_classes_in_turn(animals: Path) -> None:
    data = conditional(animals)
    before = data.preview(7)
    data[1], data[30]
    after = data.preview(7)
    assert torch.equal(before.a, after.a)
    assert torch.equal(before.b, after.b)
    assert before.a[:, 6:, 0, 0].argmax(dim=1).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert levels(before.b) == [10, 100, 200, 11, 101, 201, 12]
    assert len(before.a[:, :6].unique()) == 42
    assert not torch.equal(before.a[:1], data[1].a)
    plain = NoiseDataset(noise_source(str(animals), "", ""), CONFIG, 0).preview(14)
    assert levels(plain.b)[10:] == [202, 203, 10, 11]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_batches_are_the_same_for_any_number_of_loader_processes(animals: Path) -> None:
    alone, helped = (list(batches(conditional(animals), 3, 7, workers)) for workers in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.a, other.a)
        assert torch.equal(one.b, other.b)


def test_the_images_are_those_of_train_or_train_b_or_the_folder_itself(animals: Path, tmp_path: Path) -> None:
    assert noise_source(str(animals), "", "").folder == animals / "train"
    assert noise_source("", "", str(animals / "train" / "cat")).folder == animals / "train" / "cat"
    assert noise_source(str(animals / "train"), "", "").folder == animals / "train"
    save(tmp_path / "two" / "trainB" / "x.png", 1)
    assert noise_source(str(tmp_path / "two"), "", "").folder == tmp_path / "two" / "trainB"
    with pytest.raises(DataError, match="--a is given, but domain A is noise"):
        noise_source("", "left", "right")
    with pytest.raises(DataError, match="No data"):
        noise_source("", "", "")
    with pytest.raises(DataError, match="is not a folder"):
        noise_source(str(tmp_path / "nowhere"), "", "")


def test_classes_are_the_sorted_outermost_folders(animals: Path, tmp_path: Path) -> None:
    save(animals / "train" / "ant" / "red" / "x.png", 1)
    (animals / "train" / "empty").mkdir()
    assert class_names(FolderSource(animals / "train")) == ("ant", "cat", "dog", "owl")
    with pytest.raises(DataError, match="4 lie in"):
        class_names(FolderSource(animals / "train" / "cat"))
    save(tmp_path / "one" / "only" / "x.png", 1)
    with pytest.raises(DataError, match="holds one class, only"):
        class_names(FolderSource(tmp_path / "one"))


def test_the_run_records_the_classes_and_counts_the_channels(animals: Path) -> None:
    config = replace(CONFIG, root=str(animals), classes=True)
    domains = open_domains(config)
    facts = domains.facts()
    assert facts["B"]["classes"] == ["cat", "dog", "owl"]
    assert (facts["A"]["name"], facts["A"]["images"]) == ("noise", 0)
    assert (facts["B"]["name"], facts["B"]["images"]) == ("animals", 12)
    assert domains.settled(config).channels_a == 9
    assert domains.settled(domains.settled(config)) == domains.settled(config)
    assert domains.described(config) == "12 images of 3 classes"
    domains.check(config)
    dataset = domains.dataset(domains.settled(config), 0)
    assert dataset[1].a.shape[1] == domains.previews(config, 0).preview(2).a.shape[1] == 9
    plain = replace(config, classes=False)
    assert open_domains(plain).settled(plain).channels_a == 6
    assert "classes" not in open_domains(plain).facts()["B"]


def test_images_are_looked_at_before_training(animals: Path) -> None:
    (animals / "train" / "cat" / "2.png").write_text("<html>")
    config = replace(CONFIG, root=str(animals))
    with pytest.raises(DataError, match=r"2\.png"):
        open_domains(config).check(config)


def test_images_that_keep_their_sizes_are_previewed_in_the_middle(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1, (50, 40))
    save(tmp_path / "b.png", 2, (30, 60))
    data = NoiseDataset(FolderSource(tmp_path), replace(CONFIG, preprocess="none"), 0)
    assert data.preview(2).b.shape == (2, 3, 32, 32)
    assert np.allclose(levels(data.preview(2).b), [1, 2])


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.classes is for data\.pairing noise"):
        DataConfig(classes=True)
    with pytest.raises(ConfigError, match=r"data\.noise_channels must be at least 1"):
        DataConfig(noise_channels=0)


def test_a_conditional_gan_trains_on_folders_of_classes(animals: Path, tmp_path: Path) -> None:
    settings = {
        "data.b": str(animals / "train"),
        "data.load_size": 32,
        "data.crop_size": 32,
        "data.batch_size": 4,
        "generator.size": 32,
        "generator.base_channels": 4,
        "discriminator.size": 32,
        "discriminator.base_channels": 4,
        "schedule.num_steps": 3,
        "run.device": "cpu",
    }
    config = override(named("cgan"), settings)
    run = train(config, out=tmp_path / "run")
    assert run.finished
    assert run.num_images == {"A": 0, "B": 12}
    assert json.loads((tmp_path / "run" / "data.json").read_text())["B"]["classes"] == ["cat", "dog", "owl"]
    assert "channels_a: 103" in (tmp_path / "run" / "config.yaml").read_text()
    assert train(config, out=tmp_path / "run") == run
    assert default_out(config.data).name == "train"
