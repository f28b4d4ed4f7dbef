"""GAN and conditional GAN: images from noise (Goodfellow et al. 2014; Mirza & Osindero 2014).

Domain A is noise, n z+k 1 1 (a one-hot vector of k classes is appended, k may be 0); domain B are the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Objective, Player, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, generator_adversarial


@dataclass(frozen=True, kw_only=True)
class GAN:
    """Settings of image synthesis. Noise length and classes are data settings."""

    kind: ClassVar[str] = "gan"
    pairing: ClassVar[str] = "noise"
    adversarial: AdversarialKind = "cross_entropy"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). GAN: cross_entropy.
    """
    real_label: float = 1.0
    """Target of the discriminator for real images, in (0, 1]: 0.9 is one-sided label smoothing (Salimans et al. 2016),
    1 none.
    """
    conditional: bool = False
    """Whether the discriminator sees the class of an image as one-hot planes (Mirza & Osindero 2014). Must equal
    data.classes.
    """
    noise_channels: int = 100
    """Channels of domain A that are noise, the others being the class. Must equal data.noise_channels."""

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        require(0 < self.real_label <= 1, f"objective.real_label must be in (0, 1], not {self.real_label}.")
        require(self.noise_channels >= 1, f"objective.noise_channels must be at least 1, not {self.noise_channels}.")

    def validate(self, config: Any) -> None:
        """Raise ConfigError unless noise length and classes match the data settings."""
        data = config.data
        require(
            self.conditional == data.classes and self.noise_channels == data.noise_channels,
            "objective.conditional must equal data.classes, and objective.noise_channels must equal "
            "data.noise_channels.",
        )

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> GANObjective:
        """Return the untrained method for noise (and classes) and images with the given channel counts."""
        enough = channels_a >= self.noise_channels + 2 * self.conditional
        require(
            enough,
            f"data.channels_a ({channels_a}) must hold the noise ({self.noise_channels}) and at least two classes.",
        )
        return GANObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class GANImages:
    """Generated images, n c h w, and their class planes, n k h w (k may be 0)."""

    fake_b: Tensor
    classes: Tensor


class GANObjective(Objective[GANImages]):
    """One generator and one discriminator, which steps first (Goodfellow et al. 2014, algorithm 1)."""

    order: ClassVar[tuple[Player, Player]] = ("discriminator", "generator")

    def __init__(
        self,
        config: GAN,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        a: int,
        b: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.config = config
        num_classes = a - config.noise_channels if config.conditional else 0
        self.translators["AtoB"] = initialised(generator.build(a, b), seed, "AtoB")
        self.discriminators["B"] = initialised(discriminator.build(b + num_classes), seed, "discriminator B")

    def generate(self, batch: Batch) -> GANImages:
        """Generate one image per noise vector."""
        one_hot = batch.a[:, self.config.noise_channels if self.config.conditional else batch.a.shape[1] :]
        return GANImages(self.translators["AtoB"](batch.a), one_hot.expand(-1, -1, *batch.b.shape[2:]))

    def generator_losses(self, batch: Batch, images: GANImages) -> dict[str, Tensor]:
        """Return the adversarial term of the generated images."""
        scores = self.discriminators["B"](torch.cat([images.fake_b, images.classes], dim=1))
        return {"adversarial_b": generator_adversarial(self.config.adversarial, scores)}

    def discriminator_losses(self, batch: Batch, images: GANImages) -> dict[str, Tensor]:
        """Return the discriminator's loss on real and generated images, each with its class planes."""
        real = torch.cat([batch.b, images.classes], dim=1)
        fake = torch.cat([images.fake_b.detach(), images.classes], dim=1)
        return self.discriminator_terms("B", real, fake, self.config.adversarial, self.config.real_label)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return images generated from the preview's noise, and real images (of the same classes)."""
        return {"AtoB": {"fake_b": self.generate(batch).fake_b, "real_b": batch.b}}
