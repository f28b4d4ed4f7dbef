"""Use of a run's networks with EMA weights or in inference mode, without effect on training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unpaired.objectives.base import Direction, Objective
from unpaired.training.state import Parts, TrainingState

TRANSLATORS = "translators."
"""Prefix of the translators' weights among those of an objective."""


class ema_weights:  # noqa: N801 - used like a function
    """Load the EMA weights into the translators for the duration of the block; no-op without EMA."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def __enter__(self) -> None:
        if self._state.ema is not None:
            translators = self._state.objective.translators
            self._raw = {name: value.clone() for name, value in translators.state_dict().items()}
            translators.load_state_dict(self._state.ema.weights)

    def __exit__(self, *_: object) -> None:
        if self._state.ema is not None:
            self._state.objective.translators.load_state_dict(self._raw)


@contextmanager
def inference_mode(objective: Objective[Any]) -> Iterator[None]:
    """Put the objective's networks into inference mode for the block, without gradients; restore their statistics."""
    before = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    objective.train(objective.uses_training_mode)
    try:
        with torch.no_grad():
            yield
    finally:
        objective.train()
        for name, buffer in objective.named_buffers():
            buffer.copy_(before[name])


def to_publish(step: int, parts: Parts) -> tuple[int, dict[str, Tensor]]:
    """Return a step, and the translators' weights to publish in the parts of its state: EMA weights if there are any.

    Names are those of the translators.
    """
    if "average" in parts:
        return step, parts["average"]
    found = {name: value for name, value in parts["weights"].items() if name.startswith(TRANSLATORS)}
    return step, {name.removeprefix(TRANSLATORS): value for name, value in found.items()}


def weights_by_direction(
    objective: Objective[Any], translators: dict[str, Tensor]
) -> dict[Direction, dict[str, Tensor]]:
    """Return the weights of each generator to publish, from given weights of the translators, which are not copied.

    A weight of a generator that is none of the translators' is copied from the generator.
    """
    names = {id(value): name for name, value in objective.translators.state_dict(keep_vars=True).items()}

    def found(value: Tensor) -> Tensor:
        name = names.get(id(value))
        return value.detach().to("cpu", copy=True) if name is None else translators[name]

    return {
        direction: {name: found(value) for name, value in network.state_dict(keep_vars=True).items()}
        for direction, network in objective.generators().items()
    }
