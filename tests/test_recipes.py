"""The recipes equal the publications, number for number, and a custom recipe is a function in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml

from unpaired.cli.settings import resolve
from unpaired.config import flatten, from_dict, require_rebuildable, to_dict, to_yaml
from unpaired.errors import ConfigError
from unpaired.networks import ResNetGenerator
from unpaired.recipes import RECIPES, Config, at_size, named, paper
from unpaired.runs import train
from unpaired.training.schedule import Schedule

PAPER = {
    # Zhu et al. 2017, section 4 and 7.1; the code's defaults where the paper is silent
    "data.pairing": "unpaired",
    "data.classes": False,
    "data.load_size": 286,
    "data.crop_size": 256,
    "data.preprocess": "resize_and_crop",
    "data.flip": True,
    "data.channels_a": 3,
    "data.channels_b": 3,
    "data.batch_size": 1,
    "data.range": "dtype",
    "data.range_a": "",
    "data.range_b": "",
    "data.resize_a": "bicubic",
    "data.resize_b": "bicubic",
    "data.icc": "ignore",
    "objective.kind": "cyclegan",
    "objective.cycle_weight_a": 10.0,
    "objective.cycle_weight_b": 10.0,
    "objective.identity_weight": 0.5,
    "objective.identity_every": 1,
    "objective.adversarial_weight": 1.0,
    "objective.adversarial": "lsgan",
    "objective.pool_size": 50,
    "objective.augmentation": [],
    "objective.augmentation_probability": 1.0,
    "generator.kind": "resnet",
    "generator.base_channels": 64,
    "generator.num_blocks": 9,
    "generator.num_downs": 2,
    "generator.norm": "instance",
    "generator.dropout": False,
    "generator.upsampling": "transposed",
    "generator.antialias": False,
    "generator.num_deformable_blocks": 0,
    "generator.num_attention_blocks": 0,
    "generator.displacement": False,
    "discriminator.kind": "patchgan",
    "discriminator.base_channels": 64,
    "discriminator.num_layers": 3,
    "discriminator.norm": "instance",
    "discriminator.num_discriminators": 1,
    "optimizer.learning_rate": 2e-4,
    "optimizer.discriminator_learning_rate": None,
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.ema_decay": 0.0,
    "schedule.num_epochs_constant": 100,
    "schedule.num_epochs_decay": 100,
    "schedule.num_steps": None,
    "run.precision": "fp32",
}


@pytest.mark.parametrize("path", PAPER)
def test_the_paper_recipe_has_the_published_value(path: str) -> None:
    assert flatten(paper())[path] == PAPER[path]


def test_every_setting_that_can_change_the_result_has_a_published_value() -> None:
    # The paper has none of them.
    own = {"run.seed", "data.background", "data.noise_channels"}
    own |= {"data.nodata_fill", "data.nodata_fill_a", "data.nodata_fill_b", "data.masks"}
    own |= {
        path
        for path in flatten(paper())
        if path.startswith(("start.", "objective.augmentation_target", "schedule.restart_after"))
    }
    assert set(flatten(paper(), without_free=True)) - own == set(PAPER)


def test_the_paper_recipe_is_the_default() -> None:
    assert paper() == Config() == named("paper")


def test_the_paper_recipe_makes_published_networks_and_schedule() -> None:
    config = paper()
    with torch.device("meta"):
        generator, discriminator = config.generator.build(3, 3), config.discriminator.build(3)
    assert sum(p.numel() for p in generator.parameters()) == 11_378_179
    assert sum(p.numel() for p in discriminator.parameters()) == 2_764_737
    assert Schedule(config.schedule, epoch_length=1334, batch_size=1).num_steps == 200 * 1334  # horse2zebra


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_yaml_and_builds_networks_for_its_size(name: str) -> None:
    config = named(name)
    plain = yaml.safe_load(to_yaml(config))
    plain.pop("schema")
    assert from_dict(Config, plain) == config
    size, channels = config.data.crop_size, config.data.channels_a
    side = 1 if config.data.pairing == "noise" else size
    with torch.device("meta"):
        made = config.generator.build(channels, 3)(torch.empty(2, channels, side, side))
        assert made.shape == (2, 3, size, size)
        assert config.discriminator.build(3)(made).shape[-1] >= 1
    assert config.data.load_size >= size


@pytest.mark.parametrize(
    ("size", "load_size", "num_blocks"), [(64, 72, 6), (128, 143, 6), (256, 286, 9), (512, 572, 9)]
)
def test_another_size_scales_the_recipe_as_the_paper_does(size: int, load_size: int, num_blocks: int) -> None:
    config = at_size(paper(), size)
    assert (config.data.crop_size, config.data.load_size) == (size, load_size)
    assert config.generator == ResNetGenerator(num_blocks=num_blocks)
    assert replace(config, data=paper().data, generator=paper().generator) == paper()


def test_another_size_leaves_a_generator_that_is_not_the_published_one_as_it_is() -> None:
    own = replace(paper(), generator=ResNetGenerator(num_blocks=4, upsampling="resize"))
    assert at_size(own, 128).generator == own.generator


def test_geometry_is_the_demo_with_displacement_without_identity_term() -> None:
    demo, geometry = flatten(named("demo")), flatten(named("geometry"))
    assert {path: value for path, value in geometry.items() if demo[path] != value} == {
        "objective.cycle_weight_a": 4,
        "objective.cycle_weight_b": 4,
        "objective.identity_weight": 0,
        "generator.displacement": True,
    }


@pytest.mark.parametrize("size", [30, 130, 16, 0])
def test_a_size_the_networks_cannot_take_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=r"data\.(crop|load)_size"):
        at_size(paper(), size)


def test_an_unknown_recipe_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"Unknown recipe papr; did you mean paper\?"):
        named("papr")
    with pytest.raises(ConfigError, match=r"choose from: paper, .*demo"):
        named("something else")


OWN = """
from __future__ import annotations

from dataclasses import dataclass, replace

from unpaired.recipes import paper


@dataclass(frozen=True)
class Width:
    channels: int = 96


def wide():
    config = paper()
    return replace(config, generator=replace(config.generator, base_channels=Width().channels))


def broken():
    return 3


number = 3
"""


def test_a_recipe_of_ones_own_is_a_function_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my recipe.py"
    path.write_text(OWN)
    config = named(f"{path}:wide")
    assert config.generator == ResNetGenerator(base_channels=96)
    assert to_dict(config)["data"] == to_dict(paper())["data"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.py:wide", "none.py does not exist"),
        ("mine.py:slim", r"has no function slim\(\) that returns a Config"),
        ("mine.py:broken", r"has no function broken\(\) that returns a Config"),
        ("mine.py:number", r"has no function number\(\) that returns a Config"),
        ("mine.py:", "no function"),
    ],
)
def test_a_recipe_file_without_the_function_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    with pytest.raises(ConfigError, match=message):
        named(f"{tmp_path}/{name}")


# --- what cannot be rebuilt from its settings ------------------------------------------------------

OWN_PARTS = """
from dataclasses import dataclass, replace
from typing import ClassVar
from unpaired.networks import ResNetGenerator
from unpaired.recipes import paper

@dataclass(frozen=True, kw_only=True)
class Wide(ResNetGenerator):
    kind: ClassVar[str] = "wide"

@dataclass(frozen=True, kw_only=True)
class Disguised(ResNetGenerator):
    pass

def wide():
    return replace(paper(), generator=Wide())

def disguised():
    return replace(paper(), generator=Disguised())

def odd():
    import numpy as np
    return replace(paper(), optimizer=replace(paper().optimizer, learning_rate=np.float32(2e-4)))
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("disguised", "The generator resnet of the file own.py .* has the kind of a built-in one"),
        ("odd", "optimizer is OptimizerConfig, which cannot be rebuilt from its settings.*use plain values"),
    ],
)
def test_what_cannot_be_rebuilt_from_its_settings_is_refused_before_step_one(
    tmp_path: Path, function: str, words: str, clean_registries: None
) -> None:
    (tmp_path / "own.py").write_text(OWN_PARTS)
    recipe = f"{tmp_path / 'own.py'}:{function}"
    for size in (None, 64):
        with pytest.raises(ConfigError, match=words):
            resolve(recipe, None, size, None, None, {}, ())
    with pytest.raises(ConfigError, match=words):
        train(named(recipe), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True, kw_only=True)
class Unregistered(ResNetGenerator):
    kind: ClassVar[str] = "unregistered"


@dataclass(frozen=True, kw_only=True)
class Disguised(ResNetGenerator):
    pass


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        (Unregistered, "pass its class to unpaired.register, with a unique kind"),
        (Disguised, "give its class another kind than 'resnet' and pass it to unpaired.register"),
    ],
)
def test_a_class_that_nobody_registered_is_refused_with_the_remedy(
    tmp_path: Path, part: type[ResNetGenerator], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=f"cannot be rebuilt from its settings.*{remedy}"):
        train(replace(paper(), generator=part()), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_the_package_can_be_rebuilt(name: str) -> None:
    require_rebuildable(RECIPES[name]())
