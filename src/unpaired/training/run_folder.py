"""The run folder: its paths, its lock, its log. Every file in it is readable without this package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unpaired.errors import OutputError, StorageError

if sys.platform == "win32":
    import msvcrt

    def _claim(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _claim(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunFolder:
    """Where one run keeps everything; `path` need not exist before `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.data = path / "data.json"
        self.log = path / "log.jsonl"
        self.samples = path / "samples"
        self.report = path / "report.html"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"

    def create(self) -> None:
        """Make the folder and its parts; raises StorageError where the disk refuses."""
        try:
            for folder in (self.path, self.samples, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot create the run folder {self.path}: {error.strerror}; choose --out.") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; raises OutputError when another one trains in it.

        The lock belongs to the process, so a killed trainer leaves none behind.
        """
        with (self.path / "LOCK").open("a") as file:
            try:
                _claim(file.fileno())
            except OSError:
                raise OutputError(f"{self.path} is in use by another training; wait for it or choose --out.") from None
            yield

    def sample(self, step: int) -> Path:
        """Return the path of the sample grid of a step."""
        return self.samples / f"step-{step:08d}.png"

    def sample_paths(self) -> list[Path]:
        """Return the sample grids there are, oldest first."""
        return sorted(self.samples.glob("step-*.png"))

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to log.jsonl."""
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise StorageError(
                f"Cannot write {self.log}: {error.strerror}; make room and run the same again."
            ) from None

    def records(self) -> list[dict[str, Any]]:
        """Return the whole lines of log.jsonl; a last line cut off by a crash is left out."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def rewind(self, num_lines: int, step: int) -> None:
        """Cut the log to its first lines and drop sample grids after `step`: what an interrupted try wrote in vain."""
        if self.log.exists():
            kept = self.log.read_bytes().split(b"\n")[:num_lines]
            size = sum(len(line) + 1 for line in kept)
            os.truncate(self.log, min(size, self.log.stat().st_size))
        for path in self.sample_paths():
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
