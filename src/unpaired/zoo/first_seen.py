"""SHA-256 of files that their authors publish without one: the first one seen is recorded, and a later one compared.

The record outlives the models: a file that is fetched again must still be the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unpaired.errors import DownloadError, ModelError
from unpaired.models.by_name import data_folder
from unpaired.storage import make_folder, shown, storage_error, write_bytes


def record_file() -> Path:
    """Return the path of the record."""
    return data_folder() / "first-seen.json"


def check_hash(name: str, sha256: str, published: str) -> str:
    """Compare a SHA-256 with the published or the first seen one, and return a sentence about it.

    Raises DownloadError if they differ, ModelError if the record is damaged.
    """
    if published:
        if sha256 != published:
            raise DownloadError(f"{name} has SHA-256 {sha256}, not the published {published}; run the same again.")
        return f"SHA-256 {sha256}, as published."
    seen = read_record().get(name)
    if seen is None:
        return f"SHA-256 {sha256}; no published hash: recorded as first seen."
    if seen["sha256"] != sha256:
        raise DownloadError(
            f"{name} has SHA-256 {sha256}, and had {seen['sha256']} when it was first seen on {seen['date'][:10]}; "
            f"if its authors replaced it, remove its entry from {shown(record_file())} and run the same again."
        )
    return f"SHA-256 {sha256}, as first seen on {seen['date'][:10]}."


def record_hash(name: str, sha256: str, url: str) -> None:
    """Record the SHA-256 of a file unless there is one. Raises OutputError, StorageError or ModelError."""
    record = read_record()
    if name in record:
        return
    record[name] = {"sha256": sha256, "url": url, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        make_folder(record_file().parent)
    except OSError as error:
        raise storage_error(error, record_file()) from None
    write_bytes(record_file(), (json.dumps(record, indent=1) + "\n").encode(), sync=True)


def read_record() -> dict[str, dict[str, Any]]:
    """Return the record by name, {} if there is none. Raises ModelError if it is damaged."""
    path = record_file()
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not all(_valid(entry) for entry in record.values()):
        raise ModelError(f"{shown(path)}, the record of first seen hashes, is damaged; restore it or remove it.")
    return record


def _valid(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("sha256", "date"))
