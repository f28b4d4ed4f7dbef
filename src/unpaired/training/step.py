"""One atomic training step of both players: forward passes, losses, gradients, updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.data.datasets import Batch
from unpaired.errors import NonFiniteError
from unpaired.objectives.base import Objective, Player, frozen
from unpaired.objectives.losses import total
from unpaired.objectives.planting import mask_terms, open_gates
from unpaired.side_by_side import side_by_side
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState

Take = Callable[[Batch, Callable[[], list[str]]], dict[str, Tensor]]
"""Takes a step on a batch and returns its terms; the function returns the names of its images for error messages."""

Check = Callable[[Player, dict[str, Tensor]], None]
"""Checks a player's terms (detached), and its gradients in the networks, before the update."""


def train_step(
    state: TrainingState, batch: Batch, precision: Precision, names: Callable[[], list[str]] = list
) -> dict[str, Tensor]:
    """Update both players once, in the order the method publishes; return every term by name (detached).

    The state is unchanged if NonFiniteError is raised. names: returns the names of the batch's images for its message.
    """
    objective = state.objective

    def check(player: Player, terms: dict[str, Tensor]) -> None:
        require_finite_loss(terms, state.step + 1, names)
        require_finite_gradients(objective.players()[player], player, state.step + 1, names)

    with all_or_nothing(state):
        return both_players(state, batch, precision, check)


def both_players(state: TrainingState, batch: Batch, precision: Precision, check: Check) -> dict[str, Tensor]:
    """Take the step itself: forwards, losses, gradients and updates; return every term by name (detached).

    The generators step last, so the discriminators judge images made before that, with any number of micro-batches
    (`Objective.num_micro_batches`).
    The host reads no value here, so that a CUDA graph can capture it (`unpaired.training.graph`).
    """
    objective, seen = state.objective, dict[str, Tensor]()
    objective.step, updated = state.step, list[Player]()
    parts = batch.parts(objective.num_micro_batches)
    made = {0: generated(objective, batch, precision)} if len(parts) == 1 else {}
    for player in objective.order:
        if state.rests(player):
            continue
        terms = accumulated(state, player, parts, made, precision)
        if not terms:  # an ablation without this player, or a step of the other one alone
            continue
        # Every term is a mean over images, so from here on all values are those of the whole batch, equal on all ranks.
        if ranks.world_size() > 1:
            ranks.all_reduce_mean([*terms.values(), *gradients_of(objective.players()[player]).values()])
        check(player, terms)
        state.hold(player)
        seen.update(terms)
        updated.append(player)
        if player == "discriminator":
            state.optimizers[player].step()
    # The discriminators' loss does not depend on the generators' step, so in either order this one comes last.
    if "generator" in updated:
        state.optimizers["generator"].step()
    if ranks.world_size() > 1:
        ranks.all_reduce_mean([buffer for buffer in objective.changing_buffers() if buffer.is_floating_point()])
    return seen


@contextmanager
def all_or_nothing(state: TrainingState) -> Iterator[None]:
    """Undo the changes of the state if the block fails: pools, statistics of batch norms, discriminators.

    The discriminators are saved only if they step first, since the generators' gradients may be non-finite after that.
    """
    objective = state.objective
    pools = {pool: (list(pool.images), pool.num_seen) for pool in objective.pools.values()}
    buffers = [(buffer, buffer.clone()) for buffer in objective.changing_buffers()]
    undo = state.keep("discriminator") if objective.order[0] == "discriminator" else lambda: None
    try:
        yield
    except Exception:
        for pool, (images, num_seen) in pools.items():
            pool.images, pool.num_seen = images, num_seen
        for buffer, before in buffers:
            buffer.copy_(before)
        undo()
        raise


def accumulated(
    state: TrainingState, player: Player, parts: Sequence[Batch], made: dict[int, Any], precision: Precision
) -> dict[str, Tensor]:
    """Accumulate a player's gradients over the micro-batches, and return its terms, averaged over them and detached.

    made: generated images by number of the micro-batch. Missing ones are generated for this player, one micro-batch at
    a time, and stored there without their graph if the generators step first. A player without terms is left as it is.
    """
    objective, means = state.objective, dict[str, Tensor]()
    for number, part in enumerate(parts):
        images = made[number] if number in made else generated(objective, part, precision, graph=player == "generator")
        terms = player_losses(objective, player, part, images, precision)
        if not terms:
            return {}
        if len(parts) > 1:
            terms = {name: term / len(parts) for name, term in terms.items()}
        if number == 0:
            state.optimizers[player].zero_grad(set_to_none=True)
        leave_gradients(objective.players()[player], objective.independent_terms(part, terms))
        for name, term in terms.items():
            means[name] = means[name] + term.detach() if number else term.detach()
        if player == objective.order[0] == "generator" and len(parts) > 1:
            made[number] = detached(images)
        del images, terms  # frees their memory for the next micro-batch
    return means


def generated(objective: Objective[Any], batch: Batch, precision: Precision, *, graph: bool = True) -> Any:
    """Return the images that a method generates from a batch, with or without the graph for the generators."""
    with torch.set_grad_enabled(graph), autocast(batch.a.device, precision), open_gates(objective):
        return objective.generate(batch)


def detached(images: Any) -> Any:
    """Return a method's images without their graph; fields that are no tensors stay the same."""
    values = {field.name: getattr(images, field.name) for field in fields(images)}
    return replace(images, **{name: value.detach() for name, value in values.items() if isinstance(value, Tensor)})


def player_losses(
    objective: Objective[Any], player: Player, batch: Batch, images: Any, precision: Precision
) -> dict[str, Tensor]:
    """Return a player's terms, in float32 at least; those of the generators with the discriminators frozen.

    The losses of masks are terms of the generators, whatever the method.
    """
    with autocast(batch.a.device, precision), open_gates(objective):
        if player == "discriminator":
            terms = objective.discriminator_losses(batch, images)
        else:
            with frozen(objective.discriminators):
                terms = {**objective.generator_losses(batch, images), **mask_terms(objective, batch)}
    reduced = (torch.bfloat16, torch.float16)
    return {name: term.float() if term.dtype in reduced else term for name, term in terms.items()}


def leave_gradients(networks: nn.Module, parts: Sequence[Mapping[str, Tensor]]) -> None:
    """Add the gradients of the sum of all terms to the weights'; two parts run side by side and are added in order."""
    if len(parts) == 1:
        total(parts[0]).backward()  # type: ignore[no-untyped-call]
        return
    weights = list(networks.parameters())
    first, second = side_by_side(
        *(partial(torch.autograd.grad, total(part), weights, allow_unused=True) for part in parts)
    )
    for weight, one, two in zip(weights, first, second, strict=True):
        gradient = two if one is None else one if two is None else one.add_(two)
        if weight.grad is None:
            weight.grad = gradient if gradient is None else _laid_out_as(weight, gradient)
        elif gradient is not None:
            weight.grad.add_(gradient)


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient in the memory format of its weight, which fused Adam assumes."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast context of forward passes: bfloat16 for bf16, with float32 weights in both cases."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def gradients_of(networks: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of the weights that have one, by name."""
    return {name: weight.grad for name, weight in networks.named_parameters() if weight.grad is not None}


def require_finite_loss(terms: dict[str, Tensor], step: int, names: Callable[[], list[str]]) -> None:
    """Raise NonFiniteError, listing the offending terms, if their sum is NaN or infinite."""
    if torch.isfinite(total(terms)):
        return
    bad = ", ".join(f"{name} is {term.item()}" for name, term in terms.items() if not torch.isfinite(term))
    raise non_finite(f"the loss {bad or 'is too large for a number'}", step, names())


def require_finite_gradients(
    networks: nn.ModuleDict, player: Player, step: int, names: Callable[[], list[str]]
) -> None:
    """Raise NonFiniteError if a gradient is NaN or infinite although the loss is finite; call it before the update."""
    gradients = gradients_of(networks)
    if torch.isfinite(torch.nn.utils.get_total_norm(list(gradients.values()))):
        return
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    which = f"{bad[0]}, one of {len(bad)} weights, is NaN or infinite" if bad else "all weights is too large"
    raise non_finite(f"the gradient of {player} {which}", step, names())


def non_finite(place: str, step: int, names: list[str]) -> NonFiniteError:
    """Return the error for a NaN or infinite value, with its step and images."""
    finding = f"At step {step} {place} (images: {'; '.join(names)})"
    return NonFiniteError(
        f"{finding}; nothing was updated with it. Inspect these images or lower --optimizer.learning-rate, then run "
        "the same command to continue from the checkpoint; --run.on-nonfinite skip:1 skips the step.",
        finding=finding,
    )
