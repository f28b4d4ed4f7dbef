"""Progress of loops that are usually fast, logged only if they are slow."""

from __future__ import annotations

import logging
import time

from unpaired.words import counted

SPACING = 30.0
"""Seconds between two lines."""

_log = logging.getLogger("unpaired")


class Headway:
    """Logs how many images a loop has finished, at most every 30 seconds; nothing if the loop is fast.

    doing: the beginning of the sentence, such as "Translating AtoB". total: the number of images, None if unknown.
    """

    def __init__(self, doing: str, total: int | None = None) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._logged = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count finished images."""
        self._done += count
        now = time.monotonic()
        if now - self._logged < SPACING or self._done == self._total:
            return
        self._logged = now
        number = counted(self._done, "image") if self._total is None else f"{self._done:,} of {self._total:,} images"
        _log.info(f"{self._doing}: {number}.")
