"""Patch discriminators (pix2pix, section 3.2.2): one raw score for each overlapping patch.

The published 70 x 70 PatchGAN is C64-C128-C256-C512-1, 4 x 4 kernels, strides 2, 2, 2, 1, 1, LeakyReLU 0.2,
no norm on the first layer and no sigmoid on the last: a 256 x 256 image gets 30 x 30 scores. Section 4.4 compares
the patches' sizes from one pixel (PixelGAN) to the whole image (ImageGAN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import MAX_BASE_CHANNELS, NormKind, make_norm, needs_bias, require_count


@dataclass(frozen=True, kw_only=True)
class PatchGAN:
    """Settings of the n-layer patch discriminator."""

    kind: ClassVar[str] = "patchgan"
    base_channels: int = 64
    """Channels of the first layer, 1 to 1024 (the papers' ndf: 64); doubled by each layer, up to 8 times."""
    num_layers: int = 3
    """Layers of stride 2, 1 to 6. The receptive field of a score is 16, 34, 70, 142 or 286 pixels for 1 to 5 of them
    (published: 3).
    """
    norm: NormKind = "instance"
    """Normalisation of all layers but the first and the last: instance, batch or none. CycleGAN: instance; pix2pix:
    batch.
    """
    num_discriminators: int = 1
    """Independent networks that judge the same image, 1 to 16; their losses are averaged."""

    def __post_init__(self) -> None:
        require_count("discriminator.base_channels", self.base_channels, MAX_BASE_CHANNELS)
        require(1 <= self.num_layers <= 6, f"discriminator.num_layers must be 1 to 6, not {self.num_layers}.")
        require_count("discriminator.num_discriminators", self.num_discriminators, 16)

    @property
    def min_size(self) -> int:
        """Smallest side of an image with at least one score: the last norm needs more than one value."""
        return int(2**self.num_layers * 4)

    def build(self, in_channels: int) -> PatchGANModule | SeveralModule:
        """Return the untrained network (or several) for images or stacked pairs with `in_channels` channels."""
        networks = [PatchGANModule(self, in_channels) for _ in range(self.num_discriminators)]
        return networks[0] if len(networks) == 1 else SeveralModule(networks)


class PatchGANModule(nn.Module):
    """The module of `PatchGAN`: n c h w in [-1, 1] to raw scores n 1 h' w' (no sigmoid)."""

    def __init__(self, config: PatchGAN, in_channels: int) -> None:
        super().__init__()
        self.layers = _patch_layers(config.base_channels, config.num_layers, config.norm, in_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score per patch, n 1 h' w'."""
        scores: Tensor = self.layers(image)
        return scores


class SeveralModule(nn.Module):
    """k independent discriminators of one kind: n c h w to raw scores n k h' w', one channel per network.

    All score maps have the same size, so the mean over all scores is the average of the networks' losses.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """Return the raw scores of all networks, n k h' w'."""
        return torch.cat([network(image) for network in self.networks], 1)


@dataclass(frozen=True, kw_only=True)
class ImageGAN:
    """Settings of the ImageGAN discriminator (pix2pix, section 4.4): one score per image.

    The smallest PatchGAN whose receptive field is at least `size`: 1 to 7 layers for images up to 16, 34, 70, 142, 286,
    574 and 1150 pixels. For 256 this is the published 286 x 286 discriminator, C64-C128-C256-C512-C512-C512 (appendix
    6.1.2). Its overlapping scores, 6 x 6 for a 256 x 256 image, are averaged into one.
    """

    kind: ClassVar[str] = "imagegan"
    size: int = 256
    """Side in pixels, 8 to 1150, of the images that the receptive field is to cover; sets the number of layers."""
    base_channels: int = 64
    """Channels of the first layer, 1 to 1024 (the papers' ndf: 64); doubled by each layer, up to 8 times."""
    norm: NormKind = "instance"
    """Normalisation of all layers but the first and the last: instance, batch or none. CycleGAN: instance; pix2pix:
    batch.
    """

    def __post_init__(self) -> None:
        require_count("discriminator.base_channels", self.base_channels, MAX_BASE_CHANNELS)
        require(8 <= self.size <= 1150, f"discriminator.size must be 8 to 1150, not {self.size}.")

    @property
    def num_layers(self) -> int:
        """Smallest number of layers with stride 2 whose receptive field covers `size`."""
        return next(number for number in range(1, 8) if receptive_field(number) >= self.size)

    @property
    def min_size(self) -> int:
        """Smallest side of an image with at least one score; never more than `size`."""
        return int(2**self.num_layers * 4)

    def at_size(self, size: int) -> ImageGAN:
        """Return the settings for images of size x size pixels."""
        return replace(self, size=size)

    def build(self, in_channels: int) -> ImageGANModule:
        """Return the untrained network for images (or stacked pairs) with `in_channels` channels."""
        return ImageGANModule(self, in_channels)


class ImageGANModule(nn.Module):
    """The module of `ImageGAN`: n c h w in [-1, 1] to raw scores n 1 1 1 (no sigmoid)."""

    def __init__(self, config: ImageGAN, in_channels: int) -> None:
        super().__init__()
        self.layers = _patch_layers(config.base_channels, config.num_layers, config.norm, in_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score per image, n 1 1 1."""
        scores: Tensor = self.layers(image)
        return scores.mean((2, 3), keepdim=True)


def receptive_field(num_layers: int) -> int:
    """Return the receptive field, in pixels, of one score of an n-layer PatchGAN: 70 for 3 layers.

    The last two 4 x 4 layers with stride 1 have a receptive field of 7. Each layer with stride 2 before them turns a
    field of s into 2 s + 2.
    """
    return int(9 * 2**num_layers - 2)


def _patch_layers(base_channels: int, num_layers: int, norm: NormKind, in_channels: int) -> nn.Sequential:
    """Return the layers from n c h w to raw scores n 1 h' w'."""
    width, bias = base_channels, needs_bias(norm)
    layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    for layer in range(1, num_layers + 1):
        out = base_channels * min(2**layer, 8)
        stride = 2 if layer < num_layers else 1
        conv = nn.Conv2d(width, out, 4, stride=stride, padding=1, bias=bias)
        layers += [conv, make_norm(norm, out), nn.LeakyReLU(0.2, True)]
        width = out
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, stride=1, padding=1))


@dataclass(frozen=True, kw_only=True)
class PixelGAN:
    """Settings of the 1 x 1 discriminator (pix2pix, section 4.4), which scores colours but no structure."""

    kind: ClassVar[str] = "pixelgan"
    base_channels: int = 64
    """Channels of the first layer, 1 to 1024 (the papers' ndf: 64); the second has twice as many."""
    norm: NormKind = "instance"
    """Normalisation of the second layer: instance, batch or none. CycleGAN: instance; pix2pix: batch."""

    def __post_init__(self) -> None:
        require_count("discriminator.base_channels", self.base_channels, MAX_BASE_CHANNELS)

    @property
    def min_size(self) -> int:
        """Smallest side of an image: two pixels, because instance norm needs more than one value."""
        return 2

    def build(self, in_channels: int) -> PixelGANModule:
        """Return the untrained network for images (or stacked pairs) with `in_channels` channels."""
        return PixelGANModule(self, in_channels)


class PixelGANModule(nn.Module):
    """The module of `PixelGAN`: n c h w in [-1, 1] to raw scores n 1 h w (no sigmoid)."""

    def __init__(self, config: PixelGAN, in_channels: int) -> None:
        super().__init__()
        width, bias = config.base_channels, needs_bias(config.norm)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            make_norm(config.norm, 2 * width),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score per pixel, n 1 h w."""
        scores: Tensor = self.layers(image)
        return scores
