"""A generator of your own: residual blocks that weigh their channels (squeeze-and-excitation, Hu et al. 2018).

    unpaired train DATA --recipe examples/generator.py:squeeze --size 128      the same command again continues
    unpaired translate RUN IMAGES --recipe examples/generator.py               so do evaluate, verify, info, export

Installed as an entry point of the group `unpaired.generators` it needs no --recipe: --generator.kind squeeze.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.layers import InstanceNorm
from unpaired.recipes import Config, paper


@dataclass(frozen=True, kw_only=True)
class SqueezeGenerator:
    """Settings of the generator: each field is an option, --generator.width 64."""

    kind: ClassVar[str] = "squeeze"  # its name in config.yaml and model.json
    width: int = 32
    num_blocks: int = 4

    def __post_init__(self) -> None:  # a model.json from a stranger ends here: give upper limits, too
        require(1 <= self.width <= 512, f"generator.width must be 1 to 512, not {self.width}.")
        require(1 <= self.num_blocks <= 32, f"generator.num_blocks must be 1 to 32, not {self.num_blocks}.")

    multiple: ClassVar[int] = 2  # sides of the images are multiples of this
    min_size: ClassVar[int] = 8

    @property
    def bytes_per_pixel(self) -> int:  # optional: memory while translating
        """Peak bytes a pixel in float32."""
        return 300 + 20 * self.width

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the untrained module: n in_channels h w in [-1, 1] to n out_channels h w in (-1, 1)."""
        width = 2 * self.width
        return nn.Sequential(
            nn.Conv2d(in_channels, self.width, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(self.width, width, 3, stride=2, padding=1),
            *(SqueezeBlock(width) for _ in range(self.num_blocks)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )


class SqueezeBlock(nn.Module):
    """x + s(f(x)) f(x): a convolution f, and a weight in (0, 1) for each of its channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), InstanceNorm(width), nn.ReLU())
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 2, 1), nn.ReLU(), nn.Conv2d(width // 2, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return n c h w."""
        y: Tensor = self.body(x)
        return x + self.weigh(y).sigmoid() * y


def squeeze() -> Config:
    """The paper's recipe with this generator."""
    return replace(paper(), generator=SqueezeGenerator())
