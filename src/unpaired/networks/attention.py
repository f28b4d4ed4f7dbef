"""The attention-gated generator: translates the pixels that its mask selects and keeps the others.

    G(x) = m(x) T(x) + (1 - m(x)) x

Sources: Alami Mejjati et al. 2018, "Unsupervised Attention-guided Image-to-Image Translation" (section 3.1, eq. 1),
where the mask has a network of its own, as here; Tang et al. 2019, "Attention-Guided Generative Adversarial Networks
for Unsupervised Image-to-Image Translation" (section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.networks.resnet import ResNetModule, ResNetSettings

MASK_BLOCKS = 2
"""Residual blocks of the network of the mask, whose other layers are those of the translating one."""

CLOSED, OPEN = 0.25, 0.75
"""Probabilities of the mask's network up to which a pixel is kept as it is, and from which it is replaced entirely."""


@dataclass(frozen=True, kw_only=True)
class AttentionGenerator(ResNetSettings):
    """Settings of a ResNet generator with a mask: keeps the pixels of the input that the mask does not select."""

    kind: ClassVar[str] = "attention"
    mask_weight: float = 1.0
    """Weight of the mask's loss: cross-entropy on objects of random shape and texture, planted into copies of training
    images. The losses of the method train the translation alone then; 0 lets them train translation and mask.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.mask_weight >= 0, f"generator.mask_weight must not be negative, not {self.mask_weight}.")

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel in float32, measured on a CPU: those of the ResNet, and its result beside the mask."""
        return super().bytes_per_pixel + 40

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
    """The module of `AttentionGenerator`: n channels h w in [-1, 1] to the same shape and range.

    network: T, a ResNet generator. selector: the network of the mask m, with one output channel and no tanh.
    mask_weight: that of the mask's loss. open: whether `forward` ignores the mask, as in training steps with this loss.
    """

    open = False

    def __init__(self, config: AttentionGenerator, channels: int) -> None:
        super().__init__()
        self.mask_weight = config.mask_weight
        self.network = ResNetModule(config, channels, channels)
        shallow = replace(config, num_blocks=MASK_BLOCKS, dropout=False)
        self.selector = ResNetModule(shallow, channels, 1)
        self.selector.head = nn.Sequential(*list(self.selector.head)[:-1])

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch; both are n c h w, sides multiples of the configuration's `multiple`."""
        made: Tensor = self.network(image)
        return made if self.open else image + self.mask(image) * (made - image)  # the image itself if the mask is 0

    def mask(self, image: Tensor) -> Tensor:
        """Return the mask of a batch, n 1 h w in [0, 1]: 0 keeps a pixel, 1 replaces it by its translation.

        The probability is stretched so that most pixels are 0 or 1; the gradient is that of the probability.
        """
        probability = torch.sigmoid(self.mask_logits(image))
        stretched = ((probability - CLOSED) / (OPEN - CLOSED)).clamp(0, 1)
        return probability + (stretched - probability).detach() if torch.is_grad_enabled() else stretched

    def mask_logits(self, image: Tensor) -> Tensor:
        """Return the logits of the probability that a pixel is to be translated, n 1 h w."""
        logits: Tensor = self.selector(image)
        return logits

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Return the encoder's activations of T for CUT's loss, as `ResNetModule.features` does."""
        return self.network.features(image)
