"""Compares the gradients of two implementations of a training step, since wrong gradients can have right losses."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.objectives.base import Objective
from unpaired.objectives.pool import ImagePool
from unpaired.training.run_config import Precision
from unpaired.training.step import generated, gradients_of, leave_gradients, player_losses

LEAST_COSINE: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.9}
"""Least median cosine between the gradients of a weight and their reference.

For the first step of an untrained network in bfloat16 it is 0.94 against float64; for a wrong gradient about 0.
"""


def step_gradients(objective: Objective[Any], batch: Batch, precision: Precision) -> dict[str, Tensor]:
    """Return the gradients of both players on a batch by name of the weight, without the image pools.

    The objective is restored afterwards, without gradients.
    """
    pools, buffers = dict(objective.pools), [(buffer, buffer.clone()) for buffer in objective.changing_buffers()]
    objective.pools.update({name: ImagePool(0, seed=pool.seed, name=name) for name, pool in pools.items()})
    objective.zero_grad(set_to_none=True)
    try:
        images = generated(objective, batch, precision)
        for player in objective.order:
            terms = player_losses(objective, player, batch, images, precision)
            if terms:
                leave_gradients(objective.players()[player], objective.independent_terms(batch, terms))
        return gradients_of(objective)
    finally:
        objective.zero_grad(set_to_none=True)
        objective.pools.update(pools)
        for buffer, before in buffers:
            buffer.copy_(before)


def median_cosine(found: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """Return the median over the weights of the cosine between two gradients, -1 if they belong to other weights.

    Biases are left out: before instance norm their gradient is only rounding.
    """
    if found.keys() != truth.keys():
        return -1.0
    return statistics.median(
        torch.cosine_similarity(
            found[name].cpu().double().flatten(), truth[name].cpu().double().flatten(), dim=0
        ).item()
        for name in truth
        if truth[name].ndim > 1
    )
