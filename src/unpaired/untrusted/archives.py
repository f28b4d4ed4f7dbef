"""Unpacking archives from strangers: every entry is looked at before a byte is written, and all of it stays inside.

Refused are entries that leave the folder, links and devices, names that occur twice, and archives that grow beyond
reason; what is unpacked are plain files, without the owner, mode or time that the archive claims for them.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from unpaired.errors import DataError, StorageError
from unpaired.storage import shown, storage_error

MAX_RATIO = 100
"""Most bytes that a byte of an archive may become; photographs become about one."""

MAX_BYTES = 2**36
"""Most bytes that an archive may become, 64 GiB: eight times the largest published set."""

MAX_ENTRIES = 10**6
"""Most files and folders of an archive; the largest published set has 140,000."""

_CHUNK = 2**20
_ZIP_RECORD = 46  # bytes of a zip's directory for an entry, without its name
_DEEPEST = 64  # folders in folders
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,  # what the readers do not know, and what would have them call themselves for ever
)


@dataclass(frozen=True)
class _Entry:
    """One file of an archive: its path below the folder, bytes when unpacked, how to open it (None for a folder)."""

    path: tuple[str, ...]
    size: int = 0
    open: Callable[[], IO[bytes] | None] | None = None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar.gz, whatever it is called, into `folder`, which is there and empty.

    Raises DataError, with nothing written, for an archive that is refused; DataError for one that turns out to be
    damaged, OutputError or StorageError where the disk refuses, and then `folder` may hold a part.
    """
    with _opened(archive) as listed:
        entries = _checked(archive, listed)
        total = sum(entry.size for entry in entries)
        if total > shutil.disk_usage(folder).free:
            raise StorageError(
                f"Unpacking {shown(archive)} needs {total:,} bytes at {shown(folder.parent)}; free some."
            )
        for entry in entries:
            _write(folder.joinpath(*entry.path), entry)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterable[_Entry]]:
    """Open an archive as its entries, which are found while they are asked for."""
    name, budget = shown(archive), min(MAX_RATIO * archive.stat().st_size, MAX_BYTES)
    with archive.open("rb") as file:
        begin = file.read(2)
    if begin not in (b"PK", b"\x1f\x8b"):
        raise DataError(f"{name} is no zip or tar.gz; look at what the server sent.")
    try:
        if begin == b"PK":
            _refuse_long_directory(archive)
            with zipfile.ZipFile(archive) as packed:
                yield _zip_entries(name, packed)
        else:
            with gzip.open(archive) as unzipped:
                bounded: Any = _Bounded(name, unzipped, budget)
                with tarfile.open(fileobj=bounded, mode="r:") as tar:
                    yield _tar_entries(name, tar, bounded)
    except _DAMAGE as error:
        reason = " ".join(shown(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"The archive {name} is damaged ({reason}); fetch it again.") from None


def _checked(archive: Path, entries: Iterable[_Entry]) -> list[_Entry]:
    """Return all entries; raises DataError at the first that makes the whole archive unfit."""
    name, budget = shown(archive), min(MAX_RATIO * archive.stat().st_size, MAX_BYTES)
    found: list[_Entry] = []
    files: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = {()}  # the folder itself, which no file may be
    total = 0
    for number, entry in enumerate(entries):
        total += entry.size
        if number >= MAX_ENTRIES:
            raise _crowd(name)
        if total > budget:
            raise _bomb(name)
        # Some file systems take names for one that differ in case or in the way of writing accents.
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in entry.path)
        above = {key[:depth] for depth in range(1, len(key))}
        taken = key in files or bool(above & files) or (entry.open is not None and key in folders)
        if taken:
            raise DataError(f"The archive {name} holds {shown('/'.join(entry.path))} twice, so it is refused.")
        folders |= above
        if entry.open is None:
            folders.add(key)
        else:
            files.add(key)
            found.append(entry)
    return found


def _path(name: str, entry: str) -> tuple[str, ...]:
    """Return the parts of an entry's name; raises DataError for one that is no plain path below the folder."""
    parts = tuple(part for part in entry.split("/") if part not in ("", "."))
    odd = entry.startswith("/") or ".." in parts or any(c in "\\:" or not c.isprintable() for c in entry)
    if odd or len(parts) > _DEEPEST:
        raise DataError(
            f"The archive {name} has an entry that leaves its folder or is no plain path ({shown(entry[:100])}), so it "
            "is refused."
        )
    return parts


def _zip_entries(name: str, packed: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in packed.infolist():
        # The name as the archive has it: zipfile cuts it at a NUL and turns the system's separator.
        path, kind = _path(name, info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _special(name, info.filename)
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"The archive {name} is encrypted or packed in a rare way, so it is refused.")
        yield _Entry(path) if info.is_dir() else _Entry(path, info.file_size, partial(packed.open, info))


def _tar_entries(name: str, tar: tarfile.TarFile, stream: _Bounded) -> Iterator[_Entry]:
    for info in tar:
        path = _path(name, info.name)
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise _special(name, info.name)
        yield _Entry(path) if info.isdir() else _Entry(path, info.size, partial(tar.extractfile, info))
    while stream.read(_CHUNK):  # the checksum over all of it stands at the very end
        pass


def _refuse_long_directory(archive: Path) -> None:
    """Raise DataError for a zip with too many entries, which would take minutes to list, from its end alone."""
    if directory_length(archive) > MAX_ENTRIES * _ZIP_RECORD:
        raise _crowd(shown(archive))


def directory_length(archive: Path) -> int:
    """Return how many bytes a zip says that its list of entries has, 0 where nothing there is a zip's end."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2**16 - 22 - 76))
        tail = file.read()
    # The places where readers look: at the very end, or before a comment, which may hold what looks like an end.
    ends = [found.start() for found in re.finditer(b"PK\5\6", tail)]
    lengths = [struct.unpack("<I", tail[at + 12 : at + 16])[0] for at in ends if len(tail) >= at + 22]
    wide = [found.start() for found in re.finditer(b"PK\6\6", tail)]  # for more than 4 GiB or 65535 entries
    lengths = [length for length in lengths if length != 2**32 - 1 or not wide]
    lengths += [struct.unpack("<Q", tail[at + 40 : at + 48])[0] for at in wide if len(tail) >= at + 56]
    return max(lengths, default=0)


class _Bounded:
    """A stream that refuses to be read beyond `limit`, or much of it at once, as a header that lies would have it."""

    def __init__(self, name: str, stream: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self._name, self._stream, self._limit = name, stream, limit

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        if not 0 <= size <= _CHUNK or self._stream.tell() > self._limit + tarfile.RECORDSIZE:
            raise _bomb(self._name)
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        """Go to a place of the unpacked bytes."""
        if place > self._limit + tarfile.RECORDSIZE:
            raise _bomb(self._name)
        return self._stream.seek(place)

    def tell(self) -> int:
        """Return the place in the unpacked bytes."""
        return self._stream.tell()


def _write(path: Path, entry: _Entry) -> None:
    """Write one entry as a new file, no longer than it was said to be."""
    assert entry.open is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            source = entry.open()
            assert source is not None
            with source:
                shutil.copyfileobj(source, file, _CHUNK)
    except gzip.BadGzipFile:  # an OSError that is none of the disk's
        raise
    except OSError as error:
        raise storage_error(error, path) from None


def _crowd(name: str) -> DataError:
    return DataError(f"The archive {name} holds more than {MAX_ENTRIES:,} entries, so it is refused.")


def _bomb(name: str) -> DataError:
    return DataError(
        f"The archive {name} would become more than {MAX_RATIO} times as large, or more than {MAX_BYTES:,} bytes, "
        "so it is refused."
    )


def _special(name: str, entry: str) -> DataError:
    return DataError(f"The archive {name} holds a link or a device ({shown(entry)}), so it is refused.")
