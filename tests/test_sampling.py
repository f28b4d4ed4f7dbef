"""Sampling: images from noise, by a GAN's model folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unpaired.cli import main
from unpaired.config import override
from unpaired.errors import ConfigError
from unpaired.recipes import at_size, cgan, gan
from unpaired.runs import train
from unpaired.translate import Translator
from unpaired.translate.sampling import Sampler

SMALL = {
    "data.batch_size": 4,
    "generator.base_channels": 8,
    "discriminator.base_channels": 8,
    "schedule.num_steps": 3,
    "run.sample_every": 0,
    "optimizer.learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional GAN of three steps, on dark and light squares."""
    folder = tmp_path_factory.mktemp("sampling")
    for name, level in {"dark": 40, "light": 220}.items():
        (folder / "data" / name).mkdir(parents=True)
        for number in range(4):
            PIL.Image.new("RGB", (32, 32), (level, level, number)).save(folder / "data" / name / f"{number}.png")
    config = at_size(cgan(), 32)
    config = override(config, {**SMALL, "data.root": str(folder / "data")})
    return train(config, out=folder / "run").path


def test_image_k_depends_on_the_seed_and_its_number_alone(classes: Path) -> None:
    sampler = Sampler.load(classes / "model")
    few, many = list(sampler(3, seed=1)), list(sampler(70, seed=1))
    # Batches of another length may round the last bit differently, which no level of 256 shows.
    for (name, image), (same, other) in zip(few, many, strict=False):
        assert name == same
        assert np.abs(image.pixels.astype(int) - other.pixels.astype(int)).max() <= 1
    assert not np.array_equal(next(sampler(1, seed=2))[1].pixels, few[0][1].pixels)


def test_classes_come_in_turn_or_as_asked_for(classes: Path) -> None:
    sampler = Sampler.load(classes)
    assert sampler.classes == ("dark", "light")
    assert [name for name, _ in sampler(4)] == ["dark", "light", "dark", "light"]
    assert [name for name, _ in sampler(2, class_name="light")] == ["light", "light"]
    dark, light = next(sampler(1, class_name="dark"))[1], next(sampler(1, class_name="light"))[1]
    assert not np.array_equal(dark.pixels, light.pixels)


def test_the_command_writes_files_and_replaces_none(classes: Path, tmp_path: Path) -> None:
    arguments = ["sample", str(classes / "model"), "--out", str(tmp_path), "--count", "3", "--class", "dark"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark-0000.png", "dark-0001.png", "dark-0002.png"]
    with PIL.Image.open(tmp_path / "dark-0000.png") as picture:
        assert (picture.size, picture.mode) == ((32, 32), "RGB")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 73


def test_an_unknown_class_is_told_with_those_there_are(classes: Path) -> None:
    with pytest.raises(ConfigError, match="dark, light"):
        list(Sampler.load(classes)(1, class_name="bird"))
    with pytest.raises(ConfigError, match="at least 1"):
        list(Sampler.load(classes)(0))


def test_a_model_without_classes_says_so(classes: Path, tmp_path: Path) -> None:
    config = override(at_size(gan(), 32), {**SMALL, "data.root": str(classes.parent / "data")})
    run = train(config, out=tmp_path / "run").path
    assert "classes" not in json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))
    assert [name for name, _ in Sampler.load(run)(2)] == ["", ""]
    with pytest.raises(ConfigError, match="has no classes"):
        list(Sampler.load(run)(1, class_name="dark"))


def test_samplers_and_translators_point_to_each_other(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unpaired sample"):
        Translator.load(classes)
