"""Loss terms as pure functions: scores and images in, scalar tensors out.

Scores are a discriminator's raw outputs (any shape); images are n c h w in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialLoss = Literal["lsgan", "cross_entropy", "hinge"]


def generator_adversarial(kind: AdversarialLoss, fake_scores: Tensor) -> Tensor:
    """Return how far the generator is from being taken for real.

    lsgan: mean (D(fake) - 1)^2 (Mao et al. 2017; CycleGAN section 4, not halved). cross_entropy: the
    non-saturating -log sigmoid D(fake) (Goodfellow et al. 2014). hinge: -mean D(fake) (Lim & Ye 2017).
    """
    match kind:
        case "lsgan":
            return F.mse_loss(fake_scores, torch.ones_like(fake_scores))
        case "cross_entropy":
            return F.binary_cross_entropy_with_logits(fake_scores, torch.ones_like(fake_scores))
        case "hinge":
            return -fake_scores.mean()


def discriminator_adversarial(kind: AdversarialLoss, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return the discriminator's loss, (real + fake) / 2 as the official code weights it.

    lsgan: (mean (D(real) - 1)^2 + mean D(fake)^2) / 2. cross_entropy: likewise with binary cross-entropy.
    hinge: (mean relu(1 - D(real)) + mean relu(1 + D(fake))) / 2.
    """
    match kind:
        case "lsgan":
            real = F.mse_loss(real_scores, torch.ones_like(real_scores))
            fake = F.mse_loss(fake_scores, torch.zeros_like(fake_scores))
        case "cross_entropy":
            real = F.binary_cross_entropy_with_logits(real_scores, torch.ones_like(real_scores))
            fake = F.binary_cross_entropy_with_logits(fake_scores, torch.zeros_like(fake_scores))
        case "hinge":
            real, fake = F.relu(1 - real_scores).mean(), F.relu(1 + fake_scores).mean()
    return (real + fake) / 2


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of two batches, on their own scale (here [-1, 1])."""
    return F.l1_loss(x, y)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of a player's weighted terms: what is differentiated."""
    return torch.stack(list(terms.values())).sum()
