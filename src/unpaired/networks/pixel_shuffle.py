"""A thin generator for processors: the trunk works on unshuffled pixels, and its result changes the input.

Pixel unshuffle (Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network", section 3.2, in reverse) makes channels of the pixels of k x k blocks. Nearly all
arithmetic takes place at that resolution, where convolutions are wide and efficient, and the full resolution sees one
convolution of few channels. The network decides how far each value moves towards an end of the range, so that it starts
as the identity, and detail that need not change is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import MAX_BASE_CHANNELS, NormKind, make_norm, needs_bias, require_count
from unpaired.networks.recompute import Recomputing

_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class PixelShuffleGenerator:
    """Settings of the thin generator: an image in, an image of the same size and channel count out."""

    kind: ClassVar[str] = "pixel_shuffle"
    base_channels: int = 32
    """Channels of the trunk, 1 to 1024."""
    num_blocks: int = 6
    """Residual blocks of the trunk, 1 to 64."""
    factor: int = 2
    """Side of the blocks of pixels that become channels: 1, 2, 4 or 8. The trunk works at this fraction of the
    resolution, and sides must be multiples of it.
    """
    head_channels: int = 16
    """Channels at the full resolution, 1 to 1024."""
    norm: NormKind = "instance"
    """Normalisation behind each convolution but the last: instance, batch or none."""

    def __post_init__(self) -> None:
        require_count("generator.base_channels", self.base_channels, MAX_BASE_CHANNELS)
        require_count("generator.head_channels", self.head_channels, MAX_BASE_CHANNELS)
        require_count("generator.num_blocks", self.num_blocks, 64)
        require(self.factor in _FACTORS, f"generator.factor must be 1, 2, 4 or 8, not {self.factor}.")

    recomputes: ClassVar[bool] = True

    @property
    def multiple(self) -> int:
        """Sides of the input must be multiples of this for the output to have the same size."""
        return self.factor

    @property
    def min_size(self) -> int:
        """Smallest side of an input: instance norm needs more than one value at the trunk's resolution."""
        return max(4, 2 * self.factor)

    def validate(self, config: Any) -> None:
        """Raise ConfigError if the domains differ in channels."""
        self._require_equal(config.data.channels_a, config.data.channels_b)

    def build(self, in_channels: int, out_channels: int) -> PixelShuffleModule:
        """Return the untrained network for images with the given channel counts.

        Raises ConfigError if the counts differ, since the values of the input are changed and not replaced.
        """
        self._require_equal(in_channels, out_channels)
        return PixelShuffleModule(self, in_channels)

    def _require_equal(self, in_channels: int, out_channels: int) -> None:
        require(
            in_channels == out_channels,
            f"generator.kind {self.kind} changes the values of its input and needs equal channels in both domains, not "
            f"{in_channels} and {out_channels}; use generator.kind resnet.",
        )


class PixelShuffleModule(Recomputing):
    """The module of `PixelShuffleGenerator`: n c h w in [-1, 1] to n c h w in [-1, 1], at first the input itself."""

    def __init__(self, config: PixelShuffleGenerator, channels: int) -> None:
        super().__init__()
        self.factor, width = config.factor, config.base_channels
        self.stem = _layer(config, channels * config.factor**2, width)
        self.blocks = nn.Sequential(*(Block(width, config.norm) for _ in range(config.num_blocks)))
        ups: list[nn.Module] = []
        side = config.factor
        while side > 1:
            side //= 2
            out = max(config.head_channels, width // 4) if side > 1 else config.head_channels
            ups.append(Up(config, width, out))
            width = out
        self.ups = nn.Sequential(*ups)
        self.head = Head(width + channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch; both are n c h w, sides multiples of the configuration's `factor`."""
        features = self.run(self.stem, F.pixel_unshuffle(image, self.factor))
        for parts in (self.blocks, self.ups):
            features = self.run_each(parts, features)
        return moved(image, self.run(self.head, torch.cat([features, image.to(features.dtype)], 1)))

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Return the activations for CUT's loss: the unshuffled image, the stem, the first and the middle block."""
        x = F.pixel_unshuffle(image, self.factor)
        found = [x]
        x = self.run(self.stem, x)
        found.append(x)
        middle = len(self.blocks) // 2
        for index, block in enumerate(list(self.blocks)[: middle + 1]):
            x = self.run(block, x)
            if index in (0, middle):
                found.append(x)
        return found


def moved(image: Tensor, drawn: Tensor) -> Tensor:
    """Return image + t (1 - image) for t = tanh(drawn) >= 0, and image + t (1 + image) for t < 0; n c h w.

    t is how far each value moves towards 1 or -1. Values stay in [-1, 1], and 0 keeps them exactly.
    """
    t = torch.tanh(drawn.to(image.dtype))
    return image * (1 - t.abs()) + t


class Block(nn.Module):
    """x + f(x), f two zero-padded 3 x 3 convolutions with norms, ReLU after the first only."""

    def __init__(self, width: int, norm: NormKind) -> None:
        super().__init__()
        bias = needs_bias(norm)
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=bias),
            make_norm(norm, width),
            nn.ReLU(True),
            nn.Conv2d(width, width, 3, padding=1, bias=bias),
            make_norm(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x), n c h w."""
        y: Tensor = x + self.body(x)
        return y


class Up(nn.Module):
    """A 3 x 3 convolution to four times the channels, whose pixels are shuffled to twice the resolution; norm, ReLU."""

    def __init__(self, config: PixelShuffleGenerator, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * out, 3, padding=1, bias=needs_bias(config.norm))
        self.norm = make_norm(config.norm, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return n out 2h 2w for n width h w."""
        y: Tensor = F.relu(self.norm(F.pixel_shuffle(self.conv(x), 2)))
        return y


class Head(nn.Module):
    """A 5 x 5 convolution, reflection-padded, whose weights start at 0."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        # Not an nn.Conv2d, because the initial weights of those are drawn from N(0, 0.02).
        self.weight = nn.Parameter(torch.zeros(out, width, 5, 5))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return n out h w for n width h w."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.weight, self.bias)


def _layer(config: PixelShuffleGenerator, width: int, out: int) -> nn.Sequential:
    """Return a zero-padded 3 x 3 convolution, norm and ReLU."""
    conv = nn.Conv2d(width, out, 3, padding=1, bias=needs_bias(config.norm))
    return nn.Sequential(conv, make_norm(config.norm, out), nn.ReLU(True))
