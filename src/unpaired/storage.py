"""Atomic file writes, locks, and paths in messages; OSErrors become OutputError or StorageError.

Used by images, model folders and checkpoints.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from unpaired.errors import DataError, OutputError, StorageError, UnpairedError

if sys.platform == "win32":
    import msvcrt

    def claim(descriptor: int) -> None:
        """Lock an open file for this process; raises OSError if another process holds the lock."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def claim(descriptor: int) -> None:
        """Lock an open file for this process; raises OSError if another process holds the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


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

_JUNK_FOLDERS = frozenset(
    {
        "@eadir",  # thumbnails of Synology
        "@recycle",
        "#recycle",
        "#snapshot",
        "__macosx",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "network trash folder",
        "temporary items",
    }
)
_NAMED = 5  # maximum number of folders in a message


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file atomically: to a temporary file in the same folder, which then replaces `path`.

    sync: wait until content and name are on the disk (fsync), so that they survive a power failure.

    Raises OutputError if the file cannot be created there, StorageError if the disk is full or failing.
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
            if sync:
                sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise storage_error(error, path) from None


def hold_bytes(folder: Path, data: bytes) -> Path:
    """Write a file into `folder` under a temporary name and return its path, for `put_held`. Raises as `write_bytes`.

    `sweep_partial` removes it if it is never put into place.
    """
    held = folder / f".unpaired-{secrets.token_hex(6)}.tmp"
    try:
        try:
            with held.open("xb") as file:
                file.write(data)
        except BaseException:
            with contextlib.suppress(OSError):
                held.unlink()
            raise
    except OSError as error:
        raise storage_error(error, held) from None
    return held


def put_held(held: Path, path: Path) -> None:
    """Give a file of `hold_bytes` its name, in the same folder. Raises OutputError or StorageError."""
    try:
        held.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None


def sweep_partial(folder: Path) -> None:
    """Remove temporary files that a killed `write_bytes` or `hold_bytes` left in `folder`.

    Raises OutputError or StorageError.
    """
    for path in folder.glob(".unpaired-*.tmp"):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from None


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and wait until their names are on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, if the system supports it (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # returned by network file systems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def storage_error(error: OSError, path: Path) -> UnpairedError:
    """Return the OutputError or StorageError for a failure to write `path`."""
    if error.errno in _FULL:
        return StorageError(f"No space left to write {shown(path)}; free some and run the command again.")
    if error.errno in _REFUSED:
        return OutputError(f"Cannot create {shown(path)}: {error.strerror}; choose another place with --out.")
    return StorageError(f"Cannot write {shown(path)}: {error.strerror}; check the disk or choose another --out.")


@contextlib.contextmanager
def alone(path: Path, sentence: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` for the block; raises OutputError with `sentence` if it is held.

    The file is created before and removed after the block. The lock belongs to the process, so a killed process leaves
    no stale lock.
    """
    try:
        file = path.open("a")
    except OSError as error:
        raise storage_error(error, path) from None
    with file:
        try:
            claim(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # the previous holder has just removed it
                raise OutputError(sentence)
        except OSError:
            raise OutputError(sentence) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a file in use cannot be removed on Windows
                path.unlink()


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a file below `folder` is a link to a location outside of it."""
    if not path.is_symlink():
        return False
    # Not Path.resolve, which fails for circular links.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def is_junk_folder(name: str) -> bool:
    """Return whether a folder name is one of desktops, servers or disks: hidden, thumbnails, trash."""
    return name.startswith(".") or name.casefold() in _JUNK_FOLDERS


def without_junk(place: str | os.PathLike[str], folders: list[str]) -> list[Path]:
    """Remove junk folders from os.walk's list of folders below `place`, and return their paths."""
    junk = sorted(name for name in folders if is_junk_folder(name))
    folders[:] = [name for name in folders if name not in junk]
    return [Path(place) / name for name in junk]


def left_out(folders: Sequence[Path]) -> list[str]:
    """Return the message about skipped junk folders; an empty list if there are none."""
    if not folders:
        return []
    names = ", ".join(map(shown, folders[:_NAMED])) + (f" and {len(folders) - _NAMED} more" * (len(folders) > _NAMED))
    return [f"Left out {len(folders)} hidden or system folder{'s' * (len(folders) > 1)}: {names}."]


def refuse_folder(error: OSError) -> NoReturn:
    """Raise DataError for an unreadable folder or entry; for os.walk, which ignores such folders by default."""
    raise DataError(f"Cannot read {shown(error.filename)}: {error.strerror}; check its permissions.") from None


def printable(text: str) -> str:
    """Return lines that are safe for a terminal, even if file names in them are not."""
    return "\n".join(map(shown, text.split("\n")))


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """Yield a path to an existing file that is valid UTF-8, for libraries that require it: `path` or an equivalent.

    Raises OSError if the file cannot be opened.
    """
    if writable(path) == str(path):
        yield path
        return
    with path.open("rb") as file:  # only Linux has such names
        yield Path(f"/proc/self/fd/{file.fileno()}")


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading ~ or ~user replaced by the home folder, as a shell does; "./~" names a folder ~."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - unlike Path.expanduser it accepts an unknown user


def writable(text: object) -> str:
    """Return text that UTF-8 can encode: invalid bytes of a file name are escaped, as \\udcff."""
    return str(text).encode(errors="backslashreplace").decode()


def shown(text: object) -> str:
    """Return a path or an untrusted message that is safe for a terminal: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
