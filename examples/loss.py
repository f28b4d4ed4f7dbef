"""An adversarial loss of your own: least squares with the labels -1, 1 and 0 (Mao et al. 2017, eq. 8).

    unpaired train DATA --recipe examples/loss.py:chi_squared
    unpaired train DATA --recipe examples/loss.py:chi_squared --objective.identity-weight 0

Installed as an entry point of the group `unpaired.losses` it needs no --recipe: --objective.adversarial chi_squared.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

import unpaired
from unpaired.objectives import CycleGAN, Loss
from unpaired.recipes import Config, paper


def generator(fake_scores: Tensor) -> Tensor:
    """Return mean D(fake)^2 / 2, from raw scores of any shape."""
    return fake_scores.square().mean() / 2


def discriminator(real_scores: Tensor, fake_scores: Tensor, real_label: float) -> Tensor:
    """Return (mean (D(real) - label)^2 + mean (D(fake) + 1)^2) / 2."""
    return ((real_scores - real_label).square().mean() + (fake_scores + 1).square().mean()) / 2


unpaired.register(
    Loss(
        kind="chi_squared",
        generator=generator,
        discriminator=discriminator,
        labelled=True,  # the label of real images can be smoothed
        undecided=1.0,  # the discriminator's loss if it always answers 0
    )
)


def chi_squared() -> Config:
    """The paper's recipe with this loss."""
    return replace(paper(), objective=CycleGAN(adversarial="chi_squared"))
