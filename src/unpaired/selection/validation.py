"""RUN/guardian.jsonl: what the guardian saw, a line a look, each with its step and the figures by name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from unpaired.storage import storage_error, write_bytes

NO_NUMBER = 1e30
"""Stands for what is no number, so that every line of the files of looks is strict JSON."""


@dataclass(frozen=True)
class Look:
    """The figures of a step by name."""

    step: int
    figures: dict[str, float]


def read_looks(path: Path) -> list[Look]:
    """Return the looks in a guardian.jsonl, oldest first; none without the file, and no line cut off by a crash."""
    if not path.exists():
        return []
    looks = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            record = json.loads(line)
            looks.append(Look(record.pop("step"), record))
        except (ValueError, KeyError, AttributeError):
            continue
    return looks


def cut_looks(path: Path, step: int) -> list[Look]:
    """Return the looks up to a step, and leave only those in the file: the others will be taken again."""
    looks = read_looks(path)
    kept = [look for look in looks if look.step <= step]
    if path.exists():
        write_bytes(path, "".join(map(_line, kept)).encode(), sync=True)
    return kept


def append_look(path: Path, look: Look) -> None:
    """Add a line; it is on the disk when this returns, as a later checkpoint counts on it."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(look))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from None


def _line(look: Look) -> str:
    return json.dumps({"step": look.step, **look.figures}) + "\n"
