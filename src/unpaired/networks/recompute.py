"""Activation checkpointing: activations are recomputed in the backward pass instead of stored.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". Outputs, gradients, dropout masks and running
statistics are bit-identical; most of the forward pass is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unpaired.compat.torch_private import BatchNorm


class Recomputing(nn.Module):
    """A network with activation checkpointing: its parts store only their inputs if `recompute` is set."""

    recompute = False

    def run(self, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return part(*inputs). The part must not modify its inputs in place, because it is called with them again."""
        if not (self.recompute and torch.is_grad_enabled()):
            return part(*inputs)
        made: Tensor = checkpoint(
            part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_running_statistics(self))
        )
        return made

    def run_each(self, parts: nn.Sequential, features: Tensor) -> Tensor:
        """Return parts(features); each element is recomputed separately."""
        if not self.recompute:
            made: Tensor = parts(features)
            return made
        for part in parts:
            features = self.run(part, features)
        return features


@contextmanager
def frozen_running_statistics(network: nn.Module) -> Iterator[None]:
    """Prevent a second update of the running statistics of batch norms in the block.

    The recomputed forward pass must save the same tensors as the first one. The running statistics are therefore still
    passed to the operator, with momentum 0.
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


def recomputing_networks(networks: nn.Module) -> list[Recomputing]:
    """Return the modules, at any depth, that support activation checkpointing."""
    return [module for module in networks.modules() if isinstance(module, Recomputing)]
