"""Writes the files of an export: existing files are not replaced, incomplete ones are removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unpaired.errors import OutputError
from unpaired.storage import shown, storage_error, write_bytes


def refuse_existing(out: Path, names: Iterable[str]) -> None:
    """Raise OutputError if the folder `out` has a file of one of these names."""
    there = next((out / name for name in names if (out / name).exists()), None)
    if there is not None:
        raise OutputError(f"{shown(there)} exists already; give another --out, or remove it first.")


def write_new(out: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files by name into the folder `out`, which is made. Raises OutputError if one exists, StorageError."""
    refuse_existing(out, contents)
    files = tuple(out / name for name in contents)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, out) from None
    for file, content in zip(files, contents.values(), strict=True):
        write_bytes(file, content, sync=True)
    return files


@contextmanager
def removed_on_error(files: tuple[Path, ...]) -> Iterator[None]:
    """Remove the files if the block raises an error."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
