"""Loss terms as pure functions: scores and images in, scalar tensors out.

Scores are a discriminator's raw outputs (any shape); images are n c h w in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.config import require
from unpaired.registry import Registry


class DiscriminatorTerm(Protocol):
    """A discriminator's loss."""

    def __call__(self, real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
        """Return a scalar, from raw scores of any shape and the label of real images (1 unless smoothed)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An adversarial loss: a pair of functions, named by `objective.adversarial`.

    kind: the name of the loss.
    generator: maps raw scores of generated images to a scalar.
    discriminator: maps raw scores of real and of generated images, and the label of real ones, to a weighted scalar.
    labelled: whether real images have a label that can be smoothed.
    penalised: whether the loss includes the gradient penalty of WGAN-GP, which needs images of one size.
    undecided: the loss of a discriminator that cannot distinguish generated from real images; the guardian detects a
        winning discriminator relative to it. None if the loss has no such value.
    """

    kind: str
    generator: Callable[[Tensor], Tensor]
    discriminator: DiscriminatorTerm
    labelled: bool = False
    penalised: bool = False
    undecided: float | None = None


def _lsgan_generator(fake_scores: Tensor) -> Tensor:
    """Mao et al. 2017; not halved (CycleGAN, section 4)."""
    return F.mse_loss(fake_scores, torch.ones_like(fake_scores))


def _lsgan_discriminator(real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
    real = F.mse_loss(real_scores, torch.full_like(real_scores, real_label))
    fake = F.mse_loss(fake_scores, torch.zeros_like(fake_scores))
    return _half_of_both(real, fake)


def _cross_entropy_generator(fake_scores: Tensor) -> Tensor:
    """Goodfellow et al. 2014: the non-saturating -log sigmoid D(fake)."""
    return F.binary_cross_entropy_with_logits(fake_scores, torch.ones_like(fake_scores))


def _cross_entropy_discriminator(real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
    real = F.binary_cross_entropy_with_logits(real_scores, torch.full_like(real_scores, real_label))
    fake = F.binary_cross_entropy_with_logits(fake_scores, torch.zeros_like(fake_scores))
    return _half_of_both(real, fake)


def _critic_generator(fake_scores: Tensor) -> Tensor:
    """Lim & Ye 2017 (hinge) and Arjovsky et al. 2017 (WGAN)."""
    return -fake_scores.mean()


def _hinge_discriminator(real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
    return _half_of_both(F.relu(1 - real_scores).mean(), F.relu(1 + fake_scores).mean())


def _wgan_discriminator(real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
    """Gulrajani et al. 2017, eq. 3, without its penalty: not halved."""
    return fake_scores.mean() - real_scores.mean()


def _half_of_both(real: Tensor, fake: Tensor) -> Tensor:
    """Average both sides, like the official code."""
    return (real + fake) / 2


LOSSES: Registry[Loss] = Registry(
    "adversarial loss",
    "unpaired.losses",
    (
        Loss(
            kind="lsgan",
            generator=_lsgan_generator,
            discriminator=_lsgan_discriminator,
            labelled=True,
            undecided=0.25,
        ),
        Loss(
            kind="cross_entropy",
            generator=_cross_entropy_generator,
            discriminator=_cross_entropy_discriminator,
            labelled=True,
            undecided=math.log(2),
        ),
        Loss(kind="hinge", generator=_critic_generator, discriminator=_hinge_discriminator, undecided=1.0),
        Loss(kind="wgan_gp", generator=_critic_generator, discriminator=_wgan_discriminator, penalised=True),
    ),
    required=("generator", "discriminator", "labelled", "penalised", "undecided"),
)
"""The adversarial losses by their kind."""

AdversarialKind = Annotated[str, LOSSES]
"""A setting that names an adversarial loss."""


def adversarial_loss(kind: str) -> Loss:
    """Return the loss named by `objective.adversarial`. Raises UnknownKindError."""
    return LOSSES.get(kind, "objective.adversarial")


def generator_adversarial(kind: str, fake_scores: Tensor) -> Tensor:
    """Return the generator's adversarial loss.

    lsgan: mean (D(fake) - 1)^2. cross_entropy: mean -log sigmoid D(fake). hinge, wgan_gp: -mean D(fake).
    """
    return adversarial_loss(kind).generator(fake_scores)


def discriminator_adversarial(
    kind: str, real_scores: Tensor, fake_scores: Tensor, *, real_label: float = 1.0
) -> Tensor:
    """Return the discriminator's loss, (real + fake) / 2 as in the official code, except for wgan_gp.

    lsgan: (mean (D(real) - 1)^2 + mean D(fake)^2) / 2. cross_entropy: likewise with binary cross-entropy.
    hinge: (mean relu(1 - D(real)) + mean relu(1 + D(fake))) / 2. wgan_gp: mean D(fake) - mean D(real), not halved;
    the weighted `gradient_penalty` (Gulrajani et al. 2017, eq. 3) has to be added.

    real_label: label of real images, in (0, 1]; below 1 is one-sided label smoothing (Salimans et al. 2016,
        section 3.4).

    Raises ConfigError for a smoothed label if the loss has no labels: hinge and wgan_gp.
    """
    require(0 < real_label <= 1, f"The label of real images must be above 0 and at most 1, not {real_label}.")
    loss = adversarial_loss(kind)
    require(loss.labelled or real_label == 1, f"{kind} has no labels to smooth; leave the label of real images at 1.")
    return loss.discriminator(real_scores, fake_scores, real_label)


def gradient_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Return mean (|grad D(x)| - 1)^2 at x = alpha real + (1 - alpha) fake, one x per image; not weighted.

    Source: Gulrajani et al. 2017, eq. 3; their weight is 10. |grad| is the Euclidean norm over all values of an image.
    For a critic that scores patches, D is the mean of the scores, as in the loss; the official code uses their sum.
    Each of k critics is penalised separately. The result is differentiable with respect to the critic's weights.

    judge: a critic, n c h w to raw scores n k ...; it may concatenate a condition to its input.
    real, fake: n c h w of one size, treated as constants.
    alpha: n 1 1 1, uniform in [0, 1].
    """
    mixed = (alpha * real.detach() + (1 - alpha) * fake.detach()).requires_grad_()
    scores = judge(mixed)
    critics = scores.reshape(*scores.shape[:2], -1).mean(2).sum(0)  # k sums over independent images
    gradients = [torch.autograd.grad(critic, mixed, create_graph=True)[0] for critic in critics]
    slopes = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    return (slopes - 1).square().mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of two batches, in their units (here [-1, 1])."""
    return F.l1_loss(x, y)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of a player's weighted terms, the scalar to differentiate."""
    return torch.stack(list(terms.values())).sum()
