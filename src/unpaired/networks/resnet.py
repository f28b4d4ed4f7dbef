"""The ResNet generator of CycleGAN (section 7.1), after Johnson et al. 2016.

In the paper's shorthand with k = 64 and 9 blocks: c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3, tanh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.deformable import DeformableConvolution3x3
from unpaired.networks.displacement import Displacement
from unpaired.networks.layers import (
    MAX_BASE_CHANNELS,
    BlurDown,
    BlurUp,
    Dropout,
    NormKind,
    Upsampling,
    make_norm,
    needs_bias,
    require_count,
    resize_convolution,
)
from unpaired.networks.recompute import Recomputing
from unpaired.networks.self_attention import SelfAttention
from unpaired.networks.winograd import Convolution3x3


@dataclass(frozen=True, kw_only=True)
class ResNetSettings:
    """Settings of a network with the layers of the ResNet generator, shared by the generators that contain one."""

    base_channels: int = 64
    """Channels of the first layer, 1 to 1024 (the papers' ngf: 64); doubled by each halving of the resolution."""
    num_blocks: int = 9
    """Residual blocks, 1 to 64. Published: 9 for 256 x 256 and larger, 6 for 128 x 128 (section 7.1)."""
    num_downs: int = 2
    """Halvings of the resolution before the residual blocks, 0 to 5 (published: 2). Sides must be multiples of 2 to
    this power.
    """
    norm: NormKind = "instance"
    """Normalisation behind each convolution but the last: instance, batch or none. Published: instance."""
    dropout: bool = False
    """Dropout of probability 0.5 between the two convolutions of a residual block (published: off)."""
    upsampling: Upsampling = "transposed"
    """Doubling of the resolution. transposed: transposed convolutions, as published. resize: nearest neighbour, then a
    3 x 3 convolution, which avoids checkerboard artefacts. resize_zeros: the same with zero padding.
    """
    antialias: bool = False
    """Blur after the convolution of each halving and before that of each doubling, as CUT's authors do; excludes other
    kinds of upsampling.
    """
    num_deformable_blocks: int = 0
    """Last residual blocks whose convolutions are deformable (Dai et al. 2017), 0 to num_blocks (published: 0). They
    read at learnt offsets, so that shapes can change; on a GPU such runs are not bit-reproducible.
    """
    num_attention_blocks: int = 0
    """First residual blocks that are followed by self-attention (Zhang et al. 2019), 0 to num_blocks (published: 0).
    Its time grows with the square of the pixels.
    """
    displacement: bool = False
    """Move the pixels of the input by a learnt field and add what the network draws (published: off), so that shapes
    can change. Needs as many output as input channels; together with an identity term the input may stay as it is.
    """

    def __post_init__(self) -> None:
        require_count("generator.base_channels", self.base_channels, MAX_BASE_CHANNELS)
        require_count("generator.num_blocks", self.num_blocks, 64)
        require(0 <= self.num_downs <= 5, f"generator.num_downs must be 0 to 5, not {self.num_downs}.")
        for name in ("num_deformable_blocks", "num_attention_blocks"):
            count = getattr(self, name)
            require(0 <= count <= self.num_blocks, f"generator.{name} must be 0 to num_blocks, not {count}.")
        require(
            not self.antialias or self.upsampling == "transposed",
            f"generator.antialias has its own upsampling; remove generator.upsampling {self.upsampling}.",
        )

    @property
    def multiple(self) -> int:
        """Sides of the input must be multiples of this for the output to have the same size."""
        return int(2**self.num_downs)

    @property
    def min_size(self) -> int:
        """Smallest side of an input: reflection padding needs two pixels at the bottleneck and four at the stem."""
        return max(4, 2 * self.multiple)

    recomputes: ClassVar[bool] = True

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in float32, measured on a CPU; without self-attention, whose memory has no such rate.

        With antialias the first halving is a convolution at full resolution with twice as many channels. Deformable
        convolutions hold the nine values that their taps read.
        """
        taps = 27 * self.base_channels // self.multiple if self.num_deformable_blocks else 0
        return 103 + (30 if self.antialias else 13) * self.base_channels + taps

    @property
    def bf16_bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in bfloat16, measured on a CPU for the published generator, else half of float32's."""
        published = not self.antialias and not self.num_deformable_blocks
        return 25 + 5 * self.base_channels if published else self.bytes_per_pixel // 2

    @property
    def buffer_bytes(self) -> int:
        """Bytes of reordered weights and of buffers of convolutions, measured on a CPU."""
        return 9_800 * self.base_channels**2

    def at_size(self, size: int) -> Self:
        """Return the published depth for crops of size x size: 6 blocks below 256, else 9 (section 7.1).

        Unchanged if any setting but antialias differs from its default.
        """
        published = replace(self, antialias=False) == type(self)()
        return replace(self, num_blocks=9 if size >= 256 else 6) if published else self


@dataclass(frozen=True, kw_only=True)
class ResNetGenerator(ResNetSettings):
    """Settings of the ResNet generator: an image in, an image of the same size out."""

    kind: ClassVar[str] = "resnet"

    def build(self, in_channels: int, out_channels: int) -> ResNetModule:
        """Return the untrained network for images with the given channel counts."""
        return ResNetModule(self, in_channels, out_channels)


class ResNetModule(Recomputing):
    """The module of `ResNetGenerator`: n in_channels h w in [-1, 1] to n out_channels h w in (-1, 1)."""

    def __init__(self, config: ResNetSettings, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width, norm, bias = config.base_channels, config.norm, needs_bias(config.norm)
        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7, bias=bias), make_norm(norm, width), nn.ReLU(True)
        )
        downs: list[nn.Module] = []
        for _ in range(config.num_downs):
            downs.append(_down(config, width, 2 * width))
            width *= 2
        self.downs = nn.Sequential(*downs)
        self.blocks = nn.Sequential(*(_block(config, width, index) for index in range(config.num_blocks)))
        if config.displacement:
            require(
                in_channels == out_channels,
                f"generator.displacement needs as many channels in B as in A, not {in_channels} and {out_channels}.",
            )
        self.displacement = Displacement(width, config.multiple) if config.displacement else None
        ups: list[nn.Module] = []
        for _ in range(config.num_downs):
            ups.append(_up(config, width, width // 2))
            width //= 2
        self.ups = nn.Sequential(*ups)
        head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7))
        self.head = head if config.displacement else head.append(nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch; both are n c h w, sides multiples of the configuration's `multiple`."""
        features = self.run(self.stem, image)
        for parts in (self.downs, self.blocks):
            features = self.run_each(parts, features)
        moved = None if self.displacement is None else self.displacement(image, features)
        features = self.run_each(self.ups, features)
        drawn = self.run(self.head, features)
        return drawn if moved is None else torch.tanh(moved + drawn)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's activations for CUT's loss, n c' h' w' each (Park et al. 2020, section 4).

        These are the padded image, the convolution of each halving before its norm, and the outputs of the first and
        the middle residual block: for 9 blocks and 2 halvings the published layers 0, 4, 8, 12 and 16. With antialias
        the convolutions have stride 1, so their activations are not halved yet.
        """
        found = [self.stem[0](image)]
        x = self.run(self.stem, image)
        for down in self.downs:
            assert isinstance(down, nn.Sequential)
            found.append(down[0](x))
            x = self.run(down[1:], found[-1])
        middle = len(self.blocks) // 2
        for index, block in enumerate(list(self.blocks)[: middle + 1]):
            x = self.run(block, x)
            if index in (0, middle):
                found.append(x)
        return found


class ResidualBlock(nn.Module):
    """x + f(x), f two reflection-padded 3 x 3 convolutions with norms, ReLU after the first only."""

    def __init__(self, width: int, norm: NormKind, dropout: bool, *, deformable: bool = False) -> None:
        super().__init__()
        bias, convolution = needs_bias(norm), DeformableConvolution3x3 if deformable else Convolution3x3
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            convolution(width, width, bias=bias),
            make_norm(norm, width),
            nn.ReLU(True),
            Dropout(0.5 if dropout else 0.0),
            nn.ReflectionPad2d(1),
            convolution(width, width, bias=bias),
            make_norm(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x), n c h w."""
        y: Tensor = x + self.body(x)
        return y


def _block(config: ResNetSettings, width: int, index: int) -> nn.Module:
    """Return residual block `index`, with self-attention behind it if the settings ask for it."""
    deformable = index >= config.num_blocks - config.num_deformable_blocks
    block = ResidualBlock(width, config.norm, config.dropout, deformable=deformable)
    return nn.Sequential(block, SelfAttention(width)) if index < config.num_attention_blocks else block


def _down(config: ResNetSettings, width: int, out: int) -> nn.Module:
    stride = 1 if config.antialias else 2
    conv = nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=needs_bias(config.norm))
    blur = [BlurDown()] if config.antialias else []
    return nn.Sequential(conv, make_norm(config.norm, out), nn.ReLU(True), *blur)


def _up(config: ResNetSettings, width: int, out: int) -> nn.Module:
    bias = needs_bias(config.norm)
    norm, relu = make_norm(config.norm, out), nn.ReLU(True)
    if config.antialias:
        return nn.Sequential(BlurUp(), nn.Conv2d(width, out, 3, padding=1, bias=bias), norm, relu)
    if config.upsampling == "transposed":
        conv = nn.ConvTranspose2d(width, out, 3, stride=2, padding=1, output_padding=1, bias=bias)
        return nn.Sequential(conv, norm, relu)
    zeros = config.upsampling == "resize_zeros"
    return nn.Sequential(*resize_convolution(width, out, bias=bias, zeros=zeros), norm, relu)
