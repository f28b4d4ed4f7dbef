"""What a run holds in memory at its fullest, counted without any: the run's own code on tensors that have no content.

Every operation of a training step, of the sample grid and of a checkpoint is carried out on shapes alone, and the bytes
of the tensors that are alive at once are added up. `unpaired.runs.memory_plan` makes of it what a process takes.
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
from unpaired.training.inference_weights import averaged, in_use
from unpaired.training.state import Parts, TrainingState
from unpaired.training.step import all_or_nothing, both_players


@dataclass(frozen=True)
class Footprint:
    """The bytes of tensors that are alive at once, at most, in a step and while samples are drawn.

    checkpoint: the bytes that saving makes beside the state. best: those of the networks of the best step, which are
    kept and saved too where held-out images are looked at.
    """

    step: int
    samples: int
    checkpoint: int
    best: int = 0


def footprint(config: Config) -> Footprint:
    """Return what a process of `config` holds once it is under way: both Adams have moments and the pools are full.

    Images are taken to be crops. Nothing is drawn from torch's random numbers, and no memory taken to speak of.
    """
    without_draws = getattr(config.objective, "without_draws", None)
    if without_draws is not None:
        config = replace(config, objective=without_draws())
    with in_this_thread(), FakeTensorMode(), _Counting() as count:
        state = TrainingState(build_objective(config), config.optimizer)
        under_way(state, config)
        batch = images(config, config.data.batch_size // ranks.world_size())
        with all_or_nothing(state):
            both_players(state, batch, precision_on(batch.a.device, config.run), lambda player, terms: None)
        step, count.most = count.most, count.live
        preview = images(config, config.run.num_samples)
        with averaged(state), in_use(state.objective):
            state.objective.samples(preview)
        parts = state.parts()
        best = sum(_bytes(tensor) for part in ("weights", "average") for tensor in parts.get(part, {}).values())
        return Footprint(step, count.most, serialising(parts), best)


def under_way(state: TrainingState, config: Config) -> None:
    """Put a new state where that of a long run is, as to memory: gradients and moments there, pools full."""
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
    """Return a batch of so many zeros as a run of `config` trains on."""
    data, side = config.data, config.data.crop_size
    size_a = 1 if data.pairing == "noise" else side
    return Batch(
        a=torch.zeros(count, data.channels_a, size_a, size_a), b=torch.zeros(count, data.channels_b, side, side)
    )


def serialising(parts: Parts) -> int:
    """Return the bytes that a checkpoint makes of the state: every part's file, and one twice while it is made."""
    held = most = 0
    for tensors in parts.values():
        size = sum(map(_bytes, tensors.values()))
        most, held = max(most, held + 2 * size), held + size
    return most


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of storages that are alive; `most`: what they were at most, with an operation's own needs."""

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
        if operation in _BLOCKED:  # which lays everything out anew for itself
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
