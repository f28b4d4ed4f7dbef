"""The first and the last lines of a log, read without the lines between them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unpaired.errors import StorageError
from unpaired.storage import shown

_BLOCK = 1 << 16  # bytes at each end: more than a hundred lines


def log_ends(log: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records among the first and among the last 64 KiB of a log.jsonl, in order; both empty without it.

    Takes the same time at any length of the log. Damaged lines, and a last one without its end, are left out. Raises
    StorageError if the file cannot be read.
    """
    try:
        with log.open("rb") as file:
            head = file.read(_BLOCK)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _BLOCK, 0))
            tail = file.read()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise StorageError(
            f"Cannot read {shown(log)}: {error.strerror}; check the disk and run the same again."
        ) from None
    first, last = head.split(b"\n")[:-1], tail.split(b"\n")[:-1]
    return _records(first), _records(last if size <= _BLOCK else last[1:])


def _records(lines: list[bytes]) -> list[dict[str, Any]]:
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records
