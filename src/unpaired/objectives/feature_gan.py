"""Feature loss + GAN: SimGAN with the L1 between deep features (Zhu et al., ICCV 2017, section 5.1.2)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.config import free, require
from unpaired.networks.feature_sources import open_features
from unpaired.networks.perceptual import FeatureNetwork
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.losses import l1
from unpaired.objectives.simgan import SimGAN, SimGANObjective
from unpaired.storage import printable

_log = logging.getLogger("unpaired")


@dataclass(frozen=True, kw_only=True)
class FeatureGAN(SimGAN):
    """Settings of feature loss + GAN: those of SimGAN, and the features in which its L1 is taken."""

    kind: ClassVar[str] = "feature-gan"
    l1_weight: float = 10.0
    """Weight of the L1 distance between the features of an image and of its translation (10 in CycleGAN's comparison,
    whose features have another scale). 0 leaves it out.
    """
    features: str = free("random")
    """Features to compare: random (fixed random convolutions), vgg16:FILE or vgg19:FILE (the weights that PyTorch
    publishes), or discriminator:PATH (of a run, checkpoint or model). CycleGAN's comparison: VGG-16.
    """
    feature_layers: tuple[str, ...] = ()
    """Names of the feature maps to compare, comma-separated; the mean over them counts. None: relu4_2 of VGG as in
    CycleGAN's comparison, the last layer of a discriminator, and both structure layers of random convolutions.
    """
    features_sha256: str = ""
    """SHA-256 that the weights of the features must have, or its first 8 digits; empty for any. A run keeps that of its
    start, and does not continue with others.
    """

    def pinned(self, config: Any) -> FeatureGAN:
        """Return the settings with the SHA-256 of the features.

        Raises ConfigError or ModelError if the features are missing, others, or unsuitable for the images.
        """
        found = open_features(self.features, config.data.channels_a, sha256=self.features_sha256)
        smallest, size = found.min_size, config.data.crop_size
        require(size >= smallest, f"data.crop_size (--size) must be at least {smallest} for {found.title}, not {size}.")
        sentence = f"The feature loss compares {', '.join(self.compared(found))} of {found.title}."
        self.require_found(found, torch.zeros(1, config.data.channels_a, size, size))
        _log.info(printable(sentence))
        return replace(self, features_sha256=found.sha256)

    def compared(self, features: FeatureNetwork) -> tuple[str, ...]:
        """Return the names of the feature maps to compare. Raises ConfigError for an unknown one."""
        missing = [name for name in self.feature_layers if name not in features.layers]
        require(
            not missing,
            f"objective.feature_layers names {missing[:1]}, and {features.title} has {', '.join(features.layers)}.",
        )
        published = ("relu4_2",) if "relu4_2" in features.layers else features.content
        return self.feature_layers or published

    def require_found(self, features: FeatureNetwork, images: Tensor) -> None:
        """Raise ConfigError if images n c h w are too small for one of the named feature maps."""
        found = features(images) if self.feature_layers else {}
        missing = [name for name in self.feature_layers if name not in found]
        height, width = images.shape[-2:]
        require(
            not missing,
            f"objective.feature_layers names {missing[:1]}, and images of {height} x {width} pixels are too small for "
            f"it; choose from {', '.join(found)}.",
        )

    def described(self) -> str:
        """Return the method with the kind of its features, for model cards."""
        kind = self.features.partition(":")[0]
        names = {"random": "random convolutions", "discriminator": "a trained discriminator"}
        return f"{self.kind} on features of {names.get(kind, kind)}"

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> FeatureGANObjective:
        """Return the untrained method. Raises ConfigError or ModelError for unequal channels, or bad features."""
        self.require_equal_channels(channels_a, channels_b)
        features = open_features(self.features, channels_a, sha256=self.features_sha256)
        return FeatureGANObjective(self, generator, discriminator, channels_a, seed, features)


class FeatureGANObjective(SimGANObjective):
    """SimGAN's networks, and a fixed feature network that is neither trained nor saved."""

    regularisation: ClassVar[str] = "feature"

    def __init__(
        self,
        config: FeatureGAN,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels: int,
        seed: int,
        features: FeatureNetwork,
    ) -> None:
        super().__init__(config, generator, discriminator, channels, seed)
        self.features, self.compared = features, config.compared(features)

    def distance(self, fake: Tensor, source: Tensor) -> Tensor:
        """Return the mean L1 distance between the features of translations and of their inputs, n c h w each."""
        with torch.no_grad():
            wanted = self.features(source, self.compared)
        found = self.features(fake, self.compared)
        return torch.stack([l1(found[name], wanted[name]) for name in self.compared]).mean()
