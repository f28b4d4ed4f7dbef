"""pix2pix: a conditional GAN on aligned pairs, with L1 (Isola, Zhu, Zhou, Efros, CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Direction, Objective, Player, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, generator_adversarial, l1


@dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Settings of pix2pix: weights of eq. 4 and the paper's ablations (section 4.2)."""

    kind: ClassVar[str] = "pix2pix"
    pairing: ClassVar[str] = "paired"
    l1_weight: float = 100.0
    """Weight of the L1 distance to the true image (lambda of eq. 4; 100 as published). 0 is the cGAN alone."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial term; 0 is L1 alone, without a discriminator."""
    adversarial: AdversarialKind = "cross_entropy"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). pix2pix: cross_entropy.
    """
    conditional: bool = True
    """Whether the discriminator sees the input beside the output; false is the ablation L1+GAN."""
    direction: Direction = "AtoB"
    """Half of a pair that is the input: AtoB translates A into B, BtoA the reverse."""

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        for name in ("l1_weight", "adversarial_weight"):
            value = getattr(self, name)
            require(value >= 0, f"objective.{name} must not be negative, not {value}.")
        require(
            self.l1_weight + self.adversarial_weight > 0,
            "objective.l1_weight and objective.adversarial_weight are both 0, so there is no loss; increase one.",
        )

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> Pix2PixObjective:
        """Return the untrained method for pairs with the given channel counts."""
        return Pix2PixObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class Pix2PixImages:
    """The input of each pair, its translation, and the ground truth; n c h w."""

    real: Tensor
    fake: Tensor
    truth: Tensor


class Pix2PixObjective(Objective[Pix2PixImages]):
    """A generator and a discriminator of stacked inputs and outputs; the discriminator steps first, as published."""

    order: ClassVar[tuple[Player, Player]] = ("discriminator", "generator")
    # Section 3.2.1: dropout is the noise, and batch norm uses the statistics of the test image, so the generator
    # stays in training mode during inference.
    uses_training_mode: ClassVar[bool] = True

    def __init__(
        self,
        config: Pix2Pix,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        a: int,
        b: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.config = config
        source, target = (a, b) if config.direction == "AtoB" else (b, a)
        self.domain = config.direction[-1]
        self.translators[config.direction] = initialised(generator.build(source, target), seed, config.direction)
        seen = source + target if config.conditional else target
        self.discriminators[self.domain] = initialised(discriminator.build(seen), seed, f"discriminator {self.domain}")

    def generate(self, batch: Batch) -> Pix2PixImages:
        """Translate the input of each pair."""
        real, truth = (batch.a, batch.b) if self.config.direction == "AtoB" else (batch.b, batch.a)
        return Pix2PixImages(real, self.translators[self.config.direction](real), truth)

    def generator_losses(self, batch: Batch, images: Pix2PixImages) -> dict[str, Tensor]:
        """Return the adversarial and the L1 term of eq. 4, if their weights are above 0."""
        c, name = self.config, self.domain.lower()
        terms = {}
        if c.adversarial_weight > 0:
            scores = self.discriminators[self.domain](self._stacked(images.real, images.fake))
            terms[f"adversarial_{name}"] = c.adversarial_weight * generator_adversarial(c.adversarial, scores)
        if c.l1_weight > 0:
            terms[f"l1_{name}"] = c.l1_weight * l1(images.fake, images.truth)
        return terms

    def discriminator_losses(self, batch: Batch, images: Pix2PixImages) -> dict[str, Tensor]:
        """Return the discriminator's loss on true and on generated outputs, each stacked with the input."""
        if self.config.adversarial_weight == 0:
            return {}
        real = self._stacked(images.real, images.truth)
        fake = self._stacked(images.real, images.fake.detach())
        return self.discriminator_terms(self.domain, real, fake, self.config.adversarial)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return the input, its translation and the ground truth."""
        images, name = self.generate(batch), self.domain.lower()
        other = "b" if name == "a" else "a"
        return {
            self.config.direction: {
                f"real_{other}": images.real,
                f"fake_{name}": images.fake,
                f"real_{name}": images.truth,
            }
        }

    def _stacked(self, given: Tensor, output: Tensor) -> Tensor:
        return torch.cat([given, output], dim=1) if self.config.conditional else output
