"""The output folders: created before the first result, and checked before each one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from unpaired.errors import OutputError, StorageError
from unpaired.storage import shown, storage_error


class OutputFolders:
    """Output folders. Raises OutputError or StorageError if one cannot be created or written to."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._made: dict[Path, tuple[int, int]] = {}
        for folder in dict.fromkeys(folders):
            _make(folder)
            self._made[folder] = _identity(folder) or (0, 0)

    def require(self, folder: Path) -> None:
        """Raise StorageError if the folder has been removed, replaced or unmounted since it was created."""
        if _identity(folder) != self._made.get(folder):
            raise StorageError(
                f"The folder {shown(folder)} has been removed, replaced or unmounted since the start; "
                "restore it, or choose another --out, and run the command again."
            )

    def explain(self, folder: Path, error: OutputError) -> OutputError | StorageError:
        """Return the error of a result that cannot be created, as StorageError if no result in its folder can."""
        self.require(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            return StorageError(str(_refused(folder)))
        return error


def _identity(folder: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = folder.stat()
        return found.st_dev, found.st_ino
    return None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None
    if not os.access(folder, os.W_OK):
        raise _refused(folder)


def _refused(folder: Path) -> OutputError:
    return OutputError(f"Cannot write into {shown(folder)}; change its permissions or choose another --out.")
