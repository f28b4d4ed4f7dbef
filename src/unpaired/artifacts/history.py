"""The events of a run besides training: skipped steps, lost processes, failures, accepted changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unpaired.storage import write_bytes

OF_STEPS = ("skipped", "loader", "guardian", "graph", "way", "flat", "went on")
"""The kinds of entries that belong to a step, and occur again when the step is repeated."""

ALARMS = ("skipped", "loader", "guardian", "remedy", "graph")
"""The kinds of entries about failures; the others are about what was asked for or planned."""


class History:
    """RUN/history.jsonl, a line an entry: step, kind, sentence, and details of that kind. Few lines, or none."""

    def __init__(self, run: Path) -> None:
        self._path = run / "history.jsonl"

    def note(self, step: int, kind: str, sentence: str, **details: Any) -> None:
        """Add an entry and flush it to the disk, since its event must not outlive it."""
        self._write([*self.entries(), {"step": step, "kind": kind, "sentence": sentence, **details}])

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def up_to(self, step: int) -> list[dict[str, Any]]:
        """Return the entries without those of steps after `step`, which are repeated."""
        return [entry for entry in self.entries() if entry["kind"] not in OF_STEPS or entry["step"] <= step]

    def rewind(self, step: int) -> None:
        """Remove the entries of steps after `step`."""
        kept = self.up_to(step)
        if kept != self.entries():
            self._write(kept)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        lines = [json.dumps(entry) + "\n" for entry in entries]
        write_bytes(self._path, "".join(lines).encode(), sync=True)
