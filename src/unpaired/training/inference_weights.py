"""The networks of a run as they are used after it, for a moment, without a trace of that in the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from unpaired.objectives.base import Objective
from unpaired.training.state import TrainingState


class averaged:  # noqa: N801 - reads as a verb where it is used
    """Put the averaged weights into the translators for the body, where an average is kept."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def __enter__(self) -> None:
        if self._state.ema is not None:
            translators = self._state.objective.translators
            self._trained = {name: value.clone() for name, value in translators.state_dict().items()}
            translators.load_state_dict(self._state.ema.weights)

    def __exit__(self, *_: object) -> None:
        if self._state.ema is not None:
            self._state.objective.translators.load_state_dict(self._trained)


@contextmanager
def in_use(objective: Objective[Any]) -> Iterator[None]:
    """Run the objective's networks as they are used after training, without a trace of it in their statistics."""
    before = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    objective.train(objective.uses_training_mode)
    try:
        with torch.no_grad():
            yield
    finally:
        objective.train()
        for name, buffer in objective.named_buffers():
            buffer.copy_(before[name])
