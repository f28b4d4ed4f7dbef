"""The whole configuration, and recipes: functions that return one.

A recipe is a published system or an improvement on one with its evidence. Your own is a function in a file:
`--recipe my_recipe.py:wide` calls `wide()`, which returns a Config, e.g. by `dataclasses.replace` on one of these.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from unpaired.config import unknown
from unpaired.data.datasets import DataConfig
from unpaired.errors import ConfigError
from unpaired.networks import Discriminator, Generator, PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN, Method
from unpaired.training.loop import RunConfig
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run, immutable; the defaults are the paper's, at 256 x 256."""

    data: DataConfig = field(default_factory=DataConfig)
    objective: Method = field(default_factory=CycleGAN)
    generator: Generator = field(default_factory=ResNetGenerator)
    discriminator: Discriminator = field(default_factory=PatchGAN)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        crop = self.data.crop_size
        smallest = max(self.discriminator.min_size, self.generator.min_size)
        if self.data.preprocess in ("none", "scale_width"):
            return
        if crop % self.generator.multiple or crop < smallest:
            raise ConfigError(
                f"data.crop_size (--size) must be a multiple of {self.generator.multiple} and at least {smallest} for "
                f"these networks, not {crop}."
            )


def paper() -> Config:
    """CycleGAN as published (Zhu et al. 2017), with the identity term that the official code has on by default."""
    return Config()


def demo() -> Config:
    """A small CycleGAN that learns drawn scenes at 64 x 64 on two processor cores within minutes."""
    return Config(
        data=DataConfig(load_size=70, crop_size=64),
        generator=ResNetGenerator(base_channels=16, num_blocks=6, num_downs=1),
        discriminator=PatchGAN(base_channels=32, num_layers=2),
        optimizer=OptimizerConfig(learning_rate=4e-4, ema_decay=0.995),
        schedule=ScheduleConfig(num_steps=2600),
        run=RunConfig(log_every=20, sample_every=650, checkpoint_every=650),
    )


RECIPES: dict[str, Callable[[], Config]] = {"paper": paper, "demo": demo}
"""The recipes by name; "paper" is the default of every command."""


def named(name: str) -> Config:
    """Return the configuration of a recipe: a name of RECIPES, or `file.py:function` of your own.

    Raises ConfigError for an unknown name, a missing file or function, or a function that returns no Config.
    """
    if ".py:" not in name:
        if name not in RECIPES:
            raise ConfigError(unknown(name, RECIPES, "recipe"))
        return RECIPES[name]()
    file, function = name.rsplit(":", 1)
    spec = importlib.util.spec_from_file_location("user_recipe", Path(file))
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise ConfigError(f"The recipe file {file} does not exist; check --recipe.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe = getattr(module, function, None)
    config = recipe() if callable(recipe) else None
    if not isinstance(config, Config):
        raise ConfigError(f"{file} has no function {function}() that returns a Config; check --recipe.")
    return config


def at_size(config: Config, size: int) -> Config:
    """Return the recipe for crops of size x size, as the paper scales it.

    The images are resized in the published proportion (286 for 256), and a published ResNet generator has 6 blocks
    below 256 and 9 from there on (section 7.1); a generator of another depth keeps it.
    """
    data = replace(config.data, crop_size=size, load_size=max(size, round(size * 286 / 256)))
    generator = config.generator
    if generator == ResNetGenerator():
        generator = replace(generator, num_blocks=9 if size >= 256 else 6)
    return replace(config, data=data, generator=generator)
