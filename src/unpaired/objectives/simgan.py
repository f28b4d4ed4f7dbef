"""SimGAN: a refiner with self-regularisation and a local adversarial loss (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Direction, Objective, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, generator_adversarial, l1
from unpaired.objectives.pool import ImagePool


@dataclass(frozen=True, kw_only=True)
class SimGAN:
    """Settings of SimGAN: the weight of self-regularisation (eq. 4), the history and the course of training."""

    kind: ClassVar[str] = "simgan"
    pairing: ClassVar[str] = "unpaired"
    l1_weight: float = 10.0
    """Weight of the L1 distance between an image and its translation (lambda of eq. 4, of a mean and not of a sum; 10
    in CycleGAN's comparison). 0 leaves it out.
    """
    adversarial: AdversarialKind = "cross_entropy"
    """Adversarial loss of each patch, averaged over the image: lsgan (least squares), cross_entropy (non-saturating),
    hinge, or wgan_gp (gradient penalty of weight 10; for discriminators without batch norm). SimGAN: cross_entropy (eq.
    1 and 2).
    """
    pool_size: int = 50
    """Translations in the history; every second image that the discriminator sees is one of them (section 2.3). 0 shows
    new images only.
    """
    num_refiner_steps: int = 1
    """Steps of the generator for each step of the discriminator (K_g of algorithm 1; 2 in its experiments)."""
    num_refiner_warmup_steps: int = 0
    """First steps, in which the generator learns the L1 alone and the discriminator nothing (1,000 in the paper's
    experiments). 0 begins with the whole loss.
    """
    num_discriminator_warmup_steps: int = 0
    """Steps after that, in which the discriminator learns alone (200 in the paper's experiments)."""
    direction: Direction = "AtoB"
    """Domain of the inputs: AtoB translates A into B, BtoA the reverse."""

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        counts = ("num_refiner_warmup_steps", "num_discriminator_warmup_steps")
        for name in ("l1_weight", "pool_size", *counts):
            value = getattr(self, name)
            require(value >= 0, f"objective.{name} must not be negative, not {value}.")
        require(
            self.num_refiner_steps >= 1,
            f"objective.num_refiner_steps must be at least 1, not {self.num_refiner_steps}.",
        )
        require(
            self.l1_weight > 0 or self.num_refiner_warmup_steps == 0,
            "objective.num_refiner_warmup_steps needs an objective.l1_weight above 0, the only loss of these steps.",
        )

    def without_draws(self) -> SimGAN:
        """Return the settings with the whole loss in every step, which needs the most memory."""
        return replace(self, num_refiner_steps=1, num_refiner_warmup_steps=0, num_discriminator_warmup_steps=0)

    def validate(self, config: Any) -> None:
        """Raise ConfigError if the run ends before the whole loss is trained."""
        length, first = config.schedule.num_steps, self.num_refiner_warmup_steps + self.num_discriminator_warmup_steps
        require(
            length is None or first < length,
            f"objective.num_refiner_warmup_steps and objective.num_discriminator_warmup_steps ({first} together) must "
            f"be fewer than the steps of the run ({length}).",
        )

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> SimGANObjective:
        """Return the untrained method. Raises ConfigError if the domains differ in channels."""
        self.require_equal_channels(channels_a, channels_b)
        return SimGANObjective(self, generator, discriminator, channels_a, seed)

    def require_equal_channels(self, a: int, b: int) -> None:
        """Raise ConfigError if the domains differ in channels, so that no L1 can be taken between their images."""
        require(a == b, f"objective.kind {self.kind} needs domains with equal channels, not {a} and {b}.")


@dataclass(frozen=True)
class SimGANImages:
    """The images to refine, their translations, and real images of the other domain; n c h w."""

    source: Tensor
    fake: Tensor
    real: Tensor


class SimGANObjective(Objective[SimGANImages]):
    """A refiner, a discriminator of patches and a history of translations; the refiner steps first (algorithm 1)."""

    regularisation: ClassVar[str] = "regularisation"

    def __init__(
        self, config: SimGAN, generator: GeneratorConfig, discriminator: DiscriminatorConfig, channels: int, seed: int
    ) -> None:
        super().__init__()
        self.config = config
        way, self.domain = config.direction, config.direction[-1]
        self.translators[way] = initialised(generator.build(channels, channels), seed, way)
        network = discriminator.build(channels)
        self.discriminators[self.domain] = initialised(network, seed, f"discriminator {self.domain}")
        self.pools[self.domain] = ImagePool(config.pool_size, seed=seed, name=self.domain, alternating=True)

    def generate(self, batch: Batch) -> SimGANImages:
        """Translate the images of the input domain."""
        source, real = (batch.a, batch.b) if self.config.direction == "AtoB" else (batch.b, batch.a)
        return SimGANImages(source, self.translators[self.config.direction](source), real)

    def generator_losses(self, batch: Batch, images: SimGANImages) -> dict[str, Tensor]:
        """Return both terms of eq. 1 that the step trains; none in the steps of the discriminator alone."""
        c, name = self.config, self.domain.lower()
        first = self.step < c.num_refiner_warmup_steps
        terms: dict[str, Tensor] = {}
        if not first and self._is_discriminator_warmup():
            return terms
        if not first:
            scores = self.discriminators[self.domain](images.fake)
            terms[f"adversarial_{name}"] = generator_adversarial(c.adversarial, scores)
        if c.l1_weight > 0:
            other = "b" if name == "a" else "a"
            terms[f"{self.regularisation}_{other}"] = c.l1_weight * self.distance(images.fake, images.source)
        return terms

    def discriminator_losses(self, batch: Batch, images: SimGANImages) -> dict[str, Tensor]:
        """Return the loss of eq. 2 on real images and on translations, half of them from the history, in its steps.

        These are the multiples of `num_refiner_steps`, so that the logged steps are among them.
        """
        if self.step < self.config.num_refiner_warmup_steps:
            return {}
        if not self._is_discriminator_warmup() and (self.step + 1) % self.config.num_refiner_steps:
            return {}
        fake = self.pools[self.domain].query(images.fake)
        return self.discriminator_terms(self.domain, images.real, fake, self.config.adversarial)

    def distance(self, fake: Tensor, source: Tensor) -> Tensor:
        """Return the distance of translations n c h w from their inputs that regularises (eq. 4 with identity psi)."""
        return l1(fake, source)

    def prevents_capture(self) -> str:
        """Return the setting with which the players' losses differ between steps, "" if they do not."""
        c = self.config
        if c.num_refiner_steps > 1:
            return "objective.num_refiner_steps"
        if c.num_refiner_warmup_steps:
            return "objective.num_refiner_warmup_steps"
        return "objective.num_discriminator_warmup_steps" if c.num_discriminator_warmup_steps else ""

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return the input, its translation and a real image of the other domain."""
        images, name = self.generate(batch), self.domain.lower()
        other = "b" if name == "a" else "a"
        columns = {f"real_{other}": images.source, f"fake_{name}": images.fake, f"real_{name}": images.real}
        return {self.config.direction: columns}

    def _is_discriminator_warmup(self) -> bool:
        c = self.config
        return self.step < c.num_refiner_warmup_steps + c.num_discriminator_warmup_steps
