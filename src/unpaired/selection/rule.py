"""The rule that selects the best evaluation without ground truth, as pure functions of the evaluations so far.

The kernel distance of a few dozen images has an uncertainty above its change between two evaluations in healthy
training, and the smallest of many such figures is the luckiest. Evaluations within the uncertainty of the smallest
distance therefore count as equal, and the latest of them, which has trained the longest, is selected.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from unpaired.selection.validation import StepEvaluation

SLACK = 1.25
"""Largest faithfulness error, relative to the median of the evaluations so far."""

STRUCTURE_SLACK = 0.1
"""Largest difference by which the self-similarity correlation may be below its median."""

RULE = (
    "the latest evaluation whose kernel distance, averaged over the directions, lies within the 95 % interval of the "
    f"smallest so far, and which is faithful: errors (L1 of pairs, else cycle error) at most {SLACK} times their "
    f"median so far, self-similarity correlation at most {STRUCTURE_SLACK} below it"
)
"""The rule of `is_best` in words."""


def distance(evaluation: StepEvaluation) -> float:
    """Return the kernel distance between translations and real images, averaged over the directions; less is better."""
    return statistics.fmean(_values(evaluation, "kernel_distance_"))


def uncertainty(evaluation: StepEvaluation) -> float:
    """Return the distance from that figure to the upper end of its 95 % interval (resampling of the images)."""
    above = _values(evaluation, "kernel_interval_")
    return math.hypot(*above) / max(len(above), 1)


def error(evaluation: StepEvaluation) -> float | None:
    """Return the faithfulness error, averaged over the directions: L1 of pairs, else cycle error, else None."""
    found = _values(evaluation, _errors(evaluation))
    return statistics.fmean(found) if found else None


def faithful(evaluation: StepEvaluation, evaluations: Sequence[StepEvaluation]) -> bool:
    """Return whether the faithfulness of an evaluation is near the median of `evaluations` or better.

    It is measured against the inputs, for pairs against their ground truth.
    """
    return _is_faithful(evaluation, _medians(evaluations))


def _medians(evaluations: Sequence[StepEvaluation]) -> dict[str, float]:
    """Return the median of each figure over the evaluations that have it."""
    names = {name for each in evaluations for name in each.figures}
    return {
        name: statistics.median(each.figures[name] for each in evaluations if name in each.figures) for name in names
    }


def _is_faithful(evaluation: StepEvaluation, medians: Mapping[str, float]) -> bool:
    errors = _errors(evaluation)
    for name, value in evaluation.figures.items():
        if name.startswith(errors) and value > SLACK * medians.get(name, value):
            return False
        structure = errors != "l1_" and name.startswith("self_similarity_correlation_")
        if structure and value < medians.get(name, value) - STRUCTURE_SLACK:
            return False
    return True


def is_best(evaluations: Sequence[StepEvaluation]) -> bool:
    """Return whether the last of the evaluations replaces the best one before it."""
    medians = _medians(evaluations)
    usual = [evaluation for evaluation in evaluations if _is_faithful(evaluation, medians)]
    if evaluations[-1] not in usual:
        return False
    nearest = min(usual, key=distance)
    return distance(evaluations[-1]) <= distance(nearest) + uncertainty(nearest)


def select_best(evaluations: Sequence[StepEvaluation]) -> StepEvaluation | None:
    """Return the best of the evaluations; None if there are none."""
    return next((evaluations[n - 1] for n in range(len(evaluations), 0, -1) if is_best(evaluations[:n])), None)


def _errors(evaluation: StepEvaluation) -> str:
    return "l1_" if _values(evaluation, "l1_") else "cycle_error_"


def _values(evaluation: StepEvaluation, prefix: str) -> list[float]:
    return [value for name, value in evaluation.figures.items() if name.startswith(prefix)]
