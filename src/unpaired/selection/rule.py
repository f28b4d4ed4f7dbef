"""Which look at held-out images is the best: a rule that needs no truth, as pure functions of the looks so far.

A kernel distance of a few dozen images is uncertain by more than healthy training changes it from one look to the next,
and the smallest of many such figures is the luckiest one. So a look that cannot be told from the nearest one counts as
equal to it, and of equal looks the latest is taken, which has learnt the longest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from unpaired.selection.validation import Look

SLACK = 1.25
"""How many times the median of the looks so far an error of faithfulness may be."""

STRUCTURE_SLACK = 0.1
"""By how much the self-similarity correlation may be below that median."""

RULE = (
    "the latest look whose kernel distance, the mean of the directions, lies within the 95 % interval of the smallest "
    f"so far, and which is faithful: errors (L1 of pairs, else cycle error) at most {SLACK} times their median so far, "
    f"self-similarity correlation at most {STRUCTURE_SLACK} below it"
)
"""What `is_best` does, in words."""


def distance(look: Look) -> float:
    """Return how far the translations of a look are from real images, the mean of its directions; less is better."""
    return statistics.fmean(_values(look, "kernel_distance_"))


def uncertainty(look: Look) -> float:
    """Return by how much that distance may be too small, as far as the choice of images goes (95 %)."""
    above = _values(look, "kernel_interval_")
    return math.hypot(*above) / max(len(above), 1)


def error(look: Look) -> float | None:
    """Return how much of the inputs is lost, the mean of the directions: L1 of pairs, else cycle error, else None."""
    found = _values(look, _errors(look))
    return statistics.fmean(found) if found else None


def faithful(look: Look, looks: Sequence[Look]) -> bool:
    """Return whether a look keeps as much of its inputs as is usual among `looks`; of pairs, of their truth."""
    errors = _errors(look)
    for name, value in look.figures.items():
        usual = statistics.median(each.figures.get(name, value) for each in looks)
        if name.startswith(errors) and value > SLACK * usual:
            return False
        structure = errors != "l1_" and name.startswith("self_similarity_correlation_")
        if structure and value < usual - STRUCTURE_SLACK:
            return False
    return True


def is_best(looks: Sequence[Look]) -> bool:
    """Return whether the last of the looks takes the place of the best one before it."""
    usual = [look for look in looks if faithful(look, looks)]
    if looks[-1] not in usual:
        return False
    nearest = min(usual, key=distance)
    return distance(looks[-1]) <= distance(nearest) + uncertainty(nearest)


def choose(looks: Sequence[Look]) -> Look | None:
    """Return the best of the looks; None of none."""
    return next((looks[n - 1] for n in range(len(looks), 0, -1) if is_best(looks[:n])), None)


def _errors(look: Look) -> str:
    return "l1_" if _values(look, "l1_") else "cycle_error_"


def _values(look: Look, prefix: str) -> list[float]:
    return [value for name, value in look.figures.items() if name.startswith(prefix)]
