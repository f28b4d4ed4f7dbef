"""Early stopping. On a plateau the learning-rate decay starts early; on a second plateau training ends.

At a constant learning rate the weights keep fluctuating by a distance that grows with the rate, so a plateau before
the decay means that this rate is exhausted, not the run. Both events are entries of history.jsonl, from which a run
that continues restores its length.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unpaired.selection.rule import distance, error
from unpaired.selection.validation import StepEvaluation
from unpaired.training.schedule import Schedule

PLATEAU, RESUMED = "flat", "went on"
"""Kinds of entries in history.jsonl: a plateau shortened the run; the run continued after early stopping."""

EXTENDED = "extended"
"""The kind of the entry about a finished run that was made longer, which ends what a plateau did to its schedule."""

STOPPING_RULE = "ending the run, or its full learning rate, once they no longer improved"
"""The influence of the validation images on a run that early stopping shortened and whose last step is published."""

MIN_EVALUATIONS = 8
"""Least number of evaluations without improvement that make a plateau."""

MIN_ERROR_DECREASE = 0.05
"""Least relative decrease of the smallest faithfulness error that counts as an improvement."""

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Plateau:
    """The consequence of a plateau: the sentence to log, and the details of the entry in history.jsonl."""

    sentence: str
    details: dict[str, int]


def plateau_since(evaluations: Sequence[StepEvaluation], after: int = 0) -> int | None:
    """Return the step of the smallest kernel distance before the last third of all evaluations, if that is a plateau.

    It is a plateau if no evaluation of the last third improves on those before it. The third must have at least 8
    evaluations, all of them after step `after`. An improvement is a kernel distance or a faithfulness error that is
    below the smallest one before by more than the median difference of neighbouring evaluations in the third. The
    error must decrease by at least 5 %, since it falls slowly for as long as a run memorises its images. Returns None
    if the run improves, or has too few evaluations.
    """
    count = max(MIN_EVALUATIONS, len(evaluations) // 3)
    if len(evaluations) < 2 * count or evaluations[-count].step <= after:
        return None
    errors = [value for evaluation in evaluations if (value := error(evaluation)) is not None]
    if _improves([distance(evaluation) for evaluation in evaluations], count, least=0.0):
        return None
    if len(errors) == len(evaluations) and _improves(errors, count, least=MIN_ERROR_DECREASE):
        return None
    return min(evaluations[:-count], key=distance).step


def _improves(values: Sequence[float], count: int, least: float) -> bool:
    """Return whether one of the last `count` values is below all before by more than noise and by a share `least`."""
    recent = values[-count:]
    noise = statistics.median(abs(one - other) for one, other in itertools.pairwise(recent))
    before = min(values[:-count])
    return min(recent) < before - max(noise, least * before)


def detect_plateau(evaluations: Sequence[StepEvaluation], schedule: Schedule) -> Plateau | None:
    """Return the plateau that the newest evaluation completes, with its consequence; None if there is none."""
    step, decays_after = evaluations[-1].step, schedule.decays_after
    decaying = step > decays_after
    since = plateau_since(evaluations, decays_after if decaying else 0)
    if since is None or step >= schedule.num_steps:
        return None
    count = max(MIN_EVALUATIONS, len(evaluations) // 3)
    finding = f"At step {step} the last {count} validations are no better than that of step {since}"
    shorter = replace(schedule, decay_from=step)
    if decaying or shorter.num_steps <= step:
        return Plateau(f"{finding}, so the run ends here instead of at step {schedule.num_steps}.", {"end": step})
    return Plateau(
        f"{finding}, so the learning rate decays from here on, and the run ends at step {shorter.num_steps} instead of "
        f"{schedule.num_steps}.",
        {"decay_from": step},
    )


def with_early_stopping(schedule: Schedule, entries: Entries) -> Schedule:
    """Return the schedule with the changes that the entries of a history record."""
    for entry in entries:
        if entry["kind"] == PLATEAU:
            schedule = replace(
                schedule, decay_from=entry.get("decay_from", schedule.decay_from), end=entry.get("end", schedule.end)
            )
        elif entry["kind"] == RESUMED:
            schedule = replace(schedule, end=None)
        elif entry["kind"] == EXTENDED:
            schedule = replace(schedule, decay_from=None, end=None)
    return schedule


def had_plateau(entries: Entries) -> bool:
    """Return whether a plateau has shortened the run, or the steps by which it was extended last."""
    kinds = [entry["kind"] for entry in entries if entry["kind"] in (PLATEAU, EXTENDED)]
    return kinds[-1:] == [PLATEAU]


def early_stopping_reason(entries: Entries) -> str:
    """Return the sentence about the plateau that ended the run ahead of its schedule; "" if none did."""
    sentence = ""
    for entry in entries:
        if entry["kind"] == PLATEAU and "end" in entry:
            sentence = str(entry["sentence"])
        elif entry["kind"] in (RESUMED, EXTENDED):
            sentence = ""
    return sentence
