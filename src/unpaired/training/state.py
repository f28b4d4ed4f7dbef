"""The state that the rest of a run depends on: networks, optimizers, image pools, EMA weights, the step.

Random draws are indexed and the schedule is a function of the step, so neither has a state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.errors import CheckpointError
from unpaired.objectives.base import Objective, Player
from unpaired.tensor_files import memory_of
from unpaired.training.adam import Adam

Parts = dict[str, dict[str, Tensor]]
"""Tensors by part ("weights", "optim", "pool", "average") and name; each part is one file of a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of Adam, one optimizer for each player, and of the EMA weights."""

    learning_rate: float = 2e-4
    """Learning rate of Adam before its decay, above 0, for both players (CycleGAN, section 4: 2e-4)."""
    discriminator_learning_rate: float | None = None
    """Learning rate of the discriminators, if it differs from that of the generators; none for the same."""
    beta1: float = 0.5
    """Decay of Adam's mean of gradients, in [0, 1). The papers of this family use 0.5, and not Adam's own 0.9."""
    beta2: float = 0.999
    """Decay of Adam's mean of squared gradients, in [0, 1) (Adam's default: 0.999)."""
    eps: float = 1e-8
    """Number added to Adam's denominator against division by zero (Adam's default: 1e-8)."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the generators' weights, in [0, 1); the EMA weights are published. 0
    keeps no average and publishes the raw weights, as in the papers.
    """

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, f"optimizer.learning_rate must be positive, not {self.learning_rate}.")
        for name in ("beta1", "beta2", "ema_decay"):
            require(0 <= getattr(self, name) < 1, f"optimizer.{name} must be in [0, 1), not {getattr(self, name)}.")
        rate = self.discriminator_learning_rate
        require(rate is None or rate > 0, f"optimizer.discriminator_learning_rate must be positive, not {rate}.")

    def rate(self, player: Player) -> float:
        """Return the base learning rate of a player."""
        own = self.discriminator_learning_rate if player == "discriminator" else None
        return own if own is not None else self.learning_rate


class WeightEMA:
    """The exponential moving average (EMA) of the generators' weights, which fluctuates less in short runs.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that the first steps lose their influence quickly.
    """

    def __init__(self, networks: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in networks.state_dict().items()}

    @torch.no_grad()
    def update(self, networks: nn.Module, step: int) -> None:
        """Update the EMA with the weights after step `step` (1, 2, ...); integer buffers are copied."""
        rate = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in networks.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, rate)
            else:
                self.weights[name].copy_(value)


_NEW = "new."
"""Prefix of the counters that name the weights which a warm-up trains."""


class TrainingState:
    """The objective with its optimizers, its EMA weights and the number of steps taken.

    skipped: number of steps that were skipped because a loss or gradient was NaN or infinite.
    warm_up: number of first steps in which only the weights `new` learn, as the others are from another run.
    new: names of these weights in the objective.
    """

    def __init__(self, objective: Objective[Any], config: OptimizerConfig) -> None:
        self.objective = objective
        self.config = config
        self.step = self.skipped = self.warm_up = 0
        self.new: frozenset[str] = frozenset()
        self.optimizers: dict[Player, torch.optim.Adam] = {}
        device = self._device()
        for player, networks in objective.players().items():
            self.optimizers[player] = Adam(
                networks.parameters(),
                lr=rate_on(device, config.rate(player)),
                betas=(config.beta1, config.beta2),
                eps=config.eps,
                fused=True,
            )
        self.ema = WeightEMA(objective.translators, config.ema_decay) if config.ema_decay else None

    def set_learning_rate(self, multiplier: float) -> None:
        """Set both players' rates to their base rate times `multiplier`."""
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                place = group["lr"]
                group["lr"] = self.config.rate(player) * multiplier
                if isinstance(place, Tensor):
                    group["lr"] = place.fill_(group["lr"])

    def parts(self) -> Parts:
        """Return every tensor of the state by part and name; references, not copies."""
        parts: Parts = {
            "weights": dict(self.objective.state_dict()),
            "optim": dict(self._optimizer_tensors()),
            "pool": {
                f"{domain}.{slot:04d}": image
                for domain, pool in self.objective.pools.items()
                for slot, image in enumerate(pool.images)
            },
        }
        if self.ema is not None:
            parts["average"] = dict(self.ema.weights)
        return parts

    def counters(self) -> dict[str, int]:
        """Return every number of the state that is not a tensor."""
        seen = {f"pool.{domain}.num_seen": pool.num_seen for domain, pool in self.objective.pools.items()}
        new = {f"{_NEW}{name}": 1 for name in sorted(self.new)} if self.step < self.warm_up else {}
        return {"step": self.step, "skipped": self.skipped, **seen, **({"warm_up": self.warm_up} if new else {}), **new}

    def rests(self, player: Player) -> bool:
        """Return whether a player does not learn in the step at hand: in a warm-up without a new weight of its own."""
        return self.step < self.warm_up and len(self._held(player)) == len(list(self._weights_of(player)))

    def hold(self, player: Player) -> None:
        """Drop the gradients of a player's weights that a warm-up does not train, so that its update leaves them."""
        if self.step < self.warm_up:
            for weight in self._held(player):
                weight.grad = None

    def _held(self, player: Player) -> list[nn.Parameter]:
        new = {id(weight) for name, weight in self.objective.named_parameters() if name in self.new}
        return [weight for weight in self._weights_of(player) if id(weight) not in new]

    def _weights_of(self, player: Player) -> Iterator[nn.Parameter]:
        return self.objective.players()[player].parameters()

    def keep(self, player: Player) -> Callable[[], None]:
        """Copy a player's weights and moments; return the function that restores them."""
        optimizer = self.optimizers[player]
        weights = [(weight, weight.detach().clone()) for group in optimizer.param_groups for weight in group["params"]]
        moments = {
            weight: {key: value.clone() for key, value in kept.items()} for weight, kept in optimizer.state.items()
        }

        @torch.no_grad()
        def undo() -> None:
            for weight, before in weights:
                weight.copy_(before)
            optimizer.state.clear()
            optimizer.state.update(moments)

        return undo

    def restore(self, parts: Parts, counters: Mapping[str, int]) -> None:
        """Restore the results of `parts` and `counters`; raises CheckpointError if something does not fit."""
        try:
            self.objective.load_state_dict(parts["weights"])
            for domain, pool in self.objective.pools.items():
                slots = sorted(name for name in parts["pool"] if name.startswith(f"{domain}."))
                images = [parts["pool"][slot].to(self._device()) for slot in slots]
                pool.restore(images, counters[f"pool.{domain}.num_seen"])
            if self.ema is not None:
                for name, value in self.ema.weights.items():
                    value.copy_(parts["average"][name])
            self._restore_optimizers(parts["optim"])
            self.step, self.skipped = counters["step"], counters.get("skipped", 0)
            self.warm_up = counters.get("warm_up", 0)
            self.new = frozenset(name.removeprefix(_NEW) for name in counters if name.startswith(_NEW))
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"The checkpoint does not fit this configuration ({reason}).") from None

    def sha256(self) -> str:
        """Return one hash over all state: SHA-256 over sorted (name, dtype, shape, bytes), then the counters."""
        return state_sha256(self.parts(), self.counters())

    def _device(self) -> torch.device:
        return next(self.objective.parameters()).device

    def _named_parameters(self) -> Iterator[tuple[Player, str, nn.Parameter]]:
        for player, networks in self.objective.players().items():
            for name, parameter in networks.named_parameters():
                yield player, f"{player}.{name}", parameter

    def _optimizer_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for player, name, parameter in self._named_parameters():
            for key, value in self.optimizers[player].state.get(parameter, {}).items():
                yield f"{name}.{key}", value

    def _restore_optimizers(self, saved: Mapping[str, Tensor]) -> None:
        for player, name, parameter in self._named_parameters():
            keys = ("step", "exp_avg", "exp_avg_sq")
            if f"{name}.step" not in saved:
                continue  # a weight that no gradient has reached yet has no moments
            moments = {key: saved[f"{name}.{key}"].to(parameter.device) for key in keys}
            # In the memory format of the weight, which fused Adam assumes.
            self.optimizers[player].state[parameter] = {
                key: torch.empty_like(parameter if value.ndim else value).copy_(value) for key, value in moments.items()
            }


def rate_on(device: torch.device, rate: float) -> float | Tensor:
    """Return a learning rate as Adam takes it on a device.

    On a GPU it is a float32 tensor in GPU memory, as the kernel requires, so that a captured step can be replayed with
    another rate, and eager steps are bit-identical to it.
    """
    return torch.tensor(rate, device=device) if device.type == "cuda" else rate


def copied(parts: Parts) -> Parts:
    """Return contiguous copies of all tensors on the CPU, which training does not change."""
    return {part: {name: _copy(tensor) for name, tensor in named.items()} for part, named in parts.items()}


def _copy(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu":
        return tensor.detach().cpu().contiguous()
    # In this thread alone: torch copies with several, which wait for one another on a busy machine, up to ten times as
    # long as the copy takes.
    found = torch.empty(tensor.shape, dtype=tensor.dtype)
    memory_of(found)[:] = memory_of(tensor)
    return found


def state_sha256(parts: Parts, counters: Mapping[str, int]) -> str:
    """Return the hash of a state given by its parts and counters, independent of device and of file layout."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for name in sorted(parts[part]):
            tensor = parts[part][name]
            digest.update(f"{part}/{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(memory_of(tensor))
    digest.update(json.dumps(dict(counters), sort_keys=True).encode())
    return digest.hexdigest()
