"""The events of a run besides training: skipped steps, lost processes, failures, accepted changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unpaired.errors import DataError
from unpaired.storage import shown, write_bytes

OF_STEPS = ("skipped", "loader", "guardian", "graph", "way", "flat", "went on")
"""The kinds of entries that belong to a step, and occur again when the step is repeated."""

ALARMS = ("skipped", "loader", "guardian", "remedy", "graph")
"""The kinds of entries about failures; the others are about what was asked for or planned."""


STARTED = "start"
"""The kind of the entry about the weights that a run started from."""


class History:
    """RUN/history.jsonl, a line an entry: step, kind, sentence, and details of that kind. Few lines, or none."""

    def __init__(self, run: Path) -> None:
        self._path = run / "history.jsonl"

    def note(self, step: int, kind: str, sentence: str, **details: Any) -> None:
        """Add an entry and flush it to the disk, since its event must not outlive it."""
        self._write([*self.entries(), {"step": step, "kind": kind, "sentence": sentence, **details}])

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first. Raises DataError, which names the line, if the file is damaged."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"{shown(self._path)} cannot be read ({error.strerror}); fix it.") from None
        return [self._entry(line, number) for number, line in enumerate(lines, 1)]

    def up_to(self, step: int) -> list[dict[str, Any]]:
        """Return the entries without those of steps after `step`, which are repeated."""
        return [entry for entry in self.entries() if entry["kind"] not in OF_STEPS or entry["step"] <= step]

    def rewind(self, step: int) -> None:
        """Remove the entries of steps after `step`."""
        kept = self.up_to(step)
        if kept != self.entries():
            self._write(kept)

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not (isinstance(entry, dict) and type(entry.get("step")) is int):
            entry = {}
        if not all(isinstance(entry.get(key), str) for key in ("kind", "sentence")):
            raise DataError(
                f"{shown(self._path)} is damaged (line {number} is no entry of a history); remove that line or copy "
                "the run folder again."
            )
        return entry

    def _write(self, entries: list[dict[str, Any]]) -> None:
        lines = [json.dumps(entry) + "\n" for entry in entries]
        write_bytes(self._path, "".join(lines).encode(), sync=True)
