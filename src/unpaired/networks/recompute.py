"""Activation checkpointing: what a part of a network made is computed again in the backward pass instead of kept.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". Values, gradients, draws of dropout and statistics of
batch norms are the same, bit for bit; most of the forward pass is paid for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unpaired.compat.torch_private import BatchNorm


class Recomputing(nn.Module):
    """A network whose parts keep only their inputs for the backward pass where `recompute` is set."""

    recompute = False

    def run(self, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return part(*inputs). The part must not change its inputs in place: it is given them a second time."""
        if not (self.recompute and torch.is_grad_enabled()):
            return part(*inputs)
        made: Tensor = checkpoint(
            part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_stand_still(self))
        )
        return made

    def run_each(self, parts: nn.Sequential, features: Tensor) -> Tensor:
        """Return parts(features), where each of them is a part by itself."""
        if not self.recompute:
            made: Tensor = parts(features)
            return made
        for part in parts:
            features = self.run(part, features)
        return features


@contextmanager
def statistics_stand_still(network: nn.Module) -> Iterator[None]:
    """Keep batch norms from taking note of the same batch again in the body.

    They normalise by the batch as before, and keep the same tensors for the backward pass, which must find what it
    found the first time; so the statistics are still handed over, and moved by nothing.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def recomputing(networks: nn.Module) -> list[Recomputing]:
    """Return the networks among these, and in them, that can recompute."""
    return [module for module in networks.modules() if isinstance(module, Recomputing)]
