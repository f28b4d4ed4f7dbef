"""Files on disk: written whole or not at all, with the disk's refusals as sentences.

The bottom layer, as images, model folders and checkpoints all need it.
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
        """Lock an open file for this process; OSError where another one has."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def claim(descriptor: int) -> None:
        """Lock an open file for this process; OSError where another one has."""
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
_NAMED = 5  # folders that a sentence names


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file whole or not at all: under a temporary name beside `path`, then renamed over it.

    `sync` also waits until bytes and name are on the disk, so that they outlive a power cut. Raises OutputError
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

    `sweep_partial` removes it if nobody puts it into place.
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
    """Remove what `write_bytes` and `hold_bytes` left in `folder` when the process was killed.

    Raises OutputError or StorageError.
    """
    for path in folder.glob(".unpaired-*.tmp"):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, and wait until their names are on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where the system knows how (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the answer of network file systems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def storage_error(error: OSError, path: Path) -> UnpairedError:
    """Return the sentence for a file that could not be written at `path`: OutputError or StorageError."""
    if error.errno in _FULL:
        return StorageError(f"No space left to write {shown(path)}; free some and run the command again.")
    if error.errno in _REFUSED:
        return OutputError(f"Cannot create {shown(path)}: {error.strerror}; choose another place with --out.")
    return StorageError(f"Cannot write {shown(path)}: {error.strerror}; check the disk or choose another --out.")


@contextlib.contextmanager
def alone(path: Path, sentence: str) -> Iterator[None]:
    """Hold the file `path` as a lock, made for it and removed after it; OutputError with `sentence` where it is held.

    The lock belongs to the process, so that a killed one leaves nothing that stands in the way.
    """
    try:
        file = path.open("a")
    except OSError as error:
        raise storage_error(error, path) from None
    with file:
        try:
            claim(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # its holder has just removed it
                raise OutputError(sentence)
        except OSError:
            raise OutputError(sentence) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # where a file in use cannot be removed
                path.unlink()


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a file found below `folder` is a link to a place outside of it."""
    if not path.is_symlink():
        return False
    # Not Path.resolve, which fails for links that lead in a circle.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def is_junk_folder(name: str) -> bool:
    """Return whether a folder of this name is a desktop's, a server's or a disk's own: hidden, thumbnails, trash."""
    return name.startswith(".") or name.casefold() in _JUNK_FOLDERS


def without_junk(place: str | os.PathLike[str], folders: list[str]) -> list[Path]:
    """Take junk folders out of the list of those below `place` that os.walk goes on with, and return their paths."""
    junk = sorted(name for name in folders if is_junk_folder(name))
    folders[:] = [name for name in folders if name not in junk]
    return [Path(place) / name for name in junk]


def left_out(folders: Sequence[Path]) -> list[str]:
    """Return the sentence about junk folders that were not looked into; none without any."""
    if not folders:
        return []
    names = ", ".join(map(shown, folders[:_NAMED])) + (f" and {len(folders) - _NAMED} more" * (len(folders) > _NAMED))
    return [f"Left out {len(folders)} hidden or system folder{'s' * (len(folders) > 1)}: {names}."]


def refuse_folder(error: OSError) -> NoReturn:
    """Raise DataError for what cannot be looked into; for os.walk, which passes over such folders in silence."""
    raise DataError(f"Cannot look into {shown(error.filename)}: {error.strerror}; check its permissions.") from None


def printable(text: str) -> str:
    """Return lines fit for a terminal, whatever names of files stand in them."""
    return "\n".join(map(shown, text.split("\n")))


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """Give a path to an existing file that libraries can open which take valid text only: `path`, or one that means it.

    Raises OSError where the file cannot be opened.
    """
    if writable(path) == str(path):
        yield path
        return
    with path.open("rb") as file:  # only Linux has such names
        yield Path(f"/proc/self/fd/{file.fileno()}")


def writable(text: object) -> str:
    """Return text that UTF-8 can hold: bytes of a file's name that are no valid text are spelled out, as \\udcff."""
    return str(text).encode(errors="backslashreplace").decode()


def shown(text: object) -> str:
    """Return a path or a foreign message fit for a terminal: control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
