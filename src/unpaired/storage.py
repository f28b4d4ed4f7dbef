"""Files on disk: written whole or not at all, with the disk's refusals as sentences.

The bottom layer, as images, model folders and checkpoints all need it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from unpaired.errors import OutputError, StorageError, UnpairedError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file whole or not at all: under a temporary name beside `path`, then renamed over it.

    `sync` also waits until the bytes are on the disk, so that they outlive a power cut. Raises OutputError
    where the place refuses the file, StorageError where the disk is full or failing.
    """
    # The temporary name is short: the real one may be as long as the file system allows.
    partial = path.parent / f".unpaired-{secrets.token_hex(6)}.tmp"
    try:
        try:
            with partial.open("xb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise storage_error(error, path) from None


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where the system knows how (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(error: OSError, path: Path) -> UnpairedError:
    """Return the sentence for a file that could not be written at `path`: OutputError or StorageError."""
    if error.errno in _FULL:
        return StorageError(f"No space left to write {shown(path)}; free some and run the command again.")
    if error.errno in _REFUSED:
        return OutputError(f"Cannot create {shown(path)}: {error.strerror}; choose another place with --out.")
    return StorageError(f"Cannot write {shown(path)}: {error.strerror}; check the disk or choose another --out.")


def shown(text: object) -> str:
    """Return a path or a foreign message fit for a terminal: control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
