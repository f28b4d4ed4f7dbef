"""Progress of loops over many images: a live line on a terminal, elsewhere a log line every 30 seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from unpaired.live_line import erase, has_live_line, rewrite
from unpaired.words import counted, duration

SPACING = 30.0
"""Seconds between two log lines."""

REFRESH = 0.2
"""Least seconds between two versions of the live line."""

_log = logging.getLogger("unpaired")


class Headway:
    """Shows how many images a loop has finished: as the live line of a terminal, which is erased at the end.

    Without a live line it logs at most every 30 seconds, so nothing if the loop is fast.

    doing: the beginning of the sentence, such as "Translating AtoB". total: the number of images, None if unknown.
    noun: what is counted, in the singular. done: how many are finished already.
    """

    def __init__(self, doing: str, total: int | None = None, noun: str = "image", done: int = 0) -> None:
        self._doing, self._total, self._noun, self._done, self._first = doing, total, noun, done, done
        self._start = self._logged = self._shown = time.monotonic()
        self._show()

    def advance(self, count: int = 1) -> None:
        """Count finished images."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """Set the number of finished images."""
        self._done = done
        now = time.monotonic()
        if self._done == self._total:
            erase()
        elif has_live_line():
            if now - self._shown >= REFRESH:
                self._shown = now
                self._show()
        elif now - self._logged >= SPACING:
            self._logged = now
            _log.info(f"{self._doing}: {self._number()}.")

    def _show(self) -> None:
        if self._done != self._total:
            rewrite(f"{self._doing}: {self._number()}{self._left()}")

    def _number(self) -> str:
        if self._total is None:
            return counted(self._done, self._noun)
        return f"{self._done:,} of {counted(self._total, self._noun)}"

    def _left(self) -> str:
        """Return the time left by the mean speed so far, "" if it is unknown or below a second."""
        if self._total is None or self._done == self._first:
            return ""
        seconds = (time.monotonic() - self._start) / (self._done - self._first) * (self._total - self._done)
        return f", {duration(seconds)} left" if seconds >= 1 else ""


def followed(doing: str, noun: str = "image") -> Callable[[int, int], None]:
    """Return a listener that shows the finished and all of something, for functions that take one."""
    made: list[Headway] = []

    def listener(done: int, total: int) -> None:
        if not made:
            made.append(Headway(doing, total, noun))
        made[0].reach(done)

    return listener
