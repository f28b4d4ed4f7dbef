"""Files of an export: none is replaced, and none stays behind that could not be finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unpaired.errors import OutputError
from unpaired.storage import shown, storage_error, write_bytes


def write_new(out: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files by name into the folder `out`, which is made. Raises OutputError if one exists, StorageError."""
    files = tuple(out / name for name in contents)
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise OutputError(f"{shown(there)} exists already; give another --out, or remove it first.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, out) from None
    for file, content in zip(files, contents.values(), strict=True):
        write_bytes(file, content, sync=True)
    return files


@contextmanager
def removed_on_error(files: tuple[Path, ...]) -> Iterator[None]:
    """Remove the files if the body raises."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
