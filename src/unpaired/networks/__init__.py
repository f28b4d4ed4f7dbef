"""Generators and discriminators, one file each with the settings and the module; the registries of both."""

from __future__ import annotations

from unpaired.networks.attention import AttentionGenerator
from unpaired.networks.coupled import CoupledDiscriminator, CoupledGenerator
from unpaired.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from unpaired.networks.patchgan import ImageGAN, PatchGAN, PixelGAN
from unpaired.networks.pixel_shuffle import PixelShuffleGenerator
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig, config_fault
from unpaired.networks.resnet import ResNetGenerator
from unpaired.networks.unet import UNetGenerator
from unpaired.registry import Registry

GENERATORS: Registry[type[GeneratorConfig]] = Registry(
    "generator",
    "unpaired.generators",
    (ResNetGenerator, UNetGenerator, AttentionGenerator, PixelShuffleGenerator, DCGANGenerator, CoupledGenerator),
    protocol=GeneratorConfig,
    required=("multiple", "min_size", "build"),
    refuse=config_fault,
)
"""Generators by kind, as named in recipes and in model.json."""

DISCRIMINATORS: Registry[type[DiscriminatorConfig]] = Registry(
    "discriminator",
    "unpaired.discriminators",
    (PatchGAN, PixelGAN, ImageGAN, DCGANDiscriminator, CoupledDiscriminator),
    protocol=DiscriminatorConfig,
    required=("min_size", "build"),
    refuse=config_fault,
)
"""Discriminators by kind, as named in recipes."""

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "AttentionGenerator",
    "CoupledDiscriminator",
    "CoupledGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "ImageGAN",
    "PatchGAN",
    "PixelGAN",
    "PixelShuffleGenerator",
    "ResNetGenerator",
    "UNetGenerator",
]
