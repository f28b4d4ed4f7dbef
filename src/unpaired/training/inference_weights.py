"""Temporary use of a run's networks with EMA weights or in inference mode, without effect on training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from unpaired.objectives.base import Objective
from unpaired.training.state import TrainingState


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
