"""BiGAN/ALI between two image domains: one discriminator of pairs (Donahue et al. and Dumoulin et al., ICLR 2017).

Both papers learn a generator, noise to image, together with its inverse. Here the objective is applied to images of A
and B, as in the comparison of the CycleGAN paper (section 5.1.2): G translates a, F translates b, and one discriminator
separates the pairs (a, G(a)) from the pairs (F(b), b). There is no cycle and no identity term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Objective, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, discriminator_adversarial

PAIRS = "AB"
"""Key of the discriminator: it judges images of A and B together."""


@dataclass(frozen=True, kw_only=True)
class BiGAN:
    """Settings of BiGAN/ALI, whose objective has one term and no weights."""

    kind: ClassVar[str] = "bigan"
    pairing: ClassVar[str] = "unpaired"
    adversarial: AdversarialKind = "cross_entropy"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). BiGAN and ALI: cross_entropy.
    """

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> BiGANObjective:
        """Return the untrained method for images with the given channel counts, which may differ."""
        return BiGANObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class BiGANImages:
    """Both pairs, n a+b h w: the images of A before those of B.

    encoded: (a, G(a)), which the discriminator learns to call 1. decoded: (F(b), b), which it learns to call 0.
    """

    encoded: Tensor
    decoded: Tensor


class BiGANObjective(Objective[BiGANImages]):
    """G: A to B, F: B to A, and a discriminator of pairs.

    All are updated from the same weights, as in both papers: the generators' gradients come first, and no update
    precedes the discriminator's.
    """

    def __init__(
        self,
        config: BiGAN,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        a: int,
        b: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.translators["AtoB"] = initialised(generator.build(a, b), seed, "AtoB")
        self.translators["BtoA"] = initialised(generator.build(b, a), seed, "BtoA")
        self.discriminators[PAIRS] = initialised(discriminator.build(a + b), seed, "discriminator of pairs")

    def generate(self, batch: Batch) -> BiGANImages:
        """Translate both domains and stack each image with its translation."""
        return BiGANImages(
            encoded=torch.cat([batch.a, self.translators["AtoB"](batch.a)], dim=1),
            decoded=torch.cat([self.translators["BtoA"](batch.b), batch.b], dim=1),
        )

    def generator_losses(self, batch: Batch, images: BiGANImages) -> dict[str, Tensor]:
        """Return the discriminator's loss with exchanged labels, for both generators.

        The inverse objective of Donahue et al., section 3.4, and the generators' loss of Dumoulin et al., algorithm 1,
        which does not saturate if the discriminator wins; halved here.
        """
        judge = self.discriminators[PAIRS]
        loss = discriminator_adversarial(self.config.adversarial, judge(images.decoded), judge(images.encoded))
        return {f"adversarial_{PAIRS.lower()}": loss}

    def discriminator_losses(self, batch: Batch, images: BiGANImages) -> dict[str, Tensor]:
        """Return the discriminator's loss on detached pairs (Donahue et al., eq. 3, as cross-entropy)."""
        return self.discriminator_terms(
            PAIRS, images.encoded.detach(), images.decoded.detach(), self.config.adversarial
        )

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return real, fake and reconstructed images of both directions; no loss asks for the reconstructions."""
        a_to_b, b_to_a = self.translators["AtoB"], self.translators["BtoA"]
        fake_b, fake_a = a_to_b(batch.a), b_to_a(batch.b)
        return {
            "AtoB": {"real_a": batch.a, "fake_b": fake_b, "rec_a": b_to_a(fake_b)},
            "BtoA": {"real_b": batch.b, "fake_a": fake_a, "rec_b": a_to_b(fake_a)},
        }
