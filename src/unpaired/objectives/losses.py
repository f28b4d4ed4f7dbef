"""Loss terms as pure functions: scores and images in, scalar tensors out.

Scores are a discriminator's raw outputs (any shape); images are n c h w in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.config import require

AdversarialLoss = Literal["lsgan", "cross_entropy", "hinge", "wgan_gp"]


def generator_adversarial(kind: AdversarialLoss, fake_scores: Tensor) -> Tensor:
    """Return how far the generator is from being taken for real.

    lsgan: mean (D(fake) - 1)^2 (Mao et al. 2017; CycleGAN section 4, not halved). cross_entropy: the
    non-saturating -log sigmoid D(fake) (Goodfellow et al. 2014). hinge: -mean D(fake) (Lim & Ye 2017).
    wgan_gp: the same -mean D(fake) (Arjovsky et al. 2017).
    """
    match kind:
        case "lsgan":
            return F.mse_loss(fake_scores, torch.ones_like(fake_scores))
        case "cross_entropy":
            return F.binary_cross_entropy_with_logits(fake_scores, torch.ones_like(fake_scores))
        case "hinge" | "wgan_gp":
            return -fake_scores.mean()


def discriminator_adversarial(
    kind: AdversarialLoss, real_scores: Tensor, fake_scores: Tensor, *, real_label: float = 1.0
) -> Tensor:
    """Return the discriminator's loss, (real + fake) / 2 as the official code weights it, but for wgan_gp.

    lsgan: (mean (D(real) - 1)^2 + mean D(fake)^2) / 2. cross_entropy: likewise with binary cross-entropy.
    hinge: (mean relu(1 - D(real)) + mean relu(1 + D(fake))) / 2. wgan_gp: mean D(fake) - mean D(real), not halved,
    and to it belongs the weighted `gradient_penalty` (Gulrajani et al. 2017, eq. 3). real_label: what real images
    are labelled with, in (0, 1]; below 1 is one-sided label smoothing (Salimans et al. 2016, section 3.4). Raises
    ConfigError where that has no meaning: hinge and wgan_gp have no labels.
    """
    require(0 < real_label <= 1, f"The label of real images must be above 0 and at most 1, not {real_label}.")
    labelled = kind in ("lsgan", "cross_entropy")
    require(labelled or real_label == 1, f"{kind} has no labels to smooth: leave the label of real images at 1.")
    target = torch.full_like(real_scores, real_label)
    match kind:
        case "lsgan":
            real = F.mse_loss(real_scores, target)
            fake = F.mse_loss(fake_scores, torch.zeros_like(fake_scores))
        case "cross_entropy":
            real = F.binary_cross_entropy_with_logits(real_scores, target)
            fake = F.binary_cross_entropy_with_logits(fake_scores, torch.zeros_like(fake_scores))
        case "hinge":
            real, fake = F.relu(1 - real_scores).mean(), F.relu(1 + fake_scores).mean()
        case "wgan_gp":
            return fake_scores.mean() - real_scores.mean()
    return (real + fake) / 2


def gradient_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Return mean (|grad D(x)| - 1)^2 at x = alpha real + (1 - alpha) fake, one x an image; not weighted.

    Gulrajani et al. 2017, eq. 3; their weight is 10. judge: a critic, n c h w to raw scores n k ...; it may join a
    condition to what it is given. real, fake: n c h w of one size, taken as constants. alpha: n 1 1 1, uniform in
    [0, 1]. |grad| is the Euclidean norm over an image's every value. Where a critic scores patches it is their mean
    that is held to slope 1, since that is what the loss compares; the official code takes their sum. Each of k
    critics side by side is held to it by itself. The graph is kept, so the critic's weights receive gradients.
    """
    mixed = (alpha * real.detach() + (1 - alpha) * fake.detach()).requires_grad_()
    scores = judge(mixed)
    critics = scores.reshape(*scores.shape[:2], -1).mean(2).sum(0)  # k sums over images, which do not see each other
    gradients = [torch.autograd.grad(critic, mixed, create_graph=True)[0] for critic in critics]
    slopes = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    return (slopes - 1).square().mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of two batches, on their own scale (here [-1, 1])."""
    return F.l1_loss(x, y)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of a player's weighted terms: what is differentiated."""
    return torch.stack(list(terms.values())).sum()
