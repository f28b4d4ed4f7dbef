"""The run folder: its paths, its lock, its log. Every file in it is readable without this package."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from unpaired.errors import OutputError, StorageError
from unpaired.storage import claim, make_folder, shown, storage_error, sweep_partial

_IN_USE = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_held: set[TextIO] = set()


def _close_locks() -> None:
    """Close the parent's locks in a forked child; the parent holds them until it closes its own files."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks)


class RunFolder:
    """The paths of a run's files; `path` need not exist before `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.data = path / "data.json"
        self.images = path / "images.json"
        self.parts = path / "parts.json"
        self.log = path / "log.jsonl"
        self.samples = path / "samples"
        self.report = path / "report.html"
        self.checkpoints = path / "checkpoints"
        self.held_out = path / "held_out.json"
        self.model = path / "model"
        self.lock_file = path / "LOCK"

    def create(self) -> None:
        """Make the folder and its parts; raises OutputError or StorageError if the disk fails."""
        self._make(self.path, self.samples, self.checkpoints)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run for this process; raises OutputError if another one trains in it, else as `create`.

        Missing folders and the lock file are created, and removed afterwards if no run began. The lock belongs to the
        process, so a killed trainer leaves none behind. Loader processes do not hold it, since one that outlives the
        trainer by seconds would keep the run locked.
        """
        path = self.lock_file
        made, is_new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()], not path.exists()
        self._make(self.path)
        try:
            file = path.open("a")
        except OSError as error:
            raise storage_error(error, path) from None
        with file:
            self._claim(file, path)
            _held.add(file)
            try:
                yield
            finally:
                _held.discard(file)
                with suppress(OSError):  # a file in use cannot be removed, or a folder holds other files by now
                    if is_new and not self.config.exists():
                        path.unlink()
                        for folder in made:
                            folder.rmdir()

    def _make(self, *folders: Path) -> None:
        try:
            for folder in folders:
                make_folder(folder)
        except OSError as error:
            raise storage_error(error, self.path) from None

    def _claim(self, file: TextIO, path: Path) -> None:
        """Lock the open file at `path`."""
        in_use = OutputError(f"{shown(self.path)} is in use by another training; wait for it or choose --out.")
        try:
            claim(file.fileno())
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            same = False
        except OSError as error:
            if error.errno in _IN_USE:
                raise in_use from None
            raise StorageError(
                f"{shown(path)} cannot be locked: {error.strerror}; choose an --out on a disk that can lock files."
            ) from None
        if not same:  # removed by its holder, which has just failed to start
            raise in_use

    def sample(self, step: int) -> Path:
        """Return the path of the sample grid of a step."""
        return self.samples / f"step-{step:08d}.png"

    def sample_paths(self) -> list[Path]:
        """Return the existing sample grids, oldest first."""
        try:
            return sorted(self.samples.glob("step-*.png"))
        except OSError as error:
            raise _unreadable(self.samples, error) from None

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to log.jsonl."""
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise StorageError(
                f"Cannot write {shown(self.log)}: {error.strerror}; make room and run the same again."
            ) from None

    def records(self) -> list[dict[str, Any]]:
        """Return the records of log.jsonl; a last line cut off by a crash and damaged ones are left out."""
        return [record for record in self.lines() if record is not None]

    def lines(self) -> list[dict[str, Any] | None]:
        """Return the complete lines of log.jsonl in order, None for one that is not a record."""
        return list(self.each_line())

    def each_line(self) -> Iterator[dict[str, Any] | None]:
        """Yield the complete lines of log.jsonl as `lines` does, one at a time: a log may have a million."""
        if not self.log.exists():
            return
        try:
            with self.log.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield _record(line.decode("utf-8", errors="replace"))
        except OSError as error:
            raise _unreadable(self.log, error) from None

    def sync_log(self) -> None:
        """Wait until log.jsonl is on the disk, before a checkpoint that counts its lines."""
        if not self.log.exists():
            return
        try:
            with self.log.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, self.log) from None

    def rewind(self, num_lines: int, step: int) -> None:
        """Truncate the log to its first lines and remove sample grids after `step`, whose steps are repeated.

        Partly written files are removed too. Raises OutputError or StorageError.
        """
        for folder in (self.path, self.samples, self.checkpoints):
            sweep_partial(folder)
        try:
            if self.log.exists():
                with self.log.open("rb") as file:
                    size = sum(len(line) for line in islice(file, num_lines) if line.endswith(b"\n"))
                os.truncate(self.log, size)
            for path in self.sample_paths():
                if int(path.stem.removeprefix("step-")) > step:
                    path.unlink()
        except OSError as error:
            raise storage_error(error, self.path) from None


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"Cannot read {shown(path)}: {error.strerror}; check the disk and run the same again.")


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
