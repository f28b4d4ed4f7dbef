"""Discriminators that judge patches (pix2pix, section 3.2.2): one raw score for each overlapping patch.

The published 70 x 70 PatchGAN is C64-C128-C256-C512-1, 4 x 4 kernels, strides 2, 2, 2, 1, 1, LeakyReLU 0.2,
no norm on the first layer and no sigmoid on the last: a 256 x 256 image gets 30 x 30 scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import NormKind, make_norm, needs_bias


@dataclass(frozen=True, kw_only=True)
class PatchGAN:
    """Settings of the n-layer patch discriminator.

    base_channels: width of the first layer (the papers' ndf). num_layers: layers with stride 2; the receptive
    field of one score is 16, 34, 70, 142 or 286 pixels for 1 to 5 of them.
    """

    kind: ClassVar[str] = "patchgan"
    base_channels: int = 64
    num_layers: int = 3
    norm: NormKind = "instance"

    def __post_init__(self) -> None:
        require(self.base_channels >= 1, f"discriminator.base_channels must be at least 1, not {self.base_channels}.")
        require(1 <= self.num_layers <= 6, f"discriminator.num_layers must be 1 to 6, not {self.num_layers}.")

    @property
    def min_size(self) -> int:
        """Smallest side of an image that still gets a score: the last norm needs more than one value."""
        return int(2**self.num_layers * 4)

    def build(self, in_channels: int) -> PatchGANModule:
        """Return the untrained network for images (or stacked pairs) with `in_channels` channels."""
        return PatchGANModule(self, in_channels)


class PatchGANModule(nn.Module):
    """The network that `PatchGAN` describes: n c h w in [-1, 1] to raw scores n 1 h' w' (no sigmoid)."""

    def __init__(self, config: PatchGAN, in_channels: int) -> None:
        super().__init__()
        width, bias = config.base_channels, needs_bias(config.norm)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        for layer in range(1, config.num_layers + 1):
            out = config.base_channels * min(2**layer, 8)
            stride = 2 if layer < config.num_layers else 1
            conv = nn.Conv2d(width, out, 4, stride=stride, padding=1, bias=bias)
            layers += [conv, make_norm(config.norm, out), nn.LeakyReLU(0.2, True)]
            width = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, stride=1, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score a patch, n 1 h' w'."""
        scores: Tensor = self.layers(image)
        return scores


@dataclass(frozen=True, kw_only=True)
class PixelGAN:
    """Settings of the 1 x 1 discriminator (pix2pix, section 4.4), which sees colours and no structure."""

    kind: ClassVar[str] = "pixelgan"
    base_channels: int = 64
    norm: NormKind = "instance"

    def __post_init__(self) -> None:
        require(self.base_channels >= 1, f"discriminator.base_channels must be at least 1, not {self.base_channels}.")

    @property
    def min_size(self) -> int:
        """Smallest side of an image: two pixels, so that an instance norm has something to normalise."""
        return 2

    def build(self, in_channels: int) -> PixelGANModule:
        """Return the untrained network for images (or stacked pairs) with `in_channels` channels."""
        return PixelGANModule(self, in_channels)


class PixelGANModule(nn.Module):
    """The network that `PixelGAN` describes: n c h w in [-1, 1] to raw scores n 1 h w (no sigmoid)."""

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
        """Return one raw score a pixel, n 1 h w."""
        scores: Tensor = self.layers(image)
        return scores
