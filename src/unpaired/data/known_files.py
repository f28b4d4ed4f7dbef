"""The facts about the files of a folder that earlier scans found, while the files are the same.

A file counts as the same if size, times of the last change of content and of status, and inode are those of the scan.
Size and time of content alone can be restored by a copy (`cp -p`); the time of the status cannot be set by programs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from unpaired.data.listing import Stamp
from unpaired.images import ImageHeader
from unpaired.scanning.inspection import Inspected

Fact = TypeVar("Fact")

IMAGE_FACTS = ("height", "width", "channels", "dtype", "has_alpha", "flat", "grey", "alpha_is_a_band")
"""The facts of `Inspected` that training uses."""

_NOWHERE = Path()
_UNSETTLED = 2_000_000_000  # nanoseconds: a file changed so recently can change again within one tick of its clock


class Table(Generic[Fact]):
    """Distinct facts by number, since most images of a folder have the same ones."""

    def __init__(self, rows: Iterable[Fact] = ()) -> None:
        self.rows: list[Fact] = []
        self._places: dict[Fact, int] = {}
        for row in rows:
            self.place(row)

    def place(self, fact: Fact) -> int:
        """Return the number of a fact, a new one for a new fact."""
        place = self._places.setdefault(fact, len(self.rows))
        if place == len(self.rows):
            self.rows.append(fact)
        return place


class KnownFiles:
    """The facts about the images of a source, by index. Those about unusable images are never kept.

    stamps: int64 n 4, as listed. digests: uint8 n 32, SHA-256 of the files. has_digest: bool n.
    headers, images: int32 n, indices into the tables; -1 if unknown.
    """

    def __init__(self, stamps: Sequence[Stamp]) -> None:
        """stamps: of the files as listed now."""
        count = len(stamps)
        self.stamps = np.array(stamps, np.int64).reshape(count, 4)
        self.listed_at = time.time_ns()
        self.digests = np.zeros((count, 32), np.uint8)
        self.has_digest = np.zeros(count, bool)
        self.headers, self.images = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
        self.header_table: Table[ImageHeader] = Table()
        self.image_table: Table[Inspected] = Table()
        self.changed = False
        """Whether there are facts that a cache does not hold yet."""

    def __len__(self) -> int:
        return len(self.stamps)

    def chosen(self, indices: Sequence[int]) -> KnownFiles:
        """Return the facts about some images, in the order of `indices`."""
        made = KnownFiles(())
        made.listed_at, made.changed = self.listed_at, self.changed
        made.header_table, made.image_table = self.header_table, self.image_table
        for name in ("stamps", "digests", "has_digest", "headers", "images"):
            setattr(made, name, getattr(self, name)[np.asarray(indices, np.int64)])
        return made

    def forget(self) -> None:
        """Drop all facts."""
        self.has_digest[:], self.headers[:], self.images[:] = False, -1, -1
        self.changed = True

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Whether each file was last changed long enough before it was listed, for its times to show a later change."""
        latest: NDArray[np.int64] = self.stamps[:, 1:3].max(axis=1, initial=0)
        return latest < self.listed_at - _UNSETTLED

    def sizes(self) -> list[int]:
        """Return the sizes of the files in bytes."""
        sizes: list[int] = self.stamps[:, 0].tolist()
        return sizes

    def digest(self, index: int) -> str | None:
        """Return the SHA-256 of a file in hexadecimal digits; None if unknown."""
        return self.digests[index].tobytes().hex() if self.has_digest[index] else None

    def all_digests(self) -> list[str]:
        """Return the SHA-256 of all files in hexadecimal digits, of zeros where it is unknown."""
        digits = self.digests.tobytes().hex()
        return [digits[start : start + 64] for start in range(0, len(digits), 64)]

    def add_digest(self, index: int, digest: str) -> None:
        """Record the SHA-256 of a file."""
        self.digests[index] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        self.has_digest[index] = self.changed = True

    def image(self, index: int, path: Path) -> Inspected | None:
        """Return what training knows about an image after decoding it; None if it has to be decoded."""
        place = int(self.images[index])
        return None if place < 0 else replace(self.image_table.rows[place], path=path)

    def add_image(self, index: int, image: Inspected) -> None:
        """Record the facts about a decoded image."""
        self.images[index] = self.image_table.place(without_path(image))
        self.changed = True

    def add_header(self, index: int, header: ImageHeader) -> None:
        """Record the header of a file."""
        self.headers[index] = self.header_table.place(header)
        self.changed = True

    def first_headers(self) -> Iterator[tuple[int, ImageHeader]]:
        """Yield each distinct header with the first index that has it, by index."""
        places, first = np.unique(self.headers, return_index=True)
        for place, index in sorted(zip(places.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
            if place >= 0:
                yield index, self.header_table.rows[place]

    def header(self, index: int) -> ImageHeader | None:
        """Return the header of a file; None if it is unknown."""
        place = int(self.headers[index])
        return None if place < 0 else self.header_table.rows[place]

    def without_header(self) -> list[int]:
        """Return the indices of unknown headers."""
        return list(map(int, np.flatnonzero(self.headers < 0)))


def without_path(image: Inspected) -> Inspected:
    """Return the facts that training uses, without the file."""
    return Inspected(path=_NOWHERE, **image_facts(image))


def header_facts(header: ImageHeader) -> dict[str, Any]:
    """Return a header as JSON values."""
    facts = {field.name: getattr(header, field.name) for field in fields(header)}
    return facts | {"carries": sorted(header.carries)}


def image_facts(image: Inspected) -> dict[str, Any]:
    """Return the facts about a decoded image as JSON values."""
    return {name: getattr(image, name) for name in IMAGE_FACTS}
