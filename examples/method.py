"""A method of your own: GcGAN (Fu et al., CVPR 2019), one-sided translation by geometry consistency.

Translating an image and flipping it should give the same as flipping it and translating that.

    unpaired train DATA --recipe examples/method.py:gcgan --size 128
    unpaired translate RUN IMAGES                            needs the network alone, which is the package's

Installed as an entry point of the group `unpaired.methods` it needs no --recipe: --objective.kind gcgan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.objectives.base import Objective, Samples, initialised
from unpaired.objectives.losses import generator_adversarial, l1
from unpaired.recipes import Config, paper


@dataclass(frozen=True, kw_only=True)
class GcGAN:
    """Settings of the method: weights of the geometry term (published: 20) and of the identity term (10)."""

    kind: ClassVar[str] = "gcgan"
    pairing: ClassVar[str] = "unpaired"
    adversarial: str = "lsgan"
    geometry_weight: float = 20.0
    identity_weight: float = 10.0

    def build(self, generator: Any, discriminator: Any, channels_a: int, channels_b: int, seed: int) -> GcGANObjective:
        """Return the untrained method."""
        objective = GcGANObjective()
        objective.config = self
        objective.translators["AtoB"] = initialised(generator.build(channels_a, channels_b), seed, "AtoB")
        objective.discriminators["B"] = initialised(discriminator.build(channels_b), seed, "discriminator B")
        return objective


@dataclass(frozen=True)
class GcGANImages:
    """Translations n c h w of an image and of the image upside down, and the identity image of B."""

    fake_b: Tensor
    flipped_b: Tensor
    identity_b: Tensor


class GcGANObjective(Objective[GcGANImages]):
    """One generator and one discriminator."""

    config: GcGAN

    def generate(self, batch: Batch) -> GcGANImages:
        """Make every image that the losses need, once a step."""
        generator = self.translators["AtoB"]
        return GcGANImages(generator(batch.a), generator(batch.a.flip(2)), generator(batch.b))

    def generator_losses(self, batch: Batch, images: GcGANImages) -> dict[str, Tensor]:
        """Return the weighted terms by name; their sum is minimised while the discriminator is frozen."""
        scores = self.discriminators["B"](images.fake_b)
        return {
            "adversarial_b": generator_adversarial(self.config.adversarial, scores),
            "geometry_b": self.config.geometry_weight * l1(images.flipped_b.flip(2), images.fake_b),
            "identity_b": self.config.identity_weight * l1(images.identity_b, batch.b),
        }

    def discriminator_losses(self, batch: Batch, images: GcGANImages) -> dict[str, Tensor]:
        """Return the discriminator's terms, on detached translations."""
        return self.discriminator_terms("B", batch.b, images.fake_b.detach(), self.config.adversarial)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return the columns of the sample grid."""
        return {"AtoB": {"real_a": batch.a, "fake_b": self.translators["AtoB"](batch.a)}}


def gcgan() -> Config:
    """The paper's networks, data and schedule with this method."""
    return replace(paper(), objective=GcGAN())
