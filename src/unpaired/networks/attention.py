"""The attention-gated generator: translates the pixels that its mask selects and keeps the others.

    G(x) = m T(x) + (1 - m) x

Sources: Alami Mejjati et al. 2018, "Unsupervised Attention-guided Image-to-Image Translation" (section 3.1, eq. 1), and
Tang et al. 2019, "Attention-Guided Generative Adversarial Networks for Unsupervised Image-to-Image Translation"
(section 3.2). As in the latter, one network computes the translation T and the mask m; here with a single mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.resnet import ResNetModule, ResNetSettings


@dataclass(frozen=True, kw_only=True)
class AttentionGenerator(ResNetSettings):
    """Settings of a ResNet generator with a mask: keeps the pixels of the input that the mask does not select."""

    kind: ClassVar[str] = "attention"

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in float32, measured on a CPU: those of the ResNet, and the blend with the input."""
        return super().bytes_per_pixel + 32

    def build(self, in_channels: int, out_channels: int) -> AttentionModule:
        """Return the untrained network for images with the given channel counts.

        Raises ConfigError if the counts differ, since kept pixels have the channels of the input.
        """
        require(
            in_channels == out_channels,
            f"generator.kind attention keeps pixels of its input and needs equal channels in both domains, not "
            f"{in_channels} and {out_channels}; use generator.kind resnet.",
        )
        return AttentionModule(self, in_channels)


class AttentionModule(nn.Module):
    """The module of `AttentionGenerator`: n channels h w in [-1, 1] to the same shape and range."""

    def __init__(self, config: AttentionGenerator, channels: int) -> None:
        super().__init__()
        self.network = ResNetModule(config, channels, channels + 1)
        self.network.head = nn.Sequential(
            *list(self.network.head)[:-1]
        )  # without the tanh, which the mask does not have

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch; both are n c h w, sides multiples of the configuration's `multiple`."""
        translation, mask = self._parts(image)
        return image + mask * (translation - image)  # exactly the image if the mask is 0

    def mask(self, image: Tensor) -> Tensor:
        """Return the mask of a batch, n 1 h w in [0, 1]: 0 keeps a pixel, 1 replaces it by its translation."""
        return self._parts(image)[1]

    def with_mask(self, image: Tensor) -> Tensor:
        """Return the output of `forward` and the mask in one pass, n channels + 1 h w, with the mask as the last.

        The output has no gradient with respect to the mask, which is then trained by losses of its own.
        """
        translation, mask = self._parts(image)
        return torch.cat([image + mask.detach() * (translation - image), mask], dim=1)

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Return the encoder's activations for CUT's loss, as `ResNetModule.features` does."""
        return self.network.features(image)

    def _parts(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the translation before the gate, n channels h w, and the mask n 1 h w."""
        made: Tensor = self.network(image)
        return torch.tanh(made[:, :-1]), torch.sigmoid(made[:, -1:])
