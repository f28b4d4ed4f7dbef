"""The thumbnails of many images in a temporary file, so that a check holds none of them in memory."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from unpaired.errors import StorageError
from unpaired.scanning.thumbnails import THUMB, Pixels

_SHAPE = (THUMB, THUMB, 3)
_BYTES = THUMB * THUMB * 3


class Thumbs(Protocol):
    """Thumbnails by number: an array n THUMB THUMB 3, or rows of a ThumbFile."""

    def __len__(self) -> int:
        """Return the number of thumbnails."""
        ...

    def __getitem__(self, index: int | slice, /) -> Pixels:
        """Return one thumbnail, or an array of several."""
        ...


class ThumbFile:
    """Thumbnails in the order of `append`, in an unnamed file of the system's folder for temporary files.

    A system without such a folder has them in memory.
    """

    def __init__(self) -> None:
        """Create the file."""
        self._file: BinaryIO
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        except OSError:
            self._file = io.BytesIO()
        self._count = 0

    def __enter__(self) -> ThumbFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a full disk, which has been reported
            self._file.close()

    def append(self, thumb: Pixels) -> None:
        """Add a thumbnail THUMB x THUMB x 3. Raises StorageError if the disk is full."""
        try:
            self._file.write(thumb.tobytes())
        except OSError as error:
            raise _failed(error) from None
        self._count += 1

    def rows(self, numbers: Sequence[int]) -> ThumbRows:
        """Return these thumbnails. Raises StorageError if the disk is full."""
        try:
            self._file.flush()
        except OSError as error:
            raise _failed(error) from None
        return ThumbRows(self._file, numbers)


class ThumbRows:
    """Some thumbnails of a ThumbFile, each read when it is asked for."""

    def __init__(self, file: BinaryIO, numbers: Sequence[int]) -> None:
        self._file, self._numbers = file, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int | slice, /) -> Pixels:
        if isinstance(index, slice):
            content = b"".join(map(self._read, self._numbers[index]))
            return np.frombuffer(content, np.uint8).reshape(-1, *_SHAPE)
        return np.frombuffer(self._read(self._numbers[index]), np.uint8).reshape(_SHAPE)

    def _read(self, number: int) -> bytes:
        try:
            self._file.seek(number * _BYTES)
            return self._file.read(_BYTES)
        except OSError as error:
            raise _failed(error) from None


def _failed(error: OSError) -> StorageError:
    return StorageError(
        f"The folder for temporary files {tempfile.gettempdir()} failed ({error.strerror}); free some space there, or "
        "set TMPDIR to another folder."
    )
