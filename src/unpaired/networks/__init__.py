"""The table of networks: a configuration dataclass with `build()` and its module stand in one file each."""

from __future__ import annotations

from unpaired.networks.patchgan import PatchGAN, PixelGAN
from unpaired.networks.resnet import ResNetGenerator

Generator = ResNetGenerator
"""Every generator configuration that a recipe or a model.json may name; a new one is added here, as a union."""

Discriminator = PatchGAN | PixelGAN
"""Every discriminator configuration that a recipe may name."""

__all__ = ["Discriminator", "Generator", "PatchGAN", "PixelGAN", "ResNetGenerator"]
