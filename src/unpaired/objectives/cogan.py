"""CoGAN: two GANs that share layers learn pairs of images from unpaired ones (Liu & Tuzel, NIPS 2016).

Both generators render one latent vector, each in its domain; the shared layers make the images correspond. There is no
encoder: a translation searches the latent vector of the given image (`unpaired.networks.inversion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.coupled import Couple, CoupledDiscriminatorModule, CoupledGenerator
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Direction, Objective, Player, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, generator_adversarial
from unpaired.randomness import torch_seeded
from unpaired.ranks import draw_for_own_images


@dataclass(frozen=True, kw_only=True)
class CoGAN:
    """Settings of CoGAN. The shared layers, the latent vector and the search are settings of the generator."""

    kind: ClassVar[str] = "cogan"
    pairing: ClassVar[str] = "unpaired"
    adversarial: AdversarialKind = "cross_entropy"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). CoGAN: cross_entropy.
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
    ) -> CoGANObjective:
        """Return the untrained method for images with the given channel counts, which may differ.

        Raises ConfigError unless both networks are coupled.
        """
        return CoGANObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class CoGANImages:
    """Generated pairs, n c h w: image k of both domains renders one latent vector."""

    fake_a: Tensor
    fake_b: Tensor


class CoGANObjective(Objective[CoGANImages]):
    """Two coupled generators and two coupled discriminators, which step first (section 3)."""

    order: ClassVar[tuple[Player, Player]] = ("discriminator", "generator")

    def __init__(
        self,
        config: CoGAN,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        a: int,
        b: int,
        seed: int,
    ) -> None:
        super().__init__()
        require(
            isinstance(generator, CoupledGenerator) and discriminator.kind == "coupled",
            f"objective.kind cogan needs generator.kind coupled and discriminator.kind coupled, not {generator.kind} "
            f"and {discriminator.kind}.",
        )
        assert isinstance(generator, CoupledGenerator)
        self.config, self.seed, self.noise_channels = config, seed, generator.noise_channels
        self.translators["couple"] = initialised(generator.couple(a, b), seed, "couple")
        for domain, channels in (("A", a), ("B", b)):
            self.discriminators[domain] = initialised(discriminator.build(channels), seed, f"discriminator {domain}")
        judge_a, judge_b = self.discriminators["A"], self.discriminators["B"]
        assert isinstance(judge_a, CoupledDiscriminatorModule)
        assert isinstance(judge_b, CoupledDiscriminatorModule)
        judge_b.share(judge_a)

    def generate(self, batch: Batch) -> CoGANImages:
        """Generate a pair of images for each image of A; the images of the batch have no influence on them."""
        return CoGANImages(*self.translators["couple"](self._latents(batch.a)))

    def generator_losses(self, batch: Batch, images: CoGANImages) -> dict[str, Tensor]:
        """Return both adversarial terms (section 3); the shared layers get the gradients of both."""
        kind = self.config.adversarial
        return {
            "adversarial_a": generator_adversarial(kind, self.discriminators["A"](images.fake_a)),
            "adversarial_b": generator_adversarial(kind, self.discriminators["B"](images.fake_b)),
        }

    def discriminator_losses(self, batch: Batch, images: CoGANImages) -> dict[str, Tensor]:
        """Return the loss of each discriminator (section 3), on real and on detached generated images."""
        kind = self.config.adversarial
        return {
            **self.discriminator_terms("A", batch.a, images.fake_a.detach(), kind),
            **self.discriminator_terms("B", batch.b, images.fake_b.detach(), kind),
        }

    def generators(self) -> dict[Direction, nn.Module]:
        """Return the networks of both directions, which share the weights of the couple."""
        couple = self.translators["couple"]
        assert isinstance(couple, Couple)
        a_to_b, b_to_a = (network.train(couple.training) for network in couple.translators())
        return {"AtoB": a_to_b, "BtoA": b_to_a}

    def prevents_accumulation(self) -> str:
        """Return the method: each player would get images of other latent vectors, drawn for every micro-batch."""
        return "objective.kind cogan"

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return generated pairs beside real images; translations would take a search for each image."""
        with torch_seeded(self.seed, "samples of CoGAN"):
            latents = self._latents(batch.a)
        fake_a, fake_b = self.translators["couple"](latents)
        return {"AtoB": {"fake_a": fake_a, "fake_b": fake_b, "real_a": batch.a, "real_b": batch.b}}

    def _latents(self, images: Tensor) -> Tensor:
        """Return a latent vector for each image, n z 1 1, uniform in [-1, 1] (section 2)."""
        drawn = draw_for_own_images(
            lambda count: torch.rand(count, self.noise_channels, 1, 1, device=images.device, dtype=images.dtype),
            len(images),
        )
        return 2 * drawn - 1
