"""The networks of DCGAN (Radford, Metz, Chintala, ICLR 2016): noise to an image, and an image to one score.

Each layer doubles (or halves) the image with a strided 4 x 4 convolution, from (or to) 4 x 4 features; no pooling,
no fully connected layers. For a conditional GAN (Mirza & Osindero 2014) one-hot class planes are concatenated to the
noise and to the image; `in_channels` includes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import MAX_BASE_CHANNELS, NormKind, make_norm, needs_bias, require_count
from unpaired.networks.protocols import require_same_size


@dataclass(frozen=True, kw_only=True)
class DCGANGenerator:
    """Settings of the generator: noise n c 1 1 in, images n c size size out.

    The number of input channels, noise plus classes, comes from the data settings.
    """

    kind: ClassVar[str] = "dcgan"
    size: int = 64
    """Side of the generated images in pixels: 32, 64, 128 or 256. Must equal data.crop_size; --size sets both."""
    base_channels: int = 64
    """Channels of the last hidden layer, 1 to 1024 (128 in figure 1 of the paper, 64 in the authors' code); doubled by
    each layer towards the noise, up to 8 times.
    """
    norm: NormKind = "batch"
    """Normalisation behind each convolution but the last: instance, batch or none. Published: batch."""

    def __post_init__(self) -> None:
        _check("generator", self.size, self.base_channels)

    @property
    def multiple(self) -> int:
        """Sides of the input are multiples of this: noise has one pixel."""
        return 1

    @property
    def min_size(self) -> int:
        """Smallest side of an input: noise has one pixel."""
        return 1

    from_noise: ClassVar[bool] = True

    def at_size(self, size: int) -> DCGANGenerator:
        """Return the settings for images of size x size pixels."""
        return replace(self, size=size)

    def validate(self, config: Any) -> None:
        """Raise ConfigError unless the crops have the size of the generated images."""
        require_same_size("generator.size", self.size, config.data.crop_size)

    def build(self, in_channels: int, out_channels: int) -> DCGANGeneratorModule:
        """Return the untrained network for inputs (noise and class) and images with the given channel counts."""
        return DCGANGeneratorModule(self, in_channels, out_channels)


class DCGANGeneratorModule(nn.Module):
    """The module of `DCGANGenerator`: n in_channels 1 1 to n out_channels size size in (-1, 1)."""

    def __init__(self, config: DCGANGenerator, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths, norm, bias = _widths(config.size, config.base_channels), config.norm, needs_bias(config.norm)
        width = widths[-1]
        project = nn.ConvTranspose2d(in_channels, width, 4, bias=bias)  # 1 x 1 to 4 x 4
        layers: list[nn.Module] = [project, make_norm(norm, width), nn.ReLU(True)]
        for out in reversed(widths[:-1]):
            conv = nn.ConvTranspose2d(width, out, 4, stride=2, padding=1, bias=bias)
            layers += [conv, make_norm(norm, out), nn.ReLU(True)]
            width = out
        head = nn.ConvTranspose2d(width, out_channels, 4, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, head, nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        """Return images n out_channels size size; noise is n in_channels 1 1, usually N(0, 1)."""
        images: Tensor = self.layers(noise)
        return images


@dataclass(frozen=True, kw_only=True)
class DCGANDiscriminator:
    """Settings of the discriminator: an image in, one raw score out."""

    kind: ClassVar[str] = "dcgan"
    size: int = 64
    """Side of the images in pixels that gets one score: 32, 64, 128 or 256."""
    base_channels: int = 64
    """Channels of the first layer, 1 to 1024 (the authors' ndf: 64); doubled by each layer, up to 8 times."""
    norm: NormKind = "batch"
    """Normalisation of all layers but the first and the last: instance, batch (as published) or none. WGAN-GP needs
    instance or none, as its penalty is computed for each image alone (Gulrajani et al. 2017, section 4).
    """

    def __post_init__(self) -> None:
        _check("discriminator", self.size, self.base_channels)

    @property
    def min_size(self) -> int:
        """Smallest side of an image: exactly this size gets one score; larger images get several."""
        return self.size

    def at_size(self, size: int) -> DCGANDiscriminator:
        """Return the settings for images of size x size pixels."""
        return replace(self, size=size)

    def build(self, in_channels: int) -> DCGANDiscriminatorModule:
        """Return the untrained network for images (and class planes) with `in_channels` channels."""
        return DCGANDiscriminatorModule(self, in_channels)


class DCGANDiscriminatorModule(nn.Module):
    """The module of `DCGANDiscriminator`: n c size size in [-1, 1] to raw scores n 1 1 1 (no sigmoid)."""

    def __init__(self, config: DCGANDiscriminator, in_channels: int) -> None:
        super().__init__()
        widths, bias = _widths(config.size, config.base_channels), needs_bias(config.norm)
        width = widths[0]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        for out in widths[1:]:
            conv = nn.Conv2d(width, out, 4, stride=2, padding=1, bias=bias)
            layers += [conv, make_norm(config.norm, out), nn.LeakyReLU(0.2, True)]
            width = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4))  # 4 x 4 to 1 x 1

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score per image, n 1 1 1."""
        scores: Tensor = self.layers(image)
        return scores


def _widths(size: int, base_channels: int) -> list[int]:
    """Return the channels at size / 2, size / 4, ... 4."""
    return [base_channels * min(2**layer, 8) for layer in range(size.bit_length() - 3)]


def _check(part: str, size: int, base_channels: int) -> None:
    """Raise ConfigError if a setting shared by both networks is out of range; `part` is generator or discriminator."""
    require(size in (32, 64, 128, 256), f"{part}.size must be 32, 64, 128 or 256, not {size}.")
    require_count(f"{part}.base_channels", base_channels, MAX_BASE_CHANNELS)
