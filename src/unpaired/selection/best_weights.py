"""Checkpoint selection: evaluates a run on its validation images and keeps the weights of the best step.

The evaluations are lines of RUN/held_out.jsonl. A run that continues truncates the file to its step, and every
checkpoint holds the best weights, so an interrupted run selects the same step as an uninterrupted one. An evaluation
changes nothing of the training state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.selection.rule import is_best
from unpaired.selection.validation import NON_FINITE, StepEvaluation, append_evaluation, truncate_evaluations
from unpaired.training.inference_weights import ema_weights, inference_mode, to_publish
from unpaired.training.state import Parts, TrainingState

NAME = "held_out.jsonl"


Measure = Callable[[Mapping[Any, Callable[[Tensor], Tensor]]], dict[str, float]]
"""Computes the metrics of the translators, which are given by direction; names end in it: kernel_distance_AtoB."""

Kept = dict[str, Tensor]
"""Weights of a step on the CPU by part and name, as in "weights/translators.AtoB.…" and "average/AtoB.…" (EMA)."""


class CheckpointSelection:
    """Evaluates the run in the folder `run`, from the step of its state on, and keeps the weights of the best step.

    measure: computes the metrics of translators; None for a finished run.
    best_step, kept: those of the checkpoint that the run continues from.
    published: whether model/ holds the best step instead of the last one. The best weights are kept either way, so
    that the setting may change after training.
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
        self.evaluations = truncate_evaluations(self._path, state.step)
        self.kept = _weights_of(state) if best_step == state.step else kept
        found = (evaluation for evaluation in self.evaluations if evaluation.step == best_step)
        self.best = next(found, None) if self.kept else None
        if self.best is None:
            self.kept = None

    @property
    def selected(self) -> StepEvaluation | None:
        """Return the evaluation of the step to publish in model/; None for the last step, evaluated or not."""
        return self.best if self._published else None

    def evaluate(self, state: TrainingState) -> None:
        """Evaluate the EMA weights, else the raw weights, and keep a copy if they are the best so far."""
        assert self._measure is not None
        objective = state.objective
        with ema_weights(state), inference_mode(objective), torch_seeded(0, "held out"):
            figures = self._measure(objective.generators())
        evaluation = StepEvaluation(state.step, {name: _finite(value) for name, value in figures.items()})
        self.evaluations.append(evaluation)
        append_evaluation(self._path, evaluation)
        if self.best is None or is_best(self.evaluations):
            self.best = evaluation
            self.kept = _weights_of(state)

    def to_save(self, step: int) -> Kept:
        """Return the weights that a checkpoint holds besides its state: none if its step is the best one."""
        return self.kept if self.kept and self.best is not None and self.best.step != step else {}

    def to_publish(self, step: int, parts: Parts) -> tuple[int, dict[str, Tensor]]:
        """Return the step of the weights to publish and the translators' weights then, by their names.

        step, parts: those of the present state.
        """
        if self.kept is None or self.selected is None or self.selected.step == step:
            return to_publish(step, parts)
        return self.selected.step, published(self.kept)


def published(kept: Kept) -> dict[str, Tensor]:
    """Return the translators' weights to publish of a kept step: the EMA weights if there are any."""
    prefix = "average/" if any(name.startswith("average/") for name in kept) else "weights/translators."
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}


def load_selected(objective: Objective[Any], kept: Kept) -> None:
    """Load all networks of a kept step with their raw weights."""
    trained = {name.removeprefix("weights/"): value for name, value in kept.items() if name.startswith("weights/")}
    objective.load_state_dict(trained)


def _weights_of(state: TrainingState) -> Kept:
    """Return copies of the raw weights, and of the EMA weights if the run keeps some."""
    parts = state.parts()
    return {
        f"{part}/{name}": value.detach().to("cpu", copy=True)
        for part in ("weights", "average")
        for name, value in parts.get(part, {}).items()
    }


def _finite(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else NON_FINITE
