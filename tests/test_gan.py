"""The losses of unconditional and conditional GANs equal those of their papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.networks import DCGANDiscriminator, DCGANGenerator
from unpaired.objectives import GAN
from unpaired.objectives.gan import GANObjective

NUM_NOISE, NUM_CLASSES, SIZE = 5, 3, 32


def build(**settings: Any) -> GANObjective:
    networks = (
        DCGANGenerator(size=SIZE, base_channels=2, norm="none"),
        DCGANDiscriminator(size=SIZE, base_channels=2, norm="none"),
    )
    channels = NUM_NOISE + (NUM_CLASSES if settings.get("conditional") else 0)
    objective = GAN(noise_channels=NUM_NOISE, **settings).build(*networks, channels, 3, 0).double()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.mul_(10)  # so that scores differ
    return objective


def taken_for(label: float, scores: Tensor) -> float:
    return float(-(label * F.logsigmoid(scores) + (1 - label) * F.logsigmoid(-scores)).mean())


@torch.no_grad()
@pytest.mark.parametrize("conditional", [True, False])
def test_real_and_made_images_are_judged_beside_their_own_class(conditional: bool) -> None:
    objective = build(conditional=conditional, real_label=0.9)
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(4, NUM_NOISE, 1, 1, generator=draw, dtype=torch.float64)
    real = torch.rand(4, 3, SIZE, SIZE, generator=draw, dtype=torch.float64) * 2 - 1
    classes = F.one_hot(torch.tensor([0, 2, 1, 2]), NUM_CLASSES).double()[:, :, None, None]
    planes = classes.expand(-1, -1, SIZE, SIZE)
    given = torch.cat([noise, classes], 1) if conditional else noise
    batch = Batch(a=given, b=real)
    images = objective.generate(batch)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    made, judge = objective.translators["AtoB"](given), objective.discriminators["B"]
    on_made, on_real = (judge(torch.cat([x, planes], 1) if conditional else x) for x in (made, real))
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "adversarial_b": taken_for(1, on_made),  # the loss that does not saturate
            "discriminator_b": (taken_for(0.9, on_real) + taken_for(0, on_made)) / 2,
        },
        rel=1e-10,
    )
