"""The folders that results are written into: made before the first one, and watched until the last."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from unpaired.errors import OutputError, StorageError
from unpaired.storage import shown, storage_error


class OutputFolders:
    """Folders of results. Raises OutputError or StorageError where one cannot be made or written into."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._made: dict[Path, tuple[int, int]] = {}
        for folder in dict.fromkeys(folders):
            _make(folder)
            self._made[folder] = _identity(folder) or (0, 0)

    def require(self, folder: Path) -> None:
        """Raise StorageError unless the folder is the one that was made: neither removed, replaced nor unmounted."""
        if _identity(folder) != self._made.get(folder):
            raise StorageError(
                f"The folder {shown(folder)} is gone, or is another one than when this began (removed or unmounted); "
                "put it back, or choose another --out, and run the same again."
            )

    def explain(self, folder: Path, error: OutputError) -> OutputError | StorageError:
        """Return the error of a result that cannot be created, as StorageError where none in its folder could be."""
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
