"""SHA-256 of files, taken ahead of time: while the interpreter is busy with something else, as importing torch is."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

_Identity = tuple[int, int, int, int, int]

_ahead: dict[Path, tuple[_Identity, Future[str]]] = {}


def take_ahead(paths: Iterable[Path]) -> None:
    """Begin to take the SHA-256 of those of these that are files, each in a thread that keeps no process alive.

    Nothing is raised: what cannot be read is left to `sha256_of`.
    """
    for path in paths:
        try:
            if not path.is_file():  # opening a pipe would wait for its writer
                continue
            found: Future[str] = Future()
            _ahead[path.absolute()] = _identity(path), found
        except OSError:
            continue
        threading.Thread(target=_take, args=(path, found), daemon=True).start()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits: what was taken ahead where the file is still the same one.

    Raises OSError.
    """
    identity, found = _ahead.pop(path.absolute(), (None, None))
    if found is not None and found.exception() is None and identity == _identity(path):
        return found.result()
    return _digest(path)


def _take(path: Path, found: Future[str]) -> None:
    try:
        found.set_result(_digest(path))
    except BaseException as error:
        found.set_exception(error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(path: Path) -> _Identity:
    """Return what changes when a file is written or replaced."""
    about = os.stat(path)  # noqa: PTH116 - one name for what follows links
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
