"""Unpacking of untrusted archives: every entry is validated before a byte is written.

Entries outside of the folder, links, devices, duplicate names and decompression bombs are refused. Only regular files
are unpacked, without the owner, mode or time in the archive.
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
from unpaired.headway import Headway
from unpaired.storage import shown, storage_error

MAX_RATIO = 100
"""Maximum compression ratio of an archive; that of photographs is about one."""

MAX_BYTES = 2**36
"""Maximum unpacked size of an archive in bytes, 64 GiB: eight times the largest published data set."""

MAX_ENTRIES = 10**6
"""Maximum number of files and folders in an archive; the largest published data set has 140,000."""

_CHUNK = 2**20
_ZIP_RECORD = 46  # bytes of an entry in the directory of a zip, without its name
_DEEPEST = 64  # maximum depth of folders
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,  # unsupported features, and infinite recursion (RecursionError)
)


@dataclass(frozen=True)
class _Entry:
    """An entry of an archive: path below the folder, unpacked size in bytes, function to open it (None: a folder)."""

    path: tuple[str, ...]
    size: int = 0
    open: Callable[[], IO[bytes] | None] | None = None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar.gz, of any file name, into the existing, empty `folder`.

    Raises DataError for a refused archive, before anything is written. Raises DataError for a damaged archive, and
    OutputError or StorageError if the disk fails; `folder` may then contain a part of the files.
    """
    with _opened(archive) as listed:
        entries = _checked(archive, listed)
        total = sum(entry.size for entry in entries)
        if total > shutil.disk_usage(folder).free:
            raise StorageError(
                f"Unpacking {shown(archive)} needs {total:,} bytes at {shown(folder.parent)}; free some."
            )
        headway = Headway("Unpacking", len(entries), "file")
        for entry in entries:
            _write(folder.joinpath(*entry.path), entry)
            headway.advance()


@contextmanager
def _opened(archive: Path) -> Iterator[Iterable[_Entry]]:
    """Open an archive as a lazy iterable of its entries."""
    name, budget = shown(archive), min(MAX_RATIO * archive.stat().st_size, MAX_BYTES)
    with archive.open("rb") as file:
        begin = file.read(2)
    if begin not in (b"PK", b"\x1f\x8b"):
        raise DataError(f"{name} is not a zip or tar.gz; check the response of the server.")
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
    """Return all entries; raises DataError at the first invalid one."""
    name, budget = shown(archive), min(MAX_RATIO * archive.stat().st_size, MAX_BYTES)
    found: list[_Entry] = []
    files: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = {()}  # the folder itself, which no file may replace
    total = 0
    for number, entry in enumerate(entries):
        total += entry.size
        if number >= MAX_ENTRIES:
            raise _crowd(name)
        if total > budget:
            raise _bomb(name)
        # Some file systems treat names as equal that differ in case or in Unicode normalisation.
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in entry.path)
        above = {key[:depth] for depth in range(1, len(key))}
        taken = key in files or bool(above & files) or (entry.open is not None and key in folders)
        if taken:
            raise DataError(f"The archive {name} contains {shown('/'.join(entry.path))} twice, so it is refused.")
        folders |= above
        if entry.open is None:
            folders.add(key)
        else:
            files.add(key)
            found.append(entry)
    return found


def _path(name: str, entry: str) -> tuple[str, ...]:
    """Return the parts of an entry's name; raises DataError unless it is a plain path below the folder."""
    parts = tuple(part for part in entry.split("/") if part not in ("", "."))
    odd = entry.startswith("/") or ".." in parts or any(c in "\\:" or not c.isprintable() for c in entry)
    if odd or len(parts) > _DEEPEST:
        raise DataError(
            f"The archive {name} has an entry outside of its folder or with an invalid path ({shown(entry[:100])}), so "
            "it is refused."
        )
    return parts


def _zip_entries(name: str, packed: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in packed.infolist():
        # The original name: zipfile truncates it at a NUL and replaces the system's separator.
        path, kind = _path(name, info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _special(name, info.filename)
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"The archive {name} is encrypted or uses an unsupported compression, so it is refused.")
        yield _Entry(path) if info.is_dir() else _Entry(path, info.file_size, partial(packed.open, info))


def _tar_entries(name: str, tar: tarfile.TarFile, stream: _Bounded) -> Iterator[_Entry]:
    for info in tar:
        path = _path(name, info.name)
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise _special(name, info.name)
        yield _Entry(path) if info.isdir() else _Entry(path, info.size, partial(tar.extractfile, info))
    while stream.read(_CHUNK):  # the checksum of the whole stream is at its end
        pass


def _refuse_long_directory(archive: Path) -> None:
    """Raise DataError for a zip with too many entries, before they are listed, which would take minutes."""
    if directory_length(archive) > MAX_ENTRIES * _ZIP_RECORD:
        raise _crowd(shown(archive))


def directory_length(archive: Path) -> int:
    """Return the size of the central directory according to a zip's end record, 0 if there is no end record."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2**16 - 22 - 76))
        tail = file.read()
    # Readers search the end record at the end of the file or before a comment, which may contain a false one.
    ends = [found.start() for found in re.finditer(b"PK\5\6", tail)]
    lengths = [struct.unpack("<I", tail[at + 12 : at + 16])[0] for at in ends if len(tail) >= at + 22]
    wide = [found.start() for found in re.finditer(b"PK\6\6", tail)]  # for more than 4 GiB or 65535 entries
    lengths = [length for length in lengths if length != 2**32 - 1 or not wide]
    lengths += [struct.unpack("<Q", tail[at + 40 : at + 48])[0] for at in wide if len(tail) >= at + 56]
    return max(lengths, default=0)


class _Bounded:
    """A stream that raises DataError beyond `limit` bytes and limits single reads, which a false header may inflate."""

    def __init__(self, name: str, stream: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self._name, self._stream, self._limit = name, stream, limit

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        if not 0 <= size <= _CHUNK or self._stream.tell() > self._limit + tarfile.RECORDSIZE:
            raise _bomb(self._name)
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        """Seek to a position in the unpacked stream."""
        if place > self._limit + tarfile.RECORDSIZE:
            raise _bomb(self._name)
        return self._stream.seek(place)

    def tell(self) -> int:
        """Return the position in the unpacked stream."""
        return self._stream.tell()


def _write(path: Path, entry: _Entry) -> None:
    """Write an entry as a new file, at most as large as declared."""
    assert entry.open is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            source = entry.open()
            assert source is not None
            with source:
                shutil.copyfileobj(source, file, _CHUNK)
    except gzip.BadGzipFile:  # an OSError that does not come from the disk
        raise
    except OSError as error:
        raise storage_error(error, path) from None


def _crowd(name: str) -> DataError:
    return DataError(f"The archive {name} contains more than {MAX_ENTRIES:,} entries, so it is refused.")


def _bomb(name: str) -> DataError:
    return DataError(
        f"The archive {name} would unpack to more than {MAX_RATIO} times its size, or more than {MAX_BYTES:,} bytes, "
        "so it is refused."
    )


def _special(name: str, entry: str) -> DataError:
    return DataError(f"The archive {name} contains a link or a device ({shown(entry)}), so it is refused.")
