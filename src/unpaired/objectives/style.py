"""Neural style transfer as a feed-forward network (Johnson, Alahi, Fei-Fei, ECCV 2016).

A generator is trained once to minimise the content and style distances that Gatys et al. (CVPR 2016) minimise for each
image. The style is that of all images of domain B, or of one if it holds one. `unpaired translate --style` is the
optimisation itself, without training.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.config import free, require
from unpaired.data.datasets import Batch
from unpaired.networks.feature_sources import open_features
from unpaired.networks.gram import content_distance, gram, style_distance, total_variation
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Direction, Objective, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss, generator_adversarial
from unpaired.storage import printable

_log = logging.getLogger("unpaired")


@dataclass(frozen=True, kw_only=True)
class Style:
    """Settings of feed-forward style transfer: features, and the weights of the terms (Johnson et al., eq. 5)."""

    kind: ClassVar[str] = "style"
    pairing: ClassVar[str] = "unpaired"
    features: str = free("random")
    """Network whose maps are compared: random, vgg16:FILE or vgg19:FILE (weights as PyTorch publishes them), or
    discriminator:PATH (of a run or model). Published: VGG-16. `objective.features_sha256` identifies its weights.
    """
    features_sha256: str = ""
    """Required SHA-256 of the weights of the features, all of it or the first 8 digits; empty for any. A run keeps that
    of its start, and does not continue with others.
    """
    content_weight: float = 1.0
    """Weight of the content distance (lambda_c)."""
    style_weight: float = 10.0
    """Weight of the style distance (lambda_s). The distances are relative, so its scale is not the published one."""
    variation_weight: float = 0.1
    """Weight of the total variation of the output (lambda_TV), which suppresses noise."""
    adversarial_weight: float = 0.0
    """Weight of an adversarial term; 0 as published, without a discriminator."""
    adversarial: AdversarialKind = "lsgan"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). Used if its weight is above 0.
    """
    direction: Direction = "AtoB"
    """AtoB gives images of A the style of B, BtoA the reverse."""

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        for name in ("content_weight", "style_weight", "variation_weight", "adversarial_weight"):
            value = getattr(self, name)
            require(value >= 0, f"objective.{name} must not be negative, not {value}.")
        require(self.style_weight > 0, "objective.style_weight must be above 0; the style is what is learnt.")

    def pinned(self, config: Any) -> Style:
        """Return the settings with the SHA-256 of the features, and log their name. Raises as `open_features` does."""
        features = open_features(self.features, config.data.channels_a, sha256=self.features_sha256)
        _log.info(f"Features: {printable(features.title)}.")
        return replace(self, features_sha256=features.sha256)

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> StyleObjective:
        """Return the untrained method; the domains need equal channels, as both pass through the same features."""
        same = channels_a == channels_b
        require(same, f"objective.kind style needs domains with equal channels, not {channels_a} and {channels_b}.")
        return StyleObjective(self, generator, discriminator, channels_a, seed)


@dataclass(frozen=True)
class StyleImages:
    """The content images, their translations, and the style images; n c h w."""

    content: Tensor
    fake: Tensor
    style: Tensor


class StyleObjective(Objective[StyleImages]):
    """A generator, a fixed feature network, and a discriminator that takes part only with an adversarial weight.

    The target of a translation is the Gram matrix of the style image beside it in the batch. Averaged over steps, the
    gradient of the squared distance is that to the average of the Gram matrices of the collection, as both losses
    differ by a variance that the generator cannot change. Distances are relative, so each Gram matrix has a weight in
    that average: the inverse of its squared norm.
    """

    def __init__(
        self, config: Style, generator: GeneratorConfig, discriminator: DiscriminatorConfig, channels: int, seed: int
    ) -> None:
        super().__init__()
        self.config, self.domain = config, config.direction[-1]
        direction = config.direction
        self.translators[direction] = initialised(generator.build(channels, channels), seed, direction)
        name = f"discriminator {self.domain}"
        self.discriminators[self.domain] = initialised(discriminator.build(channels), seed, name)
        self.features = open_features(config.features, channels, sha256=config.features_sha256)

    def generate(self, batch: Batch) -> StyleImages:
        """Translate the content images."""
        content, style = (batch.a, batch.b) if self.config.direction == "AtoB" else (batch.b, batch.a)
        return StyleImages(content, self.translators[self.config.direction](content), style)

    def generator_losses(self, batch: Batch, images: StyleImages) -> dict[str, Tensor]:
        """Return content, style and total-variation terms, and the adversarial one, if their weights are above 0."""
        c, name, features = self.config, self.domain.lower(), self.features
        of_fake = features(images.fake, {*features.content, *features.style})
        with torch.no_grad():
            of_content = features(images.content, features.content)
            of_style = {layer: gram(maps) for layer, maps in features(images.style, features.style).items()}
        terms = {f"style_{name}": c.style_weight * style_distance(of_fake, of_style)}
        if c.content_weight > 0:
            terms[f"content_{name}"] = c.content_weight * content_distance(of_fake, of_content)
        if c.variation_weight > 0:
            terms[f"variation_{name}"] = c.variation_weight * total_variation(images.fake)
        if c.adversarial_weight > 0:
            scores = self.discriminators[self.domain](images.fake)
            terms[f"adversarial_{name}"] = c.adversarial_weight * generator_adversarial(c.adversarial, scores)
        return terms

    def discriminator_losses(self, batch: Batch, images: StyleImages) -> dict[str, Tensor]:
        """Return the discriminator's loss on style images and translations; empty without adversarial term."""
        if self.config.adversarial_weight == 0:
            return {}
        return self.discriminator_terms(self.domain, images.style, images.fake.detach(), self.config.adversarial)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return the input, its translation, and a style image."""
        images, name = self.generate(batch), self.domain.lower()
        other = "b" if name == "a" else "a"
        return {
            self.config.direction: {
                f"real_{other}": images.content,
                f"fake_{name}": images.fake,
                f"real_{name}": images.style,
            }
        }
