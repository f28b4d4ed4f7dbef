"""What becomes of a result once it is made: written at once, held back until all are known, or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from unpaired.images import Image
from unpaired.translate.jobs import Job

Fate = Literal["write", "hold", "drop"]
"""Write a result into its place, hold it back on disk, or drop it."""


class Sorter(Protocol):
    """Decides what becomes of results by their pixels; `translate_files` calls it, from one thread."""

    def fate(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> Fate:
        """Return what becomes of a result.

        given: the picture of the job, or its slices. made: the pixels that would be written, one image for each.
        """

    def hold(self, job: Job, data: bytes) -> None:
        """Keep the encoded bytes of a result whose fate is "hold", outside of memory."""

    def release(self) -> Iterable[tuple[Job, Path]]:
        """Return the held files that are written after all, in order, once every job is done or has failed."""

    def close(self) -> None:
        """Remove what is still held; called whatever happens."""
