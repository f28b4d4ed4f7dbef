"""Adaptive augmentation: its probability follows the overfitting of the discriminator.

Karras et al., "Training generative adversarial networks with limited data" (2020), section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RISE = 2000
"""Images over which the probability rises from 0 to 1 if the discriminator overfits all the time. Published: 500,000,
for runs of 25 million images; runs of this family see some thousands."""

MEMORY = 64
"""Updates over which the mean sign is averaged, exponentially. Published: 4 batches of 64 images."""

UNDECIDED = {"lsgan": 0.5, "cross_entropy": 0.0, "hinge": 0.0}
"""Score of an image that a discriminator considers neither real nor generated, by adversarial loss."""


class AdaptiveProbability(nn.Module):
    """The augmentation probability of one discriminator; both numbers are buffers, so checkpoints hold them.

    probability: in [0, most], 0 at the start.
    overfitting: the exponential mean of E[sign(D(real))], r_t of the paper: 0 if the discriminator cannot decide, 1 if
        it recognises every training image.
    target: value of `overfitting` below which the probability falls, and above which it rises (published: 0.6).
    """

    probability: Tensor
    overfitting: Tensor

    def __init__(self, target: float, most: float = 1.0) -> None:
        super().__init__()
        self.target, self.most = target, most
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("overfitting", torch.zeros(()))

    @torch.no_grad()
    def update(self, real_scores: Tensor, undecided: float) -> None:
        """Adapt the probability to the scores n k h w of a batch of training images, without reading a value.

        undecided: score of an image that the discriminator considers neither real nor generated.
        """
        sign = (real_scores.detach().float() - undecided).sign().mean()
        self.overfitting.lerp_(sign, 1 / MEMORY)
        step = len(real_scores) / RISE
        self.probability.add_((self.overfitting - self.target).sign() * step).clamp_(0, self.most)
