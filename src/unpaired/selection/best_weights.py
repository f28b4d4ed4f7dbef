"""The best step of a run: its looks at held-out images, and the weights of the best one, kept until a better one comes.

The looks are lines of RUN/held_out.jsonl, cut to the step on continuing, and the weights of the best one are in every
checkpoint; so a run that was interrupted chooses as one that was not. Looking changes nothing of the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.selection.rule import is_best
from unpaired.selection.validation import NO_NUMBER, Look, append_look, cut_looks
from unpaired.training.inference_weights import averaged, in_use
from unpaired.training.state import TrainingState

NAME = "held_out.jsonl"


Measure = Callable[[Mapping[Any, Callable[[Tensor], Tensor]]], dict[str, float]]
"""Figures of the translators by direction, by name, with the direction behind each, as in kernel_distance_AtoB."""

Kept = dict[str, Tensor]
"""Weights of a step by part and name, as in "weights/translators.AtoB.…" and "average/AtoB.…", on the processor."""


class Choice:
    """Looks at a run in the folder `run`, from the step that its state is at, and keeps the best.

    measure: the figures of translators; None for a run that is not trained any more. best_step, kept: of the
    checkpoint that the run continues from. published: whether model/ is to hold the best step, or else the last one;
    its weights are kept either way, so that this may change when all is trained.
    """

    def __init__(
        self,
        run: Path,
        state: TrainingState,
        measure: Measure | None,
        *,
        best_step: int | None = None,
        kept: Kept | None = None,
        published: bool = True,
    ) -> None:
        self._path, self._measure, self._published = run / NAME, measure, published
        self.looks = cut_looks(self._path, state.step)
        self.kept = _weights_of(state) if best_step == state.step else kept
        self.best = next((look for look in self.looks if look.step == best_step), None) if self.kept else None
        if self.best is None:
            self.kept = None

    @property
    def chosen(self) -> Look | None:
        """Return the look whose step model/ is to hold; None for the last step, looked at or not."""
        return self.best if self._published else None

    def look(self, state: TrainingState) -> None:
        """Measure the weights that would be published now, and keep them if they are the best so far."""
        assert self._measure is not None
        objective = state.objective
        with averaged(state), in_use(objective), torch_seeded(0, "held out"):
            figures = self._measure(objective.generators())
        look = Look(state.step, {name: _finite(value) for name, value in figures.items()})
        self.looks.append(look)
        append_look(self._path, look)
        if self.best is None or is_best(self.looks):
            self.best = look
            self.kept = _weights_of(state)

    def to_save(self, step: int) -> Kept:
        """Return what a checkpoint of a step has to hold beside its state: nothing where that is the best."""
        return self.kept if self.kept and self.best is not None and self.best.step != step else {}

    @contextmanager
    def in_place(self, state: TrainingState) -> Iterator[int]:
        """Put the weights to publish into the translators for the body, and give their step."""
        if self.kept is None or self.chosen is None or self.chosen.step == state.step:
            with averaged(state):
                yield state.step
            return
        translators = state.objective.translators
        now = {name: value.clone() for name, value in translators.state_dict().items()}
        translators.load_state_dict(published(self.kept))
        try:
            yield self.chosen.step
        finally:
            translators.load_state_dict(now)


def published(kept: Kept) -> dict[str, Tensor]:
    """Return the translators' weights that are published of a kept step: the average where there is one."""
    prefix = "average/" if any(name.startswith("average/") for name in kept) else "weights/translators."
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}


def put_back(objective: Objective[Any], kept: Kept) -> None:
    """Load all networks of a kept step, with the weights as trained."""
    trained = {name.removeprefix("weights/"): value for name, value in kept.items() if name.startswith("weights/")}
    objective.load_state_dict(trained)


def _weights_of(state: TrainingState) -> Kept:
    """Return copies of the networks and of their average, where one is kept."""
    parts = state.parts()
    return {
        f"{part}/{name}": value.detach().to("cpu", copy=True)
        for part in ("weights", "average")
        for name, value in parts.get(part, {}).items()
    }


def _finite(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else NO_NUMBER
