"""Gradient check before timing: a faulty mode may have correct losses but wrong gradients."""

from __future__ import annotations

import torch

from unpaired.bench.cases import Mode, config_at, new_objective, random_batch
from unpaired.data.datasets import Batch
from unpaired.errors import UnpairedError
from unpaired.training.compiling import compile_networks
from unpaired.training.gradient_check import LEAST_COSINE, middle_cosine, step_gradients


def gradient_agreement(size: int, mode: Mode, device: torch.device) -> float:
    """Return the median over the weights of the cosine between a step's gradients and those in float64 on the CPU."""
    config = config_at(size)
    fast = new_objective(config, device, mode.way)
    if mode.way == "compiled":
        compile_networks(fast)
    exact = new_objective(config, torch.device("cpu")).double()
    batch = random_batch(config, device)
    found = step_gradients(fast, batch, mode.precision)
    truth = step_gradients(exact, Batch(a=batch.a.cpu().double(), b=batch.b.cpu().double()), "fp32")
    return middle_cosine(found, truth)


def check_gradients(size: int, mode: Mode, device: torch.device) -> float:
    """Return the agreement; raises UnpairedError if the mode's gradients are wrong."""
    agreement, least = gradient_agreement(size, mode, device), LEAST_COSINE[mode.precision]
    if not agreement >= least:
        raise UnpairedError(
            f"The gradients of {mode.name} at {size} x {size} are wrong on {device} (cosine {agreement:.4f} to "
            f"float64, at least {least} required), so it is not timed; do not train with it, and report your torch "
            "version."
        )
    return agreement
