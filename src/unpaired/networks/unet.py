"""The U-Net generator of pix2pix (Isola et al. 2017, section 3.2.1 and appendix 6.1.1), after Ronneberger et al. 2015.

The encoder halves the image at each level, and the decoder doubles it again. Skip connections pass the encoder's
features to the decoder, so that edges bypass the bottleneck. In the papers' shorthand the encoder of U-Net-256 is
C64-C128-C256-C512 x 5 and its decoder CD512 x 3-C512-C256-C128-C64, all with 4 x 4 kernels and stride 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import (
    MAX_BASE_CHANNELS,
    Dropout,
    NormKind,
    Upsampling,
    make_norm,
    needs_bias,
    require_count,
    resize_convolution,
)
from unpaired.networks.recompute import Recomputing


@dataclass(frozen=True, kw_only=True)
class UNetGenerator:
    """Settings of the U-Net generator: an image in, an image of the same size out."""

    kind: ClassVar[str] = "unet"
    num_downs: int = 8
    """Levels, 2 to 12, each of which halves the resolution: 8 is U-Net-256, 7 is U-Net-128. Sides must be multiples of
    2 to this power.
    """
    base_channels: int = 64
    """Channels of the outermost level, 1 to 1024 (the papers' ngf: 64); doubled by each level, up to 8 times."""
    norm: NormKind = "batch"
    """Normalisation of each level: instance, batch (as published) or none. The outermost level has none, nor has the
    innermost on its way down.
    """
    dropout: bool = False
    """Dropout of probability 0.5 on the way up, from the fifth level down to the one above the innermost (pix2pix: on).
    """
    upsampling: Upsampling = "transposed"
    """Doubling of the resolution. transposed: transposed convolutions, as published. resize: nearest neighbour, then a
    3 x 3 convolution, which avoids checkerboard artefacts. resize_zeros: the same with zero padding.
    """
    num_skips: int | None = None
    """Skip connections, counted from the bottleneck, 0 to num_downs - 1. Fewer leave the outermost levels without one,
    so that outlines are not copied to the output. Not given: every level has one, as published.
    """

    def __post_init__(self) -> None:
        require_count("generator.base_channels", self.base_channels, MAX_BASE_CHANNELS)
        require(2 <= self.num_downs <= 12, f"generator.num_downs must be 2 to 12, not {self.num_downs}.")
        require(
            self.num_skips is None or 0 <= self.num_skips < self.num_downs,
            f"generator.num_skips must be 0 to num_downs - 1, not {self.num_skips}.",
        )

    @property
    def multiple(self) -> int:
        """Sides of the input must be multiples of this for the output to have the same size."""
        return int(2**self.num_downs)

    @property
    def min_size(self) -> int:
        """Smallest side of an input: one pixel at the bottleneck, which has no norm; the next level has 2 x 2."""
        return self.multiple

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of each level's encoder layer, the outermost level first."""
        return tuple(self.base_channels * min(2**level, 8) for level in range(self.num_downs))

    @property
    def outermost_skip(self) -> int:
        """Level of the outermost skip connection, 0 as published; num_downs - 1 if there is none."""
        return 0 if self.num_skips is None else self.num_downs - 1 - self.num_skips

    recomputes: ClassVar[bool] = True
    crop_shares: ClassVar[tuple[float, ...]] = (1 / 2, 1 / 4)  # one level less for each halving of the crop

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in float32, measured on a CPU, where the same image varies by 20 % between processes."""
        return 62 + 7 * self.base_channels

    @property
    def bf16_bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in bfloat16, measured on a CPU."""
        return 38 + 3 * self.base_channels

    buffer_bytes: ClassVar[int] = 0

    def at_size(self, size: int) -> UNetGenerator:
        """Return a U-Net-256 with the maximum number of levels for the size; a U-Net of another depth is unchanged."""
        if self.num_downs != 8:
            return self
        num_downs = min(8, (size & -size).bit_length() - 1)
        num_skips = None if self.num_skips is None else max(0, min(self.num_skips, num_downs - 1))
        return replace(self, num_downs=num_downs, num_skips=num_skips)

    def build(self, in_channels: int, out_channels: int) -> UNetModule:
        """Return the untrained network for images with the given channel counts."""
        return UNetModule(self, in_channels, out_channels)


class UNetModule(Recomputing):
    """The module of `UNetGenerator`: n in_channels h w in [-1, 1] to n out_channels h w in (-1, 1).

    `downs[k]` and `ups[k]` are the encoder and decoder layer of level k, k = 0 the outermost (P_k of the official
    files). Each has a `conv` and a `norm`. Only `downs[0]`, the innermost `downs[-1]` and `ups[0]` have no norm (an
    `nn.Identity`).
    """

    def __init__(self, config: UNetGenerator, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths, innermost = config.widths, config.num_downs - 1
        self.outermost_skip = config.outermost_skip
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, width in enumerate(widths):
            outer_in = widths[level - 1] if level else in_channels
            outer_out = widths[level - 1] if level else out_channels
            norm: NormKind = config.norm if 0 < level < innermost else "none"
            self.downs.append(UNetDown(config, outer_in, width, norm, activation=level > 0))
            # Features of the level below, concatenated with the skip if there is one.
            inner = 2 * width if config.outermost_skip <= level < innermost else width
            self.ups.append(UNetUp(config, inner, outer_out, outermost=level == 0, dropout=4 <= level < innermost))

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch; both are n c h w, sides multiples of the configuration's `multiple`."""
        features, skips = image, []
        for down in self.downs:
            assert isinstance(down, UNetDown)
            features = self.run(down.convolved, down.activation(features))
            skips.append(features)
        features = self.ups[-1](skips.pop())
        for level in reversed(range(len(skips))):
            halves = (skips[level], features) if level >= self.outermost_skip else (features,)
            features = self.run(lambda *halves, up=self.ups[level]: up(torch.cat(halves, 1)), *halves)
        return torch.tanh(features)


class UNetDown(nn.Module):
    """Encoder layer: LeakyReLU 0.2 (not on the image), 4 x 4 convolution with stride 2, norm."""

    def __init__(
        self, config: UNetGenerator, in_channels: int, out_channels: int, norm: NormKind, *, activation: bool
    ) -> None:
        super().__init__()
        # In place, so the skip holds the LeakyReLU's output; the decoder's ReLU makes both the same.
        self.activation = nn.LeakyReLU(0.2, True) if activation else nn.Identity()
        bias = needs_bias(config.norm)  # published: depends on the network's norm, even if this level has none
        self.conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)
        self.norm = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return n out_channels h/2 w/2."""
        return self.convolved(self.activation(x))

    def convolved(self, x: Tensor) -> Tensor:
        """Apply convolution and norm to activated features; separate from the activation, which works in place."""
        y: Tensor = self.norm(self.conv(x))
        return y


class UNetUp(nn.Module):
    """Decoder layer: ReLU, upsampling by 2, norm (except on the outermost level), dropout if `dropout` is set.

    `conv` is a transposed convolution or the layers of `resize_convolution`.
    """

    def __init__(
        self, config: UNetGenerator, in_channels: int, out_channels: int, *, outermost: bool, dropout: bool
    ) -> None:
        super().__init__()
        bias = outermost or needs_bias(config.norm)
        self.activation = nn.ReLU(True)
        self.conv: nn.Module
        if config.upsampling == "transposed":
            self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)
        else:
            zeros = config.upsampling == "resize_zeros"
            self.conv = nn.Sequential(*resize_convolution(in_channels, out_channels, bias=bias, zeros=zeros))
        self.norm = make_norm("none" if outermost else config.norm, out_channels)
        self.dropout = Dropout(0.5) if dropout and config.dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return n out_channels 2h 2w."""
        y: Tensor = self.dropout(self.norm(self.conv(self.activation(x))))
        return y
