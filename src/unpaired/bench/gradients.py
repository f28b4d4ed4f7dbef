"""The check before any timing: a mode that is fast and wrong has the right losses and the wrong gradients."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from unpaired.bench.cases import config_at, new_objective, random_batch
from unpaired.data.datasets import Batch
from unpaired.errors import UnpairedError
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.training.run_config import Precision
from unpaired.training.step import autocast, leave_gradients, player_losses

LEAST_COSINE = {"fp32": 0.9999, "bf16": 0.9}
"""How parallel the gradient of the middle weight must be to the one in float64.

In bfloat16 an untrained network leaves 0.94 at its first step; a wrong gradient leaves about 0.
"""


def gradient_agreement(size: int, precision: Precision, device: torch.device) -> float:
    """Return the median over the weights of the cosine between a step's gradients and those in float64 on the CPU."""
    config = config_at(size)
    fast, exact = new_objective(config, device), new_objective(config, torch.device("cpu")).double()
    batch = random_batch(config, device)
    found = _gradients(fast, batch, precision)
    truth = _gradients(exact, Batch(a=batch.a.cpu().double(), b=batch.b.cpu().double()), "fp32")
    cosines = [
        torch.cosine_similarity(found[name].cpu().double().flatten(), truth[name].flatten(), dim=0).item()
        for name in truth
        if truth[name].ndim > 1  # biases in front of instance norm have no gradient but rounding
    ]
    return statistics.median(cosines)


def check_gradients(size: int, precision: Precision, device: torch.device) -> float:
    """Return the agreement; raises UnpairedError where the mode's gradients are wrong, so that it is not timed."""
    agreement = gradient_agreement(size, precision, device)
    if agreement < LEAST_COSINE[precision]:
        raise UnpairedError(
            f"The gradients of {precision} at {size} x {size} are wrong on {device} (cosine {agreement:.4f} to "
            f"float64, {LEAST_COSINE[precision]} wanted), so it is not timed; do not train with it, and report your "
            "torch version."
        )
    return agreement


def _gradients(objective: CycleGANObjective, batch: Batch, precision: Precision) -> dict[str, Tensor]:
    with autocast(batch.a.device, precision):
        images = objective.generate(batch)
    for player in objective.order:
        terms = player_losses(objective, player, batch, images, precision)
        leave_gradients(objective.players()[player], objective.halves(batch, terms))
    return {name: weight.grad for name, weight in objective.named_parameters() if weight.grad is not None}
