"""The record of finished results in an output folder, for --resume: a line with the input and the model of each result.

The record is a hidden file in the output folder, JSON lines:

    {"run": "1f0c…", "of": {"model": …, "direction": "AtoB", "precision": "fp32", …}}
    {"output": "sub/a.png", "output_sha256": …, "source_bytes": …, "source_sha256": …, "run": "1f0c…"}

A line is appended once its result is in place, so that a process may be killed at any time: a result without a line, or
with a truncated one, is translated again. Every line is verified against the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unpaired.storage import alone, shown, storage_error, sweep_partial, write_bytes
from unpaired.translate.jobs import RECORD, Job
from unpaired.translate.overlap import num_workers

_LOCK = ".unpaired-lock"
_MAX_LINE = 2**16


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock the output folder for this process. Raises OutputError if another process writes to it."""
    busy = (
        f"Another process is writing to {shown(folder)}; wait for it, choose another --out, or share one "
        "command among several processes with torchrun."
    )
    with alone(folder / _LOCK, busy):
        yield


def sweep(jobs: Sequence[Job]) -> None:
    """Remove partial files of a killed process beside the results. Raises OutputError or StorageError."""
    for folder in dict.fromkeys(job.target.parent for job in jobs):
        sweep_partial(folder)


@dataclass(frozen=True)
class _Entry:
    """One line: a finished result."""

    output_sha256: str
    source_bytes: int
    source_sha256: str
    run: str


class Record:
    """The record of a folder, for jobs with the same model and options.

    Create it before any of the jobs is read.

    Args:
        folder: the output folder.
        jobs: all jobs.
        of: everything besides the input that results depend on, as JSON values.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job], of: Mapping[str, Any]) -> None:
        self._folder, self._path = folder, folder / RECORD
        self._of = dict(of)
        text = json.dumps(self._of, sort_keys=True)
        self._run = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._seen = {job: _state(job.source) for job in jobs}
        self._known: dict[str, _Entry] | None = None

    def start(self) -> None:
        """Prepare the file for the lines of this run; called by one process only. Raises as `add` does."""
        lines = _lines(self._path)
        entries = _entries(lines)
        torn = bool(lines) and not lines[-1].endswith(b"\n")
        if torn or len(lines) > 2 * len(entries) + 100:  # repeated results keep only their last line
            kept = [_line({"output": output, **vars(entry)}) for output, entry in entries.items()]
            write_bytes(self._path, b"".join(kept))
        self._append({"run": self._run, "of": self._of})

    def finished(self, jobs: Sequence[Job]) -> set[Job]:
        """Return the jobs whose result is unchanged, and from the same input, model and options."""
        if self._known is None:
            self._known = _entries(_lines(self._path))
        with ThreadPoolExecutor(num_workers()) as pool:
            return {job for job, done in zip(jobs, pool.map(self._is_finished, jobs), strict=True) if done}

    def add(self, job: Job) -> None:
        """Record that the result of a job is in place. Raises OutputError or StorageError.

        A result whose input has changed since the start is not recorded, and so is translated again.
        """
        before = self._seen.get(job)
        source, output = _sha256(job.source), _sha256(job.target)
        if before is None or source is None or output is None or _state(job.source) != before:
            return
        name = job.target.relative_to(self._folder).as_posix()
        self._append({"output": name, **vars(_Entry(output, before[0], source, self._run))})

    def _is_finished(self, job: Job) -> bool:
        assert self._known is not None
        entry = self._known.get(job.target.relative_to(self._folder).as_posix())
        seen = self._seen.get(job)
        return (
            entry is not None
            and seen is not None
            and (entry.run, entry.source_bytes) == (self._run, seen[0])
            and _sha256(job.target) == entry.output_sha256
            and _sha256(job.source) == entry.source_sha256
        )

    def _append(self, values: Mapping[str, Any]) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:  # one write for each line, as several processes may append
                file.write(_line(values))
        except OSError as error:
            raise storage_error(error, self._path) from None


def _line(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()  # ASCII, as names may not be valid text


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return list(iter(lambda: file.readline(_MAX_LINE), b""))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, path) from None


def _entries(lines: Sequence[bytes]) -> dict[str, _Entry]:
    """Return the last entry of each result by its name; invalid lines are skipped."""
    found: dict[str, _Entry] = {}
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            values = json.loads(line)
            text = [values[key] for key in ("output", "output_sha256", "source_sha256", "run")]
            if all(isinstance(each, str) for each in text):
                output, output_sha256, source_sha256, run = text
                found[output] = _Entry(output_sha256, int(values["source_bytes"]), source_sha256, run)
    return found


def _state(path: Path) -> tuple[int, int, int, int] | None:
    """Return the size, times and inode of a file, which change with its content; None if there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def has_record(folder: Path) -> bool:
    """Return whether a folder has a record of its results."""
    return os.path.lexists(folder / RECORD)
