"""Networks: settings with `build()` and their module stand in one file each; the registries of those that exist."""

from __future__ import annotations

from unpaired.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from unpaired.networks.patchgan import ImageGAN, PatchGAN, PixelGAN
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig, config_fault
from unpaired.networks.resnet import ResNetGenerator
from unpaired.networks.unet import UNetGenerator
from unpaired.registry import Registry

GENERATORS: Registry[type[GeneratorConfig]] = Registry(
    "generator",
    "unpaired.generators",
    (ResNetGenerator, UNetGenerator, DCGANGenerator),
    protocol=GeneratorConfig,
    required=("multiple", "min_size", "build"),
    refuse=config_fault,
)
"""The generators that a recipe or a model.json may name by their kind."""

DISCRIMINATORS: Registry[type[DiscriminatorConfig]] = Registry(
    "discriminator",
    "unpaired.discriminators",
    (PatchGAN, PixelGAN, ImageGAN, DCGANDiscriminator),
    protocol=DiscriminatorConfig,
    required=("min_size", "build"),
    refuse=config_fault,
)
"""The discriminators that a recipe may name by their kind."""

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "ImageGAN",
    "PatchGAN",
    "PixelGAN",
    "ResNetGenerator",
    "UNetGenerator",
]
