"""Counts the peak memory of a run's tensors without allocating them, by running its code on fake tensors.

Every operation of a training step, of the sample grid and of a checkpoint runs on shapes alone, and the bytes of the
tensors that are alive at the same time are added up. `unpaired.runs.memory_plan` estimates the memory of the process
from them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.compat.torch_private import FakeTensorMode, TorchDispatchMode, storage_key, tree_leaves
from unpaired.data.datasets import Batch
from unpaired.recipes import Config, build_objective
from unpaired.side_by_side import in_this_thread
from unpaired.training.autocast import precision_on
from unpaired.training.inference_weights import ema_weights, inference_mode
from unpaired.training.state import TrainingState
from unpaired.training.step import all_or_nothing, both_players


@dataclass(frozen=True)
class Footprint:
    """Peak bytes of the tensors that are alive at the same time.

    step: in a training step. samples: while the sample grid is drawn. checkpoint: bytes that saving adds to the next
    steps. best: bytes of the networks of the best step, which validation keeps and saves.
    """

    step: int
    samples: int
    checkpoint: int
    best: int = 0


def footprint(config: Config) -> Footprint:
    """Return the footprint of a process of `config` after its first steps: Adam has moments and the pools are full.

    Images are taken to be crops. Draws no random numbers and allocates hardly any memory.
    """
    without_draws = getattr(config.objective, "without_draws", None)
    if without_draws is not None:
        config = replace(config, objective=without_draws())
    with in_this_thread(), FakeTensorMode(), _Counting() as count:
        state = TrainingState(build_objective(config), config.optimizer)
        fill_state(state, config)
        state.step = state.objective.steps_to_all_terms() - 1
        batch = images(config, config.data.batch_size // ranks.world_size())
        with all_or_nothing(state):
            both_players(state, batch, precision_on(batch.a.device, config.run), lambda player, terms: None)
        step, count.most = count.most, count.live
        preview = images(config, config.run.num_samples)
        with ema_weights(state), inference_mode(state.objective):
            state.objective.samples(preview)
        parts = state.parts()
        best = sum(_bytes(tensor) for part in ("weights", "average") for tensor in parts.get(part, {}).values())
        return Footprint(step, count.most, saving_bytes(state), best)


def fill_state(state: TrainingState, config: Config) -> None:
    """Give a new state the tensors of a long run: gradients, moments and full pools."""
    state.objective.train()
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = torch.zeros_like(weight)
                moments = {key: torch.zeros_like(weight) for key in ("exp_avg", "exp_avg_sq")}
                optimizer.state[weight] = {"step": torch.ones(()), **moments}
    for domain, pool in state.objective.pools.items():
        whole = images(config, pool.size)
        pool.restore(list(whole.a if domain == "A" else whole.b), pool.size)


def images(config: Config, count: int) -> Batch:
    """Return a batch of `count` images of zeros in the shapes that `config` trains on."""
    data, side = config.data, config.data.crop_size
    size_a = 1 if data.pairing == "noise" else side
    return Batch(
        a=torch.zeros(count, data.channels_a, size_a, size_a), b=torch.zeros(count, data.channels_b, side, side)
    )


def saving_bytes(state: TrainingState) -> int:
    """Return the peak bytes of saving the state: the copy of all of it, and the file of one generator twice."""
    whole = sum(_bytes(tensor) for tensors in state.parts().values() for tensor in tensors.values())
    generators = state.objective.generators().values()
    return whole + 2 * max(sum(map(_bytes, network.state_dict().values())) for network in generators)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of live storages; `most` is their peak, including the workspace of each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.most = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, made)) if isinstance(leaf, Tensor)]
        for tensor in tensors:
            self._note(tensor)
        own = 0
        if operation in _BLOCKED:  # it copies all its tensors into its own memory layout
            own = sum(map(_bytes, tensors))
        self.most = max(self.most, self.live + own)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage_key(storage), storage.nbytes()
        if key not in self._known:
            self.live += size
            self._known[key] = weakref.ref(storage, lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        self.live -= size
        del self._known[key]


_BLOCKED = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
