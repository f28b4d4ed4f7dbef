"""Scores of many files: the table, and the selection of the best share."""

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
)  # the latter are full-width forms

TABLE = "scores.csv"
"""The name of the table beside the results."""

_HEADER = [
    "input",
    "output",
    "score",
    "foreign",
    *COMPONENTS,
    *(f"{name}_measured" for name in COMPONENTS),
    "typicality_spreads",
]

_OUT_OF_DISTRIBUTION = {True: "yes", False: "no", None: "unknown"}


def load_scorer(translator: Translator, model: str | Path, direction: str) -> Scorer:
    """Return the scorer of a direction; `model` is the folder of the translator.

    Raises ModelError if the folder has no trust reference, ConfigError for an unknown direction.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    reference = read_reference(model, translator.info)
    if direction not in reference.symptoms:
        raise ModelError(f"{shown(model)} has no trust reference for {direction}.")
    return Scorer(translator.in_fp32(), reference, direction)  # the training images were measured in fp32


def parse_share(text: str) -> float:
    """Return the share given as "20 %", "20%" or "0.2". Raises ConfigError."""
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = float("nan")
    require(0 < share <= 1, f"--keep-best must be a share of the images, such as 20% or 0.2, not {text}.")
    return share


def best(trusts: Mapping[Job, Trust], share: float) -> list[Job]:
    """Return the most trusted jobs, at least one, in their own order; ties are broken by the sum of symptoms."""
    ranked = sorted(trusts, key=lambda job: order_of(trusts[job]), reverse=True)
    kept = set(ranked[: num_kept(share, len(ranked))])
    return [job for job in trusts if job in kept]


def num_kept(share: float, count: int) -> int:
    """Return the number of results in a share of `count`, at least one."""
    return max(1, round(share * count))


def order_of(trust: Trust) -> tuple[float, float]:
    """Return the sort key of a result, more is better: its score, then minus the sum of its symptoms."""
    return trust.score, -sum(trust.symptoms.values())


def check_table(folder: Path, overwrite: bool) -> None:
    """Raise OutputError if the table exists and may not be replaced."""
    path = folder / TABLE
    if path.exists() and not overwrite:
        raise OutputError(f"{shown(path)} exists already; add --overwrite or choose another --out.")


def write_table(folder: Path, trusts: Mapping[Job, Trust], kept: Sequence[Job]) -> Path:
    """Write scores.csv into `folder`, atomically, a line for each image; return its path.

    Columns: input, output (empty if it is not kept), score, foreign (out of distribution: yes, no or unknown), the part
    and the measurement of each component, and typicality in spreads of the training images. A name that begins with = +
    - @ or ' is prefixed with ', as a spreadsheet would evaluate it as a formula. Raises OutputError or StorageError.
    """
    chosen, path = set(kept), folder / TABLE
    rows = [_row(folder, job, trust, kept=job in chosen) for job, trust in trusts.items()]
    _make(folder)
    write_bytes(path, "".join([_lined(_HEADER), *rows]).encode())
    return path


class GrowingTable:
    """The table of `write_table` while it grows by a row for each image, in the order of their scores."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._begun = folder, False

    def add(self, job: Job, trust: Trust) -> None:
        """Add the row of an image whose result is kept. Raises OutputError or StorageError."""
        text, path = _row(self._folder, job, trust, kept=True), self._folder / TABLE
        _make(self._folder)
        try:
            with path.open("a" if self._begun else "w", encoding="utf-8", newline="") as file:
                file.write(text if self._begun else _lined(_HEADER) + text)
        except OSError as error:
            raise storage_error(error, path) from None
        self._begun = True


def _row(folder: Path, job: Job, trust: Trust, *, kept: bool) -> str:
    parts = [_number(trust.parts.get(name)) for name in COMPONENTS]
    measured = [_number(trust.symptoms.get(name)) for name in COMPONENTS]
    output = _cell(job.target.relative_to(folder)) if kept else ""
    known = _number(trust.score), _OUT_OF_DISTRIBUTION[trust.out_of_distribution]
    return _lined([_cell(job.source), output, *known, *parts, *measured, _number(trust.spreads)])


def _lined(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None


def _cell(name: Path) -> str:
    """Return a name as a cell that no spreadsheet evaluates."""
    text = shown(name)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def to_message(trusts: Mapping[Job, Trust], jobs: Sequence[Job]) -> bytes:
    """Return the symptoms as bytes for another process, by the number of their job."""
    numbers = {job: number for number, job in enumerate(jobs)}
    return json.dumps({numbers[job]: dict(trust.symptoms) for job, trust in trusts.items()}).encode()


def from_messages(messages: Iterable[bytes], jobs: Sequence[Job], scorer: Scorer) -> dict[Job, Trust]:
    """Return the trust of all jobs of several processes, in the order of the jobs."""
    found = {int(number): symptoms for message in messages for number, symptoms in json.loads(message).items()}
    return {jobs[number]: scorer.of_symptoms(found[number]) for number in sorted(found)}
