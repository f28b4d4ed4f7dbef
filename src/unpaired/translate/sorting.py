"""The fate of a result: written at once, held back until all results are known, or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from unpaired.images import Image
from unpaired.translate.jobs import Job

Fate = Literal["write", "hold", "drop"]
"""Write a result to its target, hold it back on disk, or drop it."""


class Sorter(Protocol):
    """Decides the fate of results from their pixels; called by `translate_files` from one thread."""

    def fate(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> Fate:
        """Return the fate of a result.

        Args:
            job: the job.
            given: its input picture, or the slices of its stack.
            made: the pixels to be written, one image for each input.
        """

    def hold(self, job: Job, data: bytes) -> None:
        """Keep the encoded bytes of a result with the fate "hold", outside of memory."""

    def release(self) -> Iterable[tuple[Job, Path]]:
        """Return the held files to be written, in order, once every job is done or has failed."""

    def close(self) -> None:
        """Remove the remaining held files; always called, even after an error."""
