"""The table of networks: a configuration dataclass with `build()` and its module stand in one file each."""

from __future__ import annotations

from unpaired.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from unpaired.networks.patchgan import ImageGAN, PatchGAN, PixelGAN
from unpaired.networks.resnet import ResNetGenerator
from unpaired.networks.unet import UNetGenerator

Generator = ResNetGenerator | UNetGenerator | DCGANGenerator
"""Every generator configuration that a recipe or a model.json may name; a new one is added here, as a union."""

Discriminator = PatchGAN | PixelGAN | ImageGAN | DCGANDiscriminator
"""Every discriminator configuration that a recipe may name."""

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "Generator",
    "ImageGAN",
    "PatchGAN",
    "PixelGAN",
    "ResNetGenerator",
    "UNetGenerator",
]
