"""CycleGAN: two generators with cycle consistency (Zhu, Park, Isola, Efros, ICCV 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks import winograd
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.adaptive import UNDECIDED, AdaptiveProbability
from unpaired.objectives.augmentation import CHANGES, augmented
from unpaired.objectives.base import Objective, Samples, initialised
from unpaired.objectives.losses import AdversarialKind, adversarial_loss
from unpaired.objectives.masked import (
    attended,
    composite,
    masked_generator_adversarial,
    masked_l1,
    with_mask,
    without_mask,
)
from unpaired.objectives.pool import ImagePool
from unpaired.side_by_side import First, Second, side_by_side


@dataclass(frozen=True)
class Mode:
    """The execution of a step for images of at most `pixels` pixels; the result is the same in every mode.

    together: one forward pass for translation and identity.
    side_by_side: on a CPU both cycles run concurrently, each with half of the threads.
    instructions: vector instructions of the processors that the row applies to, None for any.
    """

    pixels: float
    together: bool
    side_by_side: bool
    instructions: str | None = None


MODES = (
    Mode(pixels=96 * 96, together=True, side_by_side=True),
    Mode(pixels=math.inf, together=False, side_by_side=True, instructions=winograd.INSTRUCTIONS),
    Mode(pixels=math.inf, together=False, side_by_side=False),
)
"""The fastest modes according to `unpaired bench`. Small images do not keep a CPU busy otherwise, and Winograd
convolutions scale less well with the number of threads than direct ones."""


@dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Settings of CycleGAN: weights of the full objective (eq. 3) and of identity mapping (section 5.2)."""

    kind: ClassVar[str] = "cyclegan"
    pairing: ClassVar[str] = "unpaired"
    takes_masks: ClassVar[bool] = True
    cycle_weight_a: float = 10.0
    """Weight of the forward cycle consistency |F(G(a)) - a| (lambda of eq. 3; 10 as published). 0 leaves the term out.
    """
    cycle_weight_b: float = 10.0
    """Weight of the backward cycle consistency |G(F(b)) - b| (lambda of eq. 3; 10 as published). 0 leaves the term out.
    """
    identity_weight: float = 0.5
    """Weight of identity mapping, relative to the cycle weight of the same domain (section 5.2): 0.5 is 5 beside 10. It
    keeps colours; 0 leaves it out, as domains of different channels need.
    """
    identity_every: int = 1
    """Steps from one with the identity terms to the next, at least 1 (published: 1). Their weights are multiplied by
    it, so that the mean gradient remains (lazy regularisation; Karras et al. 2020, StyleGAN2, appendix B).
    """
    adversarial_weight: float = 1.0
    """Weight of both adversarial terms; 0 trains on cycle consistency alone (section 5.1.4)."""
    adversarial: AdversarialKind = "lsgan"
    """Adversarial loss: lsgan (least squares), cross_entropy (non-saturating), hinge, or wgan_gp (gradient penalty of
    weight 10; for discriminators without batch norm). CycleGAN: lsgan (section 4).
    """
    pool_size: int = 50
    """Generated images kept for each discriminator, which sees older ones among the new (section 4: 50). 0 shows new
    images only.
    """
    augmentation: tuple[str, ...] = ()
    """Random changes of all images that a discriminator sees, comma-separated: colour, translation, cutout (Zhao et al.
    2020). Helps on small sets; none as published.
    """
    augmentation_probability: float = 1.0
    """Probability in (0, 1] of each change for each image; below 1 keeps generated colours from drifting."""
    augmentation_target: float = 0.0
    """Adapts the probability of each discriminator, from 0 to augmentation_probability: it rises while the mean sign of
    the scores on training images is above this (Karras et al. 2020: 0.6). 0 keeps it fixed.
    """

    def __post_init__(self) -> None:
        adversarial_loss(self.adversarial)
        for name in ("cycle_weight_a", "cycle_weight_b", "identity_weight", "adversarial_weight", "pool_size"):
            value = getattr(self, name)
            require(value >= 0, f"objective.{name} must not be negative, not {value}.")
        require(
            self.adversarial_weight + self.cycle_weight_a + self.cycle_weight_b > 0,
            "objective.adversarial_weight and both cycle weights are 0, so nothing would be learnt; raise one.",
        )
        require(self.identity_every >= 1, f"objective.identity_every must be at least 1, not {self.identity_every}.")
        probability = self.augmentation_probability
        require(0 < probability <= 1, f"objective.augmentation_probability must be in (0, 1], not {probability}.")
        target = self.augmentation_target
        require(0 <= target < 1, f"objective.augmentation_target must be in [0, 1), not {target}.")
        require(
            target == 0 or bool(self.augmentation),
            "objective.augmentation_target adapts objective.augmentation, which is empty; add translation,cutout.",
        )
        require(
            target == 0 or self.adversarial in UNDECIDED,
            f"objective.augmentation_target needs objective.adversarial {', '.join(UNDECIDED)}, not "
            f"{self.adversarial}.",
        )
        for name in self.augmentation:
            require(name in CHANGES, f"objective.augmentation may name {', '.join(CHANGES)}, not {name!r}.")

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
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
    """What the translators make of one batch, n c h w; an image is named after the domain it shows.

    What no weighted term needs is not made.
    """

    fake_b: Tensor
    fake_a: Tensor
    rec_a: Tensor | None
    rec_b: Tensor | None
    identity_a: Tensor | None
    identity_b: Tensor | None


class CycleGANObjective(Objective[CycleGANImages]):
    """G: A to B, F: B to A, one discriminator a domain."""

    def __init__(
        self,
        config: CycleGAN,
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
        for domain, channels in (("A", a), ("B", b)):
            self.discriminators[domain] = initialised(discriminator.build(channels), seed, f"discriminator {domain}")
            self.pools[domain] = ImagePool(config.pool_size, seed=seed, name=domain)
        self.adaptive = nn.ModuleDict()
        if config.augmentation_target > 0:
            for domain in ("A", "B"):
                most = config.augmentation_probability
                self.adaptive[domain] = AdaptiveProbability(config.augmentation_target, most)

    @property
    def a_to_b(self) -> nn.Module:
        """G of the paper; n c h w in [-1, 1] to n c h w in (-1, 1)."""
        return self.translators["AtoB"]

    @property
    def b_to_a(self) -> nn.Module:
        """F of the paper."""
        return self.translators["BtoA"]

    def generate(self, batch: Batch) -> CycleGANImages:
        """Translate both domains of the batch and translate the results back."""
        c = self.config
        identity_a = identity_b = None
        if c.identity_weight > 0 and (self.step + 1) % c.identity_every == 0:
            (fake_b, identity_b), (fake_a, identity_a) = self._both(
                batch,
                lambda: translate_both(self.a_to_b, batch.a, batch.b),
                lambda: translate_both(self.b_to_a, batch.b, batch.a),
            )
        else:
            fake_b, fake_a = self._both(batch, lambda: self.a_to_b(batch.a), lambda: self.b_to_a(batch.b))
        fake_b, fake_a = composite(batch.a, fake_b, batch.mask_a), composite(batch.b, fake_a, batch.mask_b)
        rec_a, rec_b = self._both(
            batch,
            lambda: self.b_to_a(fake_b) if c.cycle_weight_a > 0 else None,
            lambda: self.a_to_b(fake_a) if c.cycle_weight_b > 0 else None,
        )
        if rec_a is not None:
            rec_a = composite(fake_b, rec_a, batch.mask_a)
        if rec_b is not None:
            rec_b = composite(fake_a, rec_b, batch.mask_b)
        return CycleGANImages(fake_b, fake_a, rec_a, rec_b, identity_a, identity_b)

    def generator_losses(self, batch: Batch, images: CycleGANImages) -> dict[str, Tensor]:
        """Return the weighted terms of eq. 1-3 and the identity terms |G(b) - b| and |F(a) - a|."""
        c = self.config
        terms = {}
        if c.adversarial_weight > 0:
            # Augmented here, because concurrent functions must not use the random generator.
            seen_b = self._augmented("B", attended(images.fake_b, batch.mask_a))
            seen_a = self._augmented("A", attended(images.fake_a, batch.mask_b))
            scores_b, scores_a = self._both(
                batch, lambda: self.discriminators["B"](seen_b), lambda: self.discriminators["A"](seen_a)
            )
            of_b = masked_generator_adversarial(c.adversarial, scores_b, batch.mask_a)
            of_a = masked_generator_adversarial(c.adversarial, scores_a, batch.mask_b)
            terms["adversarial_b"], terms["adversarial_a"] = c.adversarial_weight * of_b, c.adversarial_weight * of_a
        if images.rec_a is not None:
            terms["cycle_a"] = c.cycle_weight_a * masked_l1(images.rec_a, batch.a, batch.mask_a)
        if images.rec_b is not None:
            terms["cycle_b"] = c.cycle_weight_b * masked_l1(images.rec_b, batch.b, batch.mask_b)
        if images.identity_a is not None and images.identity_b is not None:
            same_a = masked_l1(images.identity_a, batch.a, batch.mask_a)
            same_b = masked_l1(images.identity_b, batch.b, batch.mask_b)
            weight = c.identity_every * c.identity_weight
            terms["identity_a"] = weight * c.cycle_weight_a * same_a
            terms["identity_b"] = weight * c.cycle_weight_b * same_b
        return terms

    def discriminator_losses(self, batch: Batch, images: CycleGANImages) -> dict[str, Tensor]:
        """Return each discriminator's loss on real images and on images of its pool; empty without adversarial loss."""
        if self.config.adversarial_weight == 0:
            return {}
        fake_a, mask_a = self._pooled("A", images.fake_a, batch.mask_b)
        fake_b, mask_b = self._pooled("B", images.fake_b, batch.mask_a)
        masks_a = None if batch.mask_a is None or mask_a is None else (batch.mask_a, mask_a)
        masks_b = None if batch.mask_b is None or mask_b is None else (batch.mask_b, mask_b)
        seen_a = self._augmented("A", attended(batch.a, batch.mask_a)), self._augmented("A", attended(fake_a, mask_a))
        seen_b = self._augmented("B", attended(batch.b, batch.mask_b)), self._augmented("B", attended(fake_b, mask_b))
        of_a, of_b = self._both(
            batch,
            lambda: self.discriminator_terms("A", *seen_a, self.config.adversarial, masks=masks_a),
            lambda: self.discriminator_terms("B", *seen_b, self.config.adversarial, masks=masks_b),
        )
        return {**of_a, **of_b}

    def steps_to_all_terms(self) -> int:
        """Return the steps from one with the identity terms to the next."""
        return self.config.identity_every if self.config.identity_weight > 0 else 1

    def prevents_capture(self) -> str:
        """Return the setting with which the terms differ between steps, "" if they do not."""
        lazy = self.steps_to_all_terms() > 1
        return super().prevents_capture() or ("objective.identity_every" if lazy else "")

    def prevents_accumulation(self) -> str:
        """Return the setting with which micro-batches are not equivalent to the whole batch, else ""."""
        setting = super().prevents_accumulation()
        return "" if setting == "objective.identity_every" else setting  # all micro-batches of a step have the terms

    def _pooled(self, domain: str, images: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return images of the pool, in exchange for new ones, with their masks."""
        return without_mask(self.pools[domain].query(with_mask(images, mask)), mask)

    def independent_terms(self, batch: Batch, terms: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """Return the terms by cycle, a -> b -> a and b -> a -> b, or by discriminator, if these run concurrently."""
        if not self._is_side_by_side(batch):
            return [terms]
        first = ("adversarial_b", "cycle_a", "identity_b", "discriminator_a")
        parts = [{name: term for name, term in terms.items() if (name in first) == mine} for mine in (True, False)]
        return [part for part in parts if part]

    def _both(self, batch: Batch, first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
        """Call two functions, one per cycle or discriminator, concurrently if that is faster; return both results."""
        return side_by_side(first, second) if self._is_side_by_side(batch) else (first(), second())

    def _is_side_by_side(self, batch: Batch) -> bool:
        """Return whether to run the two cycles concurrently: if that is faster and they are independent.

        They are not if they share a random generator (dropout, WGAN-GP) or the running statistics of a batch norm.
        """
        mode = mode_of(max(batch.a[0, 0].numel(), batch.b[0, 0].numel()))
        if not mode.side_by_side or batch.a.device.type != "cpu" or torch.get_num_threads() < 2:
            return False
        shared = any(
            isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Dropout) and module.p > 0)
            for module in self.modules()
        )
        return not shared and not adversarial_loss(self.config.adversarial).penalised

    def _augmented(self, domain: str, images: Tensor) -> Tensor:
        """Return images of a domain after augmentation, as passed to its discriminator."""
        c = self.config
        probability = self._probabilities().get(domain, c.augmentation_probability)
        return augmented(images, c.augmentation, probability)

    def _probabilities(self) -> dict[str, Tensor]:
        """Return the adapted probabilities by domain, none if the probability is fixed."""
        found = ((domain, module) for domain, module in self.adaptive.items())
        return {domain: module.probability for domain, module in found if isinstance(module, AdaptiveProbability)}

    def observe(self, domain: str, real_scores: Tensor) -> None:
        """Adapt the augmentation of a discriminator to its scores on training images."""
        if domain in self.adaptive and self.training:
            adaptive = self.adaptive[domain]
            assert isinstance(adaptive, AdaptiveProbability)
            adaptive.update(real_scores, UNDECIDED[self.config.adversarial])

    def shown(self) -> dict[str, Tensor]:
        """Return the adapted probabilities of augmentation."""
        return {f"augmentation_{domain.lower()}": value for domain, value in self._probabilities().items()}

    @torch.no_grad()
    def samples(self, batch: Batch) -> Samples:
        """Return real, fake, reconstructed and (for equal channel counts) identity images of both directions."""
        fake_b = composite(batch.a, self.a_to_b(batch.a), batch.mask_a)
        fake_a = composite(batch.b, self.b_to_a(batch.b), batch.mask_b)
        rec_a = composite(fake_b, self.b_to_a(fake_b), batch.mask_a)
        rec_b = composite(fake_a, self.a_to_b(fake_a), batch.mask_b)
        a = {"real_a": batch.a, "fake_b": fake_b, "rec_a": rec_a}
        b = {"real_b": batch.b, "fake_a": fake_a, "rec_b": rec_b}
        if batch.a.shape[1] == batch.b.shape[1]:
            a["identity_a"] = composite(batch.a, self.b_to_a(batch.a), batch.mask_a)
            b["identity_b"] = composite(batch.b, self.a_to_b(batch.b), batch.mask_b)
        return {"AtoB": a, "BtoA": b}


def mode_of(pixels: int) -> Mode:
    """Return the first row of `MODES` that applies to an image of `pixels` pixels on this processor."""
    here = (None, torch.backends.cpu.get_cpu_capability())
    return next(mode for mode in MODES if pixels <= mode.pixels and mode.instructions in here)


def translate_both(translator: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the translations of two batches n c h w, in one forward pass if that is faster and equivalent.

    With batch norm it is not equivalent, because the batches would share their statistics.
    """
    together = mode_of(first.shape[2:].numel()).together and first.shape[1:] == second.shape[1:]
    if not together or any(isinstance(module, nn.BatchNorm2d) for module in translator.modules()):
        return translator(first), translator(second)
    made: Tensor = translator(torch.cat([first, second]))
    return made[: len(first)], made[len(first) :]
