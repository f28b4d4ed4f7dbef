"""The networks of CoGAN (Liu & Tuzel, NIPS 2016): two generators, and two discriminators, that share layers.

Both generators decode one latent vector. Their first layers, which decide the content of an image, are shared; their
last layers render it in the style of their own domain (section 3). The discriminators share their last layers. The
layers are those of DCGAN, which scale with the image, in place of the paper's smaller networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from unpaired.networks.inversion import nearest_latent
from unpaired.networks.layers import MAX_CHANNELS, NormKind, require_count
from unpaired.networks.protocols import require_same_size

_MAX_STEPS, _MAX_STARTS = 10_000, 256


@dataclass(frozen=True, kw_only=True)
class CoupledGenerator:
    """Settings of the coupled generators, which translate by inversion: of one, then rendering by the other.

    Images of any size are resized to `size` for the inversion, and the result back to the size of the input.
    """

    kind: ClassVar[str] = "coupled"
    size: int = 64
    """Side of the generated images in pixels: 32, 64, 128 or 256. Must equal data.crop_size; --size sets both."""
    base_channels: int = 64
    """Channels of the last hidden layer, 1 to 1024; doubled by each layer towards the noise, up to 8 times."""
    norm: NormKind = "batch"
    """Normalisation behind each convolution but the last: instance, batch or none. Published: batch."""
    noise_channels: int = 100
    """Length of the latent vector, uniform in [-1, 1] (published: 100)."""
    num_own_layers: int = 1
    """Layers next to the image that each domain has for itself, the others being shared (published: 1)."""
    num_starts: int = 4
    """Latent vectors that a translation refines side by side, of which the closest wins; its time grows with them."""
    num_inversion_steps: int = 100
    """Steps of Adam that refine a latent vector; the time of a translation grows with them."""

    def __post_init__(self) -> None:
        _dcgan_generator(self)  # checks size and channels
        require_count("generator.noise_channels", self.noise_channels, MAX_CHANNELS)
        require_count("generator.num_starts", self.num_starts, _MAX_STARTS)
        require_count("generator.num_inversion_steps", self.num_inversion_steps, _MAX_STEPS)
        _check_own_layers("generator", self.size, self.num_own_layers)

    @property
    def multiple(self) -> int:
        """Sides of an input are multiples of this: any number, as images are resized."""
        return 1

    @property
    def min_size(self) -> int:
        """Smallest side of an input: any, as images are resized."""
        return 1

    bytes_per_pixel: ClassVar[int] = 100
    searches: ClassVar[bool] = True

    def at_size(self, size: int) -> CoupledGenerator:
        """Return the settings for images of size x size pixels."""
        return replace(self, size=size)

    def validate(self, config: Any) -> None:
        """Raise ConfigError unless the method trains coupled generators, on crops of the size that they make."""
        kind = config.objective.kind
        require(
            kind == "cogan",
            f"generator.kind coupled translates by a search without gradients for its weights, which objective.kind "
            f"{kind} cannot train; use it with objective.kind cogan.",
        )
        require_same_size("generator.size", self.size, config.data.crop_size)

    def couple(self, channels_a: int, channels_b: int) -> Couple:
        """Return both untrained generators, for images of A and B with the given channel counts."""
        return Couple(self, channels_a, channels_b)

    def build(self, in_channels: int, out_channels: int) -> InvertingGenerator:
        """Return the untrained network of one direction for images with the given channel counts."""
        couple = self.couple(in_channels, out_channels)
        return InvertingGenerator(self, couple.shared, couple.of_a, couple.of_b)


class Couple(nn.Module):
    """Both generators of a `CoupledGenerator`: their shared first layers, and the last layers of A and of B."""

    def __init__(self, config: CoupledGenerator, channels_a: int, channels_b: int) -> None:
        super().__init__()
        self.config = config
        dcgan = _dcgan_generator(config)
        layers_a, layers_b = (dcgan.build(config.noise_channels, out).layers for out in (channels_a, channels_b))
        cut = len(layers_a) - (3 * config.num_own_layers - 1)  # the last layer has an activation and no norm
        self.shared, self.of_a, self.of_b = layers_a[:cut], layers_a[cut:], layers_b[cut:]

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of A and of B of latent vectors n z 1 1 in [-1, 1]; n c size size in (-1, 1) each."""
        content = self.shared(latents)
        return self.of_a(content), self.of_b(content)

    def translators(self) -> tuple[InvertingGenerator, InvertingGenerator]:
        """Return the networks of A to B and B to A, which share the weights of this module."""
        return (
            InvertingGenerator(self.config, self.shared, self.of_a, self.of_b),
            InvertingGenerator(self.config, self.shared, self.of_b, self.of_a),
        )


class InvertingGenerator(nn.Module):
    """One direction of a couple: the inversion of the source's generator, and the generator of the target.

    n c h w in [-1, 1] to n c' h w in [-1, 1], of any size. Deterministic; every image is translated alone, so that the
    result does not depend on the batch. The result has no gradient.
    """

    def __init__(self, config: CoupledGenerator, shared: nn.Module, source: nn.Module, target: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.shared, self.source, self.target = shared, source, target

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the translations."""
        return torch.cat([self._translated(image) for image in torch.split(images, 1)])

    def invert(self, image: Tensor) -> Tensor:
        """Return the latent vector, 1 z 1 1, of the source's generator for an image 1 c size size (section 5)."""
        c = self.config
        return nearest_latent(self.of_source, image, c.noise_channels, c.num_starts, c.num_inversion_steps)

    def of_source(self, latents: Tensor) -> Tensor:
        """Return the images of the source domain of latent vectors n z 1 1."""
        images: Tensor = self.source(self.shared(latents))
        return images

    def of_target(self, latents: Tensor) -> Tensor:
        """Return the images of the target domain of latent vectors n z 1 1."""
        images: Tensor = self.target(self.shared(latents))
        return images

    def _translated(self, image: Tensor) -> Tensor:
        """Return the translation of one image 1 c h w."""
        size, (height, width) = self.config.size, image.shape[2:]
        made = self.of_target(self.invert(_resized(image, size, size)))
        return _resized(made, height, width)


@dataclass(frozen=True, kw_only=True)
class CoupledDiscriminator:
    """Settings of a discriminator that shares its last layers with another one: an image in, one raw score out."""

    kind: ClassVar[str] = "coupled"
    size: int = 64
    """Side of the images in pixels that gets one score: 32, 64, 128 or 256."""
    base_channels: int = 64
    """Channels of the first layer, 1 to 1024; doubled by each layer, up to 8 times."""
    norm: NormKind = "batch"
    """Normalisation of all layers but the first and the last: instance, batch (as published) or none."""
    num_own_layers: int = 1
    """Layers next to the image that each domain has for itself, the others being shared (published: 1)."""

    def __post_init__(self) -> None:
        _dcgan_discriminator(self)  # checks size and channels
        _check_own_layers("discriminator", self.size, self.num_own_layers)

    @property
    def min_size(self) -> int:
        """Smallest side of an image: exactly this size gets one score; larger images get several."""
        return self.size

    def at_size(self, size: int) -> CoupledDiscriminator:
        """Return the settings for images of size x size pixels."""
        return replace(self, size=size)

    def build(self, in_channels: int) -> CoupledDiscriminatorModule:
        """Return the untrained network for images with `in_channels` channels, not yet coupled."""
        return CoupledDiscriminatorModule(self, in_channels)


class CoupledDiscriminatorModule(nn.Module):
    """The module of `CoupledDiscriminator`: n c size size in [-1, 1] to raw scores n 1 1 1 (no sigmoid)."""

    def __init__(self, config: CoupledDiscriminator, in_channels: int) -> None:
        super().__init__()
        layers = _dcgan_discriminator(config).build(in_channels).layers
        cut = 3 * config.num_own_layers - 1  # the first layer has an activation and no norm
        self.own, self.shared = layers[:cut], layers[cut:]

    def share(self, other: CoupledDiscriminatorModule) -> None:
        """Replace the last layers by those of another discriminator."""
        self.shared = other.shared

    def forward(self, image: Tensor) -> Tensor:
        """Return one raw score per image, n 1 1 1."""
        scores: Tensor = self.shared(self.own(image))
        return scores


def _dcgan_generator(config: CoupledGenerator) -> DCGANGenerator:
    return DCGANGenerator(size=config.size, base_channels=config.base_channels, norm=config.norm)


def _dcgan_discriminator(config: CoupledDiscriminator) -> DCGANDiscriminator:
    return DCGANDiscriminator(size=config.size, base_channels=config.base_channels, norm=config.norm)


def _check_own_layers(part: str, size: int, count: int) -> None:
    """Raise ConfigError unless at least one of the layers between 4 x 4 pixels and `size` is shared."""
    num_layers = size.bit_length() - 2
    require(
        1 <= count < num_layers,
        f"{part}.num_own_layers must be 1 to {num_layers - 1} for images of {size} pixels, not {count}.",
    )


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    """Return images n c h w in [-1, 1] at another size, bicubic and antialiased; the same tensor if it is theirs."""
    if images.shape[2:] == (height, width):
        return images
    made = F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return made.clamp(-1, 1)
