"""CUT and FastCUT: one-sided translation with a patch-wise contrastive loss (Park, Efros, Zhang, Zhu, ECCV 2020).

A patch of the translation should be closer to the input's patch at the same location than to the input's other
patches. The features come from the generator's encoder, through a small projection head per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig, HasFeatures
from unpaired.objectives.base import Objective, Player, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss
from unpaired.objectives.masked import attended, composite, masked_generator_adversarial


@dataclass(frozen=True, kw_only=True)
class CUT:
    """Settings of CUT; FastCUT is contrast_weight 10, identity_contrast off, flip_equivariance on."""

    kind: ClassVar[str] = "cut"
    pairing: ClassVar[str] = "unpaired"
    takes_masks: ClassVar[bool] = True
    adversarial: AdversarialKind = "lsgan"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). CUT: lsgan.
    """
    contrast_weight: float = 1.0
    """Weight of the patch-wise contrastive loss (lambda_X of eq. 5: 1 for CUT, 10 for FastCUT)."""
    identity_contrast: bool = True
    """Whether the same loss on images of B, translated into themselves, is averaged with it (lambda_Y of eq. 5: on for
    CUT, off for FastCUT).
    """
    flip_equivariance: bool = False
    """Translate a batch mirrored with probability 1/2 and compare its features mirrored back (FastCUT)."""
    temperature: float = 0.07
    """Temperature tau of the softmax over similarities (eq. 3: 0.07). Smaller is sharper."""
    num_patches: int = 256
    """Places drawn in each layer of features for each image (published: 256)."""
    head_channels: int = 256
    """Length of the feature vectors that are compared, after the two-layer head (published: 256)."""

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        for name in ("contrast_weight", "temperature", "num_patches", "head_channels"):
            require(getattr(self, name) > 0, f"objective.{name} must be positive, not {getattr(self, name)}.")

    def without_draws(self) -> CUT:
        """Return the settings without random mirroring; a mirrored batch needs the same memory."""
        return replace(self, flip_equivariance=False)

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> CUTObjective:
        """Return the untrained method; the generator's module must have `features(image)`, like the ResNet's."""
        same = channels_a == channels_b
        require(same, f"objective.kind cut needs domains with equal channels, not {channels_a} and {channels_b}.")
        return CUTObjective(self, generator, discriminator, channels_a, channels_b, seed)


@dataclass(frozen=True)
class CUTImages:
    """The input of the generator (mirrored or not), the translation of A, and the identity image of B if it is used.

    mask: of the translation, mirrored with it.
    """

    input_a: Tensor
    fake_b: Tensor
    identity_b: Tensor | None
    mirrored: bool
    mask: Tensor | None = None


class CUTObjective(Objective[CUTImages]):
    """A generator with projection heads, and a discriminator, which steps first."""

    order: ClassVar[tuple[Player, Player]] = ("discriminator", "generator")

    def __init__(
        self,
        config: CUT,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        a: int,
        b: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.config = config
        network = initialised(generator.build(a, b), seed, "AtoB")
        require(
            isinstance(network, HasFeatures),
            f"objective.kind cut needs a generator whose module has features(image), such as generator.kind resnet; "
            f"{generator.kind} has none.",
        )
        self.translators["AtoB"] = network
        side = generator.multiple * -(-max(32, generator.min_size) // generator.multiple)
        channels = [features.shape[1] for features in features_of(network, torch.zeros(1, a, side, side))]
        heads = nn.ModuleList(ContrastHead(width, config.head_channels) for width in channels)
        self.translators["heads"] = initialised(heads, seed, "heads")
        self.discriminators["B"] = initialised(discriminator.build(b), seed, "discriminator B")

    def generate(self, batch: Batch) -> CUTImages:
        """Translate A, and B into itself if the identity contrast is on."""
        mirrored = self.training and self.config.flip_equivariance and bool(torch.rand(()) < 0.5)
        input_a, input_b = (batch.a.flip(3), batch.b.flip(3)) if mirrored else (batch.a, batch.b)
        generator = self.translators["AtoB"]
        identity_b = generator(input_b) if self.config.identity_contrast else None
        mask = batch.mask_a.flip(3) if mirrored and batch.mask_a is not None else batch.mask_a
        return CUTImages(input_a, composite(input_a, generator(input_a), mask), identity_b, mirrored, mask)

    def generator_losses(self, batch: Batch, images: CUTImages) -> dict[str, Tensor]:
        """Return the adversarial term and the contrastive terms of eq. 5: on A, and on B if identity contrast is on."""
        c = self.config
        scores = self.discriminators["B"](attended(images.fake_b, images.mask))
        terms = {"adversarial_b": masked_generator_adversarial(c.adversarial, scores, images.mask)}
        share = 0.5 if images.identity_b is not None else 1.0  # the published loss is the mean of both
        terms["contrast_a"] = share * c.contrast_weight * self._contrast(batch.a, images.fake_b, images.mirrored)
        if images.identity_b is not None:
            terms["contrast_b"] = (
                share * c.contrast_weight * self._contrast(batch.b, images.identity_b, images.mirrored)
            )
        return terms

    def discriminator_losses(self, batch: Batch, images: CUTImages) -> dict[str, Tensor]:
        """Return the discriminator's loss on real images and on detached translations; there is no pool."""
        masks = None if batch.mask_b is None or images.mask is None else (batch.mask_b, images.mask)
        real, fake = attended(batch.b, batch.mask_b), attended(images.fake_b.detach(), images.mask)
        return self.discriminator_terms("B", real, fake, self.config.adversarial, masks=masks)

    def prevents_capture(self) -> str:
        """Return the setting that mirrors some of the batches."""
        return "objective.flip_equivariance" if self.config.flip_equivariance else super().prevents_capture()

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return the input, its translation and the identity image of domain B."""
        generator = self.translators["AtoB"]
        made = {"real_a": batch.a, "fake_b": composite(batch.a, generator(batch.a), batch.mask_a)}
        identity_b = composite(batch.b, generator(batch.b), batch.mask_b)
        return {"AtoB": {**made, "real_b": batch.b, "identity_b": identity_b}}

    def _contrast(self, source: Tensor, made: Tensor, mirrored: bool) -> Tensor:
        """Return the patch-wise contrastive loss of a translation and its source, averaged over encoder layers."""
        generator, heads = self.translators["AtoB"], self.translators["heads"]
        assert isinstance(heads, nn.ModuleList)
        of_made = features_of(generator, made)
        of_source = features_of(generator, source)
        losses = []
        for head, query, key in zip(heads, of_made, of_source, strict=True):
            query = query.flip(3) if mirrored else query
            places = torch.randperm(query.shape[2] * query.shape[3], device=query.device)[: self.config.num_patches]
            keys = head(key, places).detach()
            losses.append(patch_contrast(head(query, places), keys, self.config.temperature))
        return torch.stack(losses).mean()


class ContrastHead(nn.Module):
    """Projection head: two linear layers on the feature vectors of some locations, then L2 norm (the paper's H_l)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, out_channels), nn.ReLU(), nn.Linear(out_channels, out_channels)
        )

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        """Return vectors n p out_channels of unit length, from features n c h w at `places` (p indices into h w)."""
        vectors = features.flatten(2)[:, :, places].transpose(1, 2)
        return F.normalize(self.layers(vectors), dim=2)


def features_of(generator: nn.Module, image: Tensor) -> Sequence[Tensor]:
    """Return the activations of a generator's encoder, n c' h' w' each."""
    assert isinstance(generator, HasFeatures)
    return generator.features(image)


def patch_contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of classifying each query's positive key among the keys of its image (eq. 3 and 4).

    queries, keys: n p c of unit length; the negatives are the other locations of the same image.
    temperature: tau, divides the similarities.
    """
    similarity = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(queries.shape[1], device=queries.device).expand(len(queries), -1)
    return F.cross_entropy(similarity.flatten(0, 1), own.flatten())
