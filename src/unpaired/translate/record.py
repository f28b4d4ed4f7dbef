"""What of a folder of results is finished: a line for each result, with what it was made from and by.

The record is a hidden file in the folder of the results, JSON lines:

    {"run": "1f0c…", "of": {"model": …, "direction": "AtoB", "precision": "fp32", …}}
    {"output": "sub/a.png", "output_sha256": …, "source_bytes": …, "source_sha256": …, "run": "1f0c…"}

A line is appended once its result is in place, so that a process may be killed at any moment: what has no line, or a
line that was cut off, is made again. Nothing is believed of a line that the files themselves do not show.
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
    """Hold the folder of the results for this process. Raises OutputError where another one writes into it."""
    busy = (
        f"Another process writes into {shown(folder)}; wait for it, choose another --out, or have several processes "
        "share one command with torchrun."
    )
    with alone(folder / _LOCK, busy):
        yield


def sweep(jobs: Sequence[Job]) -> None:
    """Remove the files that a killed process had begun beside the results. Raises OutputError or StorageError."""
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
    """The record of a folder, for jobs that are made in one way.

    of: what the results depend on beside their inputs, as JSON can hold it. Made before any of the jobs is read.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job], of: Mapping[str, Any]) -> None:
        self._folder, self._path = folder, folder / RECORD
        self._of = dict(of)
        text = json.dumps(self._of, sort_keys=True)
        self._run = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._seen = {job: _state(job.source) for job in jobs}
        self._known: dict[str, _Entry] | None = None

    def start(self) -> None:
        """Make the file ready for the lines of this run, as one of several processes does. Raises as `add` does."""
        lines = _lines(self._path)
        entries = _entries(lines)
        torn = bool(lines) and not lines[-1].endswith(b"\n")
        if torn or len(lines) > 2 * len(entries) + 100:  # what was made again and again has one line
            kept = [_line({"output": output, **vars(entry)}) for output, entry in entries.items()]
            write_bytes(self._path, b"".join(kept))
        self._append({"run": self._run, "of": self._of})

    def finished(self, jobs: Sequence[Job]) -> set[Job]:
        """Return the jobs whose result is there as it was made, from these bytes and in this way."""
        if self._known is None:
            self._known = _entries(_lines(self._path))
        with ThreadPoolExecutor(num_workers()) as pool:
            return {job for job, done in zip(jobs, pool.map(self._is_finished, jobs), strict=True) if done}

    def add(self, job: Job) -> None:
        """Note that the result of a job is in place. Raises OutputError or StorageError.

        Not noted, and so made again, is one whose input has changed since the record was made.
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
            with self._path.open("ab", buffering=0) as file:  # a line at once, as several processes may append
                file.write(_line(values))
        except OSError as error:
            raise storage_error(error, self._path) from None


def _line(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()  # in ASCII, as names need not be valid text


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return list(iter(lambda: file.readline(_MAX_LINE), b""))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, path) from None


def _entries(lines: Sequence[bytes]) -> dict[str, _Entry]:
    """Return the last entry of each result by its name; lines that are none are passed over."""
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
    """Return what changes with a file's content: its size, its times and which file it is; None where there is none."""
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
    """Return whether a folder says what its results were made from."""
    return os.path.lexists(folder / RECORD)
