"""When a run no longer improves: the decay of its learning rate is brought forward, and when that is flat too it ends.

A rate that stays constant keeps the weights wandering at a distance that grows with it, so flat looks before the decay
say that this rate has done its work, not that the run has. Either is an entry of history.jsonl, by which a run that
continues knows how long it is.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unpaired.selection.rule import distance, error
from unpaired.selection.validation import Look
from unpaired.training.schedule import Schedule

FLAT, RESUMED = "flat", "went on"
"""The kinds of entries in history.jsonl: the run was shortened; it went on after it had ended."""

SHORTENED = "ending the run, or its full learning rate, once they no longer improved"
"""What held-out images have decided where the last step of a shortened run is published."""

LEAST_LOOKS = 8
"""Looks that must be no better than those before them."""

WORTH = 0.05
"""Part of the smallest error of faithfulness that another one must be below it to be an improvement."""

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Flat:
    """What comes of looks that no longer improve. details: of the entry in history.jsonl."""

    sentence: str
    details: dict[str, int]


def flat_since(looks: Sequence[Look], after: int = 0) -> int | None:
    """Return the step of the nearest look before the last third of all looks, if that third has improved nothing.

    That third must be 8 looks or more, all of them after step `after`. An improvement is a kernel distance, or an error
    of faithfulness, below the smallest one before by more than neighbouring looks of that third differ, in the middle;
    the error by 5 % at least, as it creeps down for as long as a run learns its images by heart. None where the run
    improves, or it is too early to tell.
    """
    count = max(LEAST_LOOKS, len(looks) // 3)
    if len(looks) < 2 * count or looks[-count].step <= after:
        return None
    errors = [value for look in looks if (value := error(look)) is not None]
    if _improves([distance(look) for look in looks], count, least=0.0):
        return None
    if len(errors) == len(looks) and _improves(errors, count, least=WORTH):
        return None
    return min(looks[:-count], key=distance).step


def _improves(values: Sequence[float], count: int, least: float) -> bool:
    """Return whether one of the last `count` values is clearly below all before, by a part `least` of them too."""
    recent = values[-count:]
    wobble = statistics.median(abs(one - other) for one, other in itertools.pairwise(recent))
    before = min(values[:-count])
    return min(recent) < before - max(wobble, least * before)


def look_for_end(looks: Sequence[Look], schedule: Schedule) -> Flat | None:
    """Return what to do about the looks of a run, the last one just taken; None where it goes on as it is."""
    step, decays_after = looks[-1].step, schedule.decays_after
    decaying = step > decays_after
    since = flat_since(looks, decays_after if decaying else 0)
    if since is None or step >= schedule.num_steps:
        return None
    count = max(LEAST_LOOKS, len(looks) // 3)
    finding = f"At step {step} the last {count} looks at held-out images are no better than that of step {since}"
    shorter = replace(schedule, decay_from=step)
    if decaying or shorter.num_steps <= step:
        return Flat(f"{finding}, so the run ends here instead of at step {schedule.num_steps}.", {"end": step})
    return Flat(
        f"{finding}, so the learning rate decays from here on, and the run ends at step {shorter.num_steps} instead of "
        f"{schedule.num_steps}.",
        {"decay_from": step},
    )


def shortened(schedule: Schedule, entries: Entries) -> Schedule:
    """Return the schedule as the entries of a history have left it."""
    for entry in entries:
        if entry["kind"] == FLAT:
            schedule = replace(
                schedule, decay_from=entry.get("decay_from", schedule.decay_from), end=entry.get("end", schedule.end)
            )
        elif entry["kind"] == RESUMED:
            schedule = replace(schedule, end=None)
    return schedule


def was_flat(entries: Entries) -> bool:
    """Return whether looks have shortened the run."""
    return any(entry["kind"] == FLAT for entry in entries)


def ended_early(entries: Entries) -> str:
    """Return the sentence that says why the run ended before its schedule did; "" where it did not."""
    sentence = ""
    for entry in entries:
        if entry["kind"] == FLAT and "end" in entry:
            sentence = str(entry["sentence"])
        elif entry["kind"] == RESUMED:
            sentence = ""
    return sentence
