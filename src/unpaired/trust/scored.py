"""Scores of many files: each one's trust, the table of them, and the best share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from unpaired.config import require
from unpaired.errors import ModelError, OutputError
from unpaired.storage import shown, storage_error, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Job
from unpaired.translate.translator import Translator
from unpaired.trust.score import COMPONENTS, Scorer, Trust
from unpaired.trust.trust_file import read_reference

_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "'",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # the latter are the wide ones of East Asia

TABLE = "scores.csv"
"""The name of the table beside the results."""

_FOREIGN = {True: "yes", False: "no", None: "unknown"}


def load_scorer(translator: Translator, model: str | Path, direction: str) -> Scorer:
    """Return what says how far to trust the translations of a direction; `model` is the folder of the translator.

    Raises ModelError where the folder does not say what its training images were like, ConfigError for a direction.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    reference = read_reference(model, translator.info)
    if direction not in reference.symptoms:
        raise ModelError(f"{shown(model)} does not say what the training images of {direction} were like.")
    return Scorer(translator.in_fp32(), reference, direction)  # as the training images were measured


def parse_share(text: str) -> float:
    """Return the share that "20 %", "20%" or "0.2" means. Raises ConfigError."""
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = float("nan")
    require(0 < share <= 1, f"--keep-best takes a share of the images, as 20% or 0.2, not {text}.")
    return share


def best(trusts: Mapping[Job, Trust], share: float) -> list[Job]:
    """Return the most trusted jobs, at least one, in their own order; of equals those with the fewest symptoms."""
    ranked = sorted(trusts, key=lambda job: order_of(trusts[job]), reverse=True)
    kept = set(ranked[: num_kept(share, len(ranked))])
    return [job for job in trusts if job in kept]


def num_kept(share: float, count: int) -> int:
    """Return how many of `count` results a share of them is, at least one."""
    return max(1, round(share * count))


def order_of(trust: Trust) -> tuple[float, float]:
    """Return the rank of a result, more is better: its score, then, beyond the last training image, how far beyond."""
    return trust.score, -sum(trust.symptoms.values())


def check_table(folder: Path, overwrite: bool) -> None:
    """Raise OutputError where the table exists and may not be replaced."""
    path = folder / TABLE
    if path.exists() and not overwrite:
        raise OutputError(f"{shown(path)} exists already; add --overwrite or choose another --out.")


def write_table(folder: Path, trusts: Mapping[Job, Trust], kept: Sequence[Job]) -> Path:
    """Write scores.csv into `folder`, whole or not at all, a line an image; return its path.

    Columns: input, output (empty where it is not kept), score, foreign (yes, no or unknown), each component's part and
    what was measured, and typicality in spreads of the training images. A name that begins with = + - @ or ' has a '
    before it, as a spreadsheet would take it for a formula. Raises OutputError or StorageError.
    """
    text, chosen = io.StringIO(), set(kept)
    writer = csv.writer(text, lineterminator="\n")
    names = [*COMPONENTS, *(f"{name}_measured" for name in COMPONENTS), "typicality_spreads"]
    writer.writerow(["input", "output", "score", "foreign", *names])
    for job, trust in trusts.items():
        output = _cell(job.target.relative_to(folder)) if job in chosen else ""
        parts = [_number(trust.parts.get(name)) for name in COMPONENTS]
        measured = [_number(trust.symptoms.get(name)) for name in COMPONENTS]
        numbers = [*parts, *measured, _number(trust.spreads)]
        writer.writerow([_cell(job.source), output, _number(trust.score), _FOREIGN[trust.foreign], *numbers])
    path = folder / TABLE
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None
    write_bytes(path, text.getvalue().encode())
    return path


def _cell(name: Path) -> str:
    """Return a name as a cell that every spreadsheet shows and none computes."""
    text = shown(name)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def to_message(trusts: Mapping[Job, Trust], jobs: Sequence[Job]) -> bytes:
    """Return the symptoms as another process can read them, by the number of their job."""
    numbers = {job: number for number, job in enumerate(jobs)}
    return json.dumps({numbers[job]: dict(trust.symptoms) for job, trust in trusts.items()}).encode()


def from_messages(messages: Iterable[bytes], jobs: Sequence[Job], scorer: Scorer) -> dict[Job, Trust]:
    """Return what several processes found, in the order of the jobs."""
    found = {int(number): symptoms for message in messages for number, symptoms in json.loads(message).items()}
    return {jobs[number]: scorer.of_symptoms(found[number]) for number in sorted(found)}
