"""The complete configuration, and recipes: functions that return one.

A recipe is a published system, or an improvement with evidence. A user-defined recipe is a function in a file:
`--recipe my_recipe.py:wide` calls `wide()`, which returns a Config, e.g. by `dataclasses.replace` on one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from unpaired.config import override, require
from unpaired.data.datasets import WHOLE_IMAGE_MULTIPLE, WHOLE_IMAGES, DataConfig
from unpaired.errors import ConfigError
from unpaired.networks import (
    AttentionGenerator,
    CoupledDiscriminator,
    CoupledGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    DiscriminatorConfig,
    GeneratorConfig,
    PatchGAN,
    PixelShuffleGenerator,
    ResNetGenerator,
    UNetGenerator,
)
from unpaired.networks.protocols import at_size as part_at_size
from unpaired.networks.protocols import makes_from_noise, translates_by_search, validate
from unpaired.networks.recompute import recomputing_networks
from unpaired.objectives import CUT, GAN, BiGAN, CoGAN, CycleGAN, FeatureGAN, MethodConfig, Pix2Pix, SimGAN, Style
from unpaired.objectives.losses import adversarial_loss
from unpaired.recipe_files import load_file as load_file
from unpaired.recipe_files import register_parts, user_code
from unpaired.storage import at_home, shown
from unpaired.suggestions import unknown
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.start_config import StartConfig
from unpaired.training.state import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run, immutable; the defaults are the paper's, at 256 x 256."""

    data: DataConfig = field(default_factory=DataConfig)
    """Images: folders, sizes, preprocessing, channels, value ranges, loading."""
    objective: MethodConfig = field(default_factory=CycleGAN)
    """Training method, chosen by its kind, with the weights of its losses."""
    generator: GeneratorConfig = field(default_factory=ResNetGenerator)
    """Generator network, chosen by its kind, with its size."""
    discriminator: DiscriminatorConfig = field(default_factory=PatchGAN)
    """Discriminator network, chosen by its kind, with its size."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Adam: learning rates, moments, weight average."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Length of the run and decay of its learning rate."""
    run: RunConfig = field(default_factory=RunConfig)
    """Execution: seed, device, precision, memory, checkpoints, logging, monitoring."""
    start: StartConfig = field(default_factory=StartConfig)
    """Weights that a new run starts from, instead of new ones."""

    def __post_init__(self) -> None:
        for name, sides in (
            ("generator.multiple", self.generator.multiple),
            ("generator.min_size", self.generator.min_size),
            ("discriminator.min_size", self.discriminator.min_size),
        ):
            require(
                isinstance(sides, int) and sides >= 1, f"{name} must be a whole number of at least 1, not {sides!r}."
            )
        data, pairing = self.data, self.objective.pairing
        require(
            data.pairing == pairing,
            f"objective.kind {self.objective.kind} needs data.pairing {pairing}, not {data.pairing}; the method's "
            "recipe sets both.",
        )
        validate(self.objective, self)
        self._check_masks()
        if data.preprocess in WHOLE_IMAGES:
            self._check_whole_images()
        else:
            smallest = max(self.discriminator.min_size, self.generator.min_size)
            require(
                data.crop_size % self.generator.multiple == 0 and data.crop_size >= smallest,
                f"data.crop_size (--size) must be a multiple of {self.generator.multiple} and at least {smallest} for "
                f"these networks, not {data.crop_size}.",
            )
        validate(self.generator, self)
        validate(self.discriminator, self)

    def _check_masks(self) -> None:
        """Raise ConfigError if training uses masks and the method cannot."""
        if self.data.masks != "on":
            return
        method, off = self.objective, "give --data.masks off"
        require(
            getattr(method, "takes_masks", False),
            f"objective.kind {method.kind} does not train with masks, only cyclegan and cut do; {off}.",
        )
        require(
            self.data.channels_a == self.data.channels_b,
            f"Masks keep pixels of the input, but the domains have {self.data.channels_a} and {self.data.channels_b} "
            f"channels; {off}.",
        )
        loss = getattr(method, "adversarial", "lsgan")
        require(not adversarial_loss(loss).penalised, f"objective.adversarial {loss} does not train with masks; {off}.")
        moved = [name for name in getattr(method, "augmentation", ()) if name != "colour"]
        require(
            not moved,
            f"objective.augmentation {', '.join(moved)} would change images and not their masks; leave it out, or "
            f"{off}.",
        )

    def _check_whole_images(self) -> None:
        """Raise ConfigError unless the components support images of any size, rounded to multiples of 4."""
        name, multiple = self.data.preprocess, self.generator.multiple
        require(
            WHOLE_IMAGE_MULTIPLE % multiple == 0 and not makes_from_noise(self.generator),
            f"data.preprocess {name} makes sides multiples of {WHOLE_IMAGE_MULTIPLE}, but this generator needs "
            f"multiples of {multiple}; use a preprocess that crops.",
        )
        require(
            not translates_by_search(self.generator),
            f"generator.kind {self.generator.kind} makes images of one size, which data.preprocess {name} does not "
            "provide; use a preprocess that crops.",
        )
        loss = getattr(self.objective, "adversarial", None)
        require(
            loss is None or not adversarial_loss(loss).penalised,
            f"objective.adversarial {loss} needs images of one size, which data.preprocess {name} does not provide; "
            "use a preprocess that crops.",
        )


def build_objective(config: Config) -> Any:
    """Return the untrained objective of a configuration, with initial weights from `run.seed`."""
    data = config.data
    objective = config.objective.build(
        config.generator, config.discriminator, data.channels_a, data.channels_b, config.run.seed
    )
    for player, modules in objective.players().items():
        require(
            next(modules.parameters(), None) is not None,
            f"objective.kind {config.objective.kind} has no {player}, and each player of a method needs a network; "
            "put one into its translators or discriminators.",
        )
    networks = recomputing_networks(objective)
    require(
        bool(networks) or not config.run.recompute,
        f"run.recompute needs a generator with activation checkpointing, such as resnet and unet, not "
        f"{config.generator.kind}; remove it.",
    )
    for network in networks:
        network.recompute = config.run.recompute
    whole = objective.prevents_accumulation()
    require(
        not whole or config.run.accumulate == 1,
        f"run.accumulate with {whole} would not be equivalent to a step on the whole batch; remove one of them.",
    )
    objective.num_micro_batches = config.run.accumulate
    objective.masked = config.data.masks == "on"
    if config.run.layout == "channels_last":
        for weight in objective.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return objective


def paper() -> Config:
    """CycleGAN as published (Zhu et al. 2017), with the identity term, the official code's default."""
    return Config()


def demo() -> Config:
    """A small CycleGAN that learns drawn scenes at 64 x 64 on two CPU cores within minutes."""
    return Config(
        data=DataConfig(load_size=70, crop_size=64),
        generator=ResNetGenerator(base_channels=16, num_blocks=6, num_downs=1),
        discriminator=PatchGAN(base_channels=32, num_layers=2),
        optimizer=OptimizerConfig(learning_rate=4e-4, ema_decay=0.995),
        schedule=ScheduleConfig(num_steps=1900),
        run=RunConfig(log_every=20, sample_every=475, checkpoint_every=475, held_out_every=475),
    )


def fast() -> Config:
    """A CycleGAN for 64 x 64 that exceeds the final score of the paper's recipe after a third of its time.

    Measured on maps and scenes on a CPU (benchmarks/2026-11-29-fast.md): the demo's networks in bfloat16 (float32 on
    devices without native bfloat16), a longer EMA, and cycle weights of 3 instead of 10, which had a higher class
    accuracy on held-out validation maps.
    """
    return replace(
        demo(),
        objective=CycleGAN(cycle_weight_a=3, cycle_weight_b=3),
        optimizer=OptimizerConfig(learning_rate=4e-4, ema_decay=0.998),
        schedule=ScheduleConfig(num_steps=12_000),
        run=RunConfig(precision="auto", log_every=100, sample_every=1000, checkpoint_every=1000, held_out_every=1000),
    )


def photo() -> Config:
    """A CycleGAN for photographs at 128 x 128 on a CPU: thin generators that change their input where they must.

    Measured on horses and zebras (benchmarks/photographs.md): the trunk works on unshuffled pixels, and the generators
    start as the identity; cycle weights are 4, and identity terms take part in every other step.
    """
    return Config(
        data=DataConfig(load_size=143, crop_size=128),
        objective=CycleGAN(cycle_weight_a=4, cycle_weight_b=4, identity_every=2),
        generator=PixelShuffleGenerator(),
        discriminator=PatchGAN(base_channels=32),
        optimizer=OptimizerConfig(learning_rate=4e-4, ema_decay=0.998),
        schedule=ScheduleConfig(num_steps=10_000),
        run=RunConfig(precision="auto", log_every=100, sample_every=1000, checkpoint_every=1000),
    )


def geometry() -> Config:
    """A CycleGAN for 64 x 64 whose generators move pixels, for domains whose objects differ in shape.

    Measured on drawn fruit and landscapes on a CPU (benchmarks/2026-12-01-geometry.md): the demo with displacement,
    cycle weights of 4 and no identity term; with the term such a generator may return its input. The field of the
    discriminators, 34 pixels, should cover an object.
    """
    return override(
        replace(demo(), objective=CycleGAN(cycle_weight_a=4, cycle_weight_b=4, identity_weight=0)),
        {"generator.displacement": True},
    )


def cycle_alone() -> Config:
    """The paper's ablation without adversarial losses (section 5.1.4, "Cycle alone")."""
    return replace(paper(), objective=CycleGAN(identity_weight=0, adversarial_weight=0))


def gan_alone() -> Config:
    """The paper's ablation without cycle consistency ("GAN alone")."""
    return replace(paper(), objective=CycleGAN(identity_weight=0, cycle_weight_a=0, cycle_weight_b=0))


def gan_forward() -> Config:
    """The paper's ablation with the forward cycle a -> b -> a only ("GAN + forward")."""
    return replace(paper(), objective=CycleGAN(identity_weight=0, cycle_weight_b=0))


def gan_backward() -> Config:
    """The paper's ablation with the backward cycle b -> a -> b only ("GAN + backward")."""
    return replace(paper(), objective=CycleGAN(identity_weight=0, cycle_weight_a=0))


def attention() -> Config:
    """CycleGAN with an attention-gated generator, which keeps content unlike all training images.

    G(x) = m T(x) + (1 - m) x (Alami Mejjati et al. 2018, Tang et al. 2019). The mask m learns from objects of random
    shape and texture that are planted into training images (benchmarks/2026-12-01-attention.md).
    """
    return replace(paper(), generator=AttentionGenerator())


def pix2pix() -> Config:
    """pix2pix as published (Isola et al. 2017): U-Net-256 with dropout, batch norm, L1 100, on pairs."""
    return Config(
        data=DataConfig(pairing="paired"),
        objective=Pix2Pix(),
        generator=UNetGenerator(dropout=True),
        discriminator=PatchGAN(norm="batch"),
    )


def l1_alone() -> Config:
    """pix2pix's ablation without a discriminator (section 4.2, "L1")."""
    return replace(pix2pix(), objective=Pix2Pix(adversarial_weight=0))


def l1_gan() -> Config:
    """pix2pix's ablation whose discriminator does not see the input ("L1+GAN")."""
    return replace(pix2pix(), objective=Pix2Pix(conditional=False))


def cgan_alone() -> Config:
    """pix2pix's ablation without L1 ("cGAN")."""
    return replace(pix2pix(), objective=Pix2Pix(l1_weight=0))


def cut() -> Config:
    """CUT as published (Park et al. 2020): 200 epochs constant, 200 decaying."""
    return replace(paper(), objective=CUT(), schedule=ScheduleConfig(num_epochs_constant=200, num_epochs_decay=200))


def fastcut() -> Config:
    """FastCUT as published: contrast weight 10, no identity contrast, mirrored half the time, 150 + 50 epochs."""
    return replace(
        paper(),
        objective=CUT(contrast_weight=10, identity_contrast=False, flip_equivariance=True),
        schedule=ScheduleConfig(num_epochs_constant=150, num_epochs_decay=50),
    )


def simgan() -> Config:
    """SimGAN as the CycleGAN paper compares it (section 5.1.2): the paper's networks and least squares, L1 10."""
    return replace(paper(), objective=SimGAN(adversarial="lsgan"))


def feature_gan() -> Config:
    """Feature loss + GAN as the CycleGAN paper compares it, with random features in place of VGG-16's relu4_2."""
    return replace(paper(), objective=FeatureGAN(adversarial="lsgan"))


def style() -> Config:
    """Feed-forward style transfer (Johnson et al. 2016): Adam at 1e-3, 40,000 steps on 4 images, random features.

    The generator is the paper's ResNet, as CycleGAN adopted it, with instance norm; it upsamples without checkerboards,
    and the rate decays over the second half. `objective.features` takes the weights of VGG-16, the published features.
    """
    return replace(
        paper(),
        generator=ResNetGenerator(upsampling="resize"),
        data=DataConfig(batch_size=4),
        objective=Style(),
        optimizer=OptimizerConfig(learning_rate=1e-3, beta1=0.9),
        schedule=ScheduleConfig(num_steps=40_000),
    )


def gan() -> Config:
    """Images from noise (Goodfellow et al. 2014) with the networks and sizes of DCGAN (Radford et al. 2016)."""
    return Config(
        data=DataConfig(pairing="noise", load_size=64, crop_size=64, batch_size=128, channels_a=100),
        objective=GAN(),
        generator=DCGANGenerator(),
        discriminator=DCGANDiscriminator(),
        schedule=ScheduleConfig(num_epochs_constant=25, num_epochs_decay=0),
    )


def cgan() -> Config:
    """Class-conditional images from noise (Mirza & Osindero 2014); the image folders are the classes."""
    return replace(gan(), data=replace(gan().data, classes=True), objective=GAN(conditional=True))


def bigan() -> Config:
    """BiGAN/ALI between image domains (Donahue et al., Dumoulin et al. 2017), with CycleGAN's networks and schedule.

    The comparison of the CycleGAN paper trains its baselines like this (section 5.1.2).
    """
    return replace(paper(), objective=BiGAN())


def cogan() -> Config:
    """CoGAN (Liu & Tuzel 2016) with DCGAN's layers, at 64 x 64.

    A translation takes an optimisation, so few images are measured for trust scores and validations are rare.
    """
    return Config(
        data=DataConfig(load_size=72, crop_size=64, batch_size=64),
        objective=CoGAN(),
        generator=CoupledGenerator(),
        discriminator=CoupledDiscriminator(),
        run=RunConfig(trust_images=32, held_out_every=5000, guardian_every=1000),
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "paper": paper,
    "cyclegan": paper,
    "demo": demo,
    "fast": fast,
    "photo": photo,
    "geometry": geometry,
    "cycle-alone": cycle_alone,
    "gan-alone": gan_alone,
    "gan-forward": gan_forward,
    "gan-backward": gan_backward,
    "attention": attention,
    "pix2pix": pix2pix,
    "pix2pix-l1": l1_alone,
    "pix2pix-l1-gan": l1_gan,
    "pix2pix-cgan": cgan_alone,
    "cut": cut,
    "fastcut": fastcut,
    "simgan": simgan,
    "feature-gan": feature_gan,
    "style": style,
    "gan": gan,
    "cgan": cgan,
    "bigan": bigan,
    "cogan": cogan,
}
"""Recipes by name; "paper" is the default of every command."""


def named(name: str) -> Config:
    """Return the configuration of a recipe: a name in RECIPES, or `file.py:function` for a user-defined one.

    Raises ConfigError for an unknown name, a missing file or function, or a function that returns no Config.
    """
    require(
        isinstance(name, str),
        f"recipe takes a name, such as fast, or FILE.py:FUNCTION, not {type(name).__name__}; give a configuration in "
        "place of the folder.",
    )
    if ".py:" not in name:
        require(
            not name.endswith(".py"),
            f"{shown(name)} names no function of the file; write {shown(name)}:FUNCTION, with one that returns a "
            "Config.",
        )
        if name not in RECIPES:
            raise ConfigError(unknown(name, RECIPES, "recipe"))
        return RECIPES[name]()
    file, function = name.rsplit(":", 1)
    recipe = getattr(load_file(file), function, None)
    if not callable(recipe):
        raise ConfigError(f"{file} has no function {function}() that returns a Config; check --recipe.")
    with user_code(at_home(file)):
        config = recipe()
        if isinstance(config, Config):
            register_parts(config)
    if not isinstance(config, Config):
        raise ConfigError(f"{file} has no function {function}() that returns a Config; check --recipe.")
    return config


def at_size(config: Config, size: int) -> Config:
    """Return the recipe for crops of size x size, scaled as in the paper.

    Images are resized in the recipe's proportion (286 for 256). A published ResNet generator has 6 blocks below 256,
    else 9 (section 7.1). A U-Net-256 has the maximum number of levels for the size. Generators of another depth are
    unchanged.
    """
    proportion = config.data.load_size / config.data.crop_size
    data = replace(config.data, crop_size=size, load_size=max(size, round(size * proportion)))
    return replace(
        config,
        data=data,
        generator=part_at_size(config.generator, size),
        discriminator=part_at_size(config.discriminator, size),
    )
