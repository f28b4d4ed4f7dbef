"""Evaluations of a run on disk, one JSON line each: guardian.jsonl (the guardian), held_out.jsonl (validation)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from unpaired.storage import storage_error, write_bytes

NON_FINITE = 1e30
"""Replaces NaN and infinite values, so that every line of these files is strict JSON."""


@dataclass(frozen=True)
class StepEvaluation:
    """The metrics of one step by name."""

    step: int
    figures: dict[str, float]


def read_evaluations(path: Path) -> list[StepEvaluation]:
    """Return the evaluations in a file, oldest first; none without the file, and no line that a crash truncated."""
    if not path.exists():
        return []
    found = map(read_evaluation, path.read_bytes().split(b"\n")[:-1])
    return [evaluation for evaluation in found if evaluation is not None]


def read_evaluation(line: bytes) -> StepEvaluation | None:
    """Return the evaluation in a line of such a file; None for a damaged line."""
    try:
        record = json.loads(line.decode("utf-8", errors="replace"))
        return StepEvaluation(record.pop("step"), record)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def truncate_evaluations(path: Path, step: int) -> list[StepEvaluation]:
    """Return the evaluations up to a step, and remove the others from the file, since their steps are repeated."""
    evaluations = read_evaluations(path)
    kept = [evaluation for evaluation in evaluations if evaluation.step <= step]
    if path.exists():
        write_bytes(path, "".join(map(_line, kept)).encode(), sync=True)
    return kept


def append_evaluation(path: Path, evaluation: StepEvaluation) -> None:
    """Append a line and flush it to the disk, since a later checkpoint depends on it."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(evaluation))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from None


def _line(evaluation: StepEvaluation) -> str:
    return json.dumps({"step": evaluation.step, **evaluation.figures}) + "\n"
