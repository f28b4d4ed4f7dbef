"""CycleGAN: two translators, each undone by the other (Zhu, Park, Isola, Efros, ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.losses import AdversarialLoss, discriminator_adversarial, generator_adversarial, l1
from unpaired.networks import Discriminator, Generator
from unpaired.objectives.base import Objective, Samples, initialised
from unpaired.pool import ImagePool


@dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Weights of the full objective (eq. 3) and of identity mapping (section 5.2).

    cycle_weight_a, cycle_weight_b: on |F(G(a)) - a| and |G(F(b)) - b|. identity_weight: relative to the cycle
    weight of the same domain, so 0.5 means 5 beside a cycle weight of 10; 0 switches it off. adversarial_weight:
    on both adversarial terms. pool_size: images held for each discriminator, 0 for none.
    """

    kind: ClassVar[str] = "cyclegan"
    cycle_weight_a: float = 10.0
    cycle_weight_b: float = 10.0
    identity_weight: float = 0.5
    adversarial_weight: float = 1.0
    adversarial: AdversarialLoss = "lsgan"
    pool_size: int = 50

    def __post_init__(self) -> None:
        for name in ("cycle_weight_a", "cycle_weight_b", "identity_weight", "adversarial_weight", "pool_size"):
            value = getattr(self, name)
            require(value >= 0, f"objective.{name} must not be negative, not {value}.")

    def build(
        self, generator: Generator, discriminator: Discriminator, channels_a: int, channels_b: int, seed: int
    ) -> CycleGANObjective:
        """Return the untrained method for images with the given channel counts."""
        same = channels_a == channels_b
        require(
            same or self.identity_weight == 0,
            f"objective.identity_weight must be 0 when the domains differ in channels ({channels_a} and {channels_b}): "
            "a translator cannot take images of its own output domain then.",
        )
        return CycleGANObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class CycleGANImages:
    """What the translators make of one batch, n c h w; an image is named after the domain it shows."""

    fake_b: Tensor
    rec_a: Tensor
    fake_a: Tensor
    rec_b: Tensor


class CycleGANObjective(Objective[CycleGANImages]):
    """G: A to B, F: B to A, one discriminator a domain."""

    def __init__(
        self, config: CycleGAN, generator: Generator, discriminator: Discriminator, a: int, b: int, seed: int
    ) -> None:
        super().__init__()
        self.config = config
        self.a_to_b = initialised(generator.build(a, b), seed, "AtoB")
        self.b_to_a = initialised(generator.build(b, a), seed, "BtoA")
        self.translators = nn.ModuleDict({"AtoB": self.a_to_b, "BtoA": self.b_to_a})
        self.judge_a = initialised(discriminator.build(a), seed, "discriminator A")
        self.judge_b = initialised(discriminator.build(b), seed, "discriminator B")
        self.discriminators = nn.ModuleDict({"A": self.judge_a, "B": self.judge_b})
        self.pools = {domain: ImagePool(config.pool_size, seed=seed, name=domain) for domain in ("A", "B")}

    def generate(self, batch: Batch) -> CycleGANImages:
        """Translate both halves of the batch and translate the results back."""
        fake_b, fake_a = self.a_to_b(batch.a), self.b_to_a(batch.b)
        return CycleGANImages(fake_b=fake_b, rec_a=self.b_to_a(fake_b), fake_a=fake_a, rec_b=self.a_to_b(fake_a))

    def generator_losses(self, batch: Batch, images: CycleGANImages) -> dict[str, Tensor]:
        """Return eq. 1-3 and, where weighted, the identity terms |G(b) - b| and |F(a) - a|."""
        c = self.config
        adversarial_b = generator_adversarial(c.adversarial, self.judge_b(images.fake_b))
        adversarial_a = generator_adversarial(c.adversarial, self.judge_a(images.fake_a))
        terms = {
            "adversarial_b": c.adversarial_weight * adversarial_b,
            "adversarial_a": c.adversarial_weight * adversarial_a,
            "cycle_a": c.cycle_weight_a * l1(images.rec_a, batch.a),
            "cycle_b": c.cycle_weight_b * l1(images.rec_b, batch.b),
        }
        if c.identity_weight > 0:
            weight_a, weight_b = c.identity_weight * c.cycle_weight_a, c.identity_weight * c.cycle_weight_b
            terms["identity_a"] = weight_a * l1(self.b_to_a(batch.a), batch.a)
            terms["identity_b"] = weight_b * l1(self.a_to_b(batch.b), batch.b)
        return terms

    def discriminator_losses(self, batch: Batch, images: CycleGANImages) -> dict[str, Tensor]:
        """Return each discriminator's loss on real images and on a draw from its pool."""
        kind = self.config.adversarial
        fake_a, fake_b = self.pools["A"].query(images.fake_a), self.pools["B"].query(images.fake_b)
        return {
            "discriminator_a": discriminator_adversarial(kind, self.judge_a(batch.a), self.judge_a(fake_a)),
            "discriminator_b": discriminator_adversarial(kind, self.judge_b(batch.b), self.judge_b(fake_b)),
        }

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return real, fake, reconstructed and (for equal channel counts) identity images of both directions."""
        images = self.generate(batch)
        a = {"real_a": batch.a, "fake_b": images.fake_b, "rec_a": images.rec_a}
        b = {"real_b": batch.b, "fake_a": images.fake_a, "rec_b": images.rec_b}
        if batch.a.shape[1] == batch.b.shape[1]:
            a["identity_a"], b["identity_b"] = self.b_to_a(batch.a), self.a_to_b(batch.b)
        return {"AtoB": a, "BtoA": b}
