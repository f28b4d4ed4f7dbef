"""Progress on a terminal or in a log file: the sentences that the package logs, and a line for each reported step.

The package logs to the logger "unpaired" and prints nothing by itself. This module does not import torch, so that the
command line can use it earlier.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from rich.console import Console

from unpaired.launch import launched
from unpaired.storage import printable

if TYPE_CHECKING:
    from unpaired.training.progress import Progress

Stream = Literal["stdout", "stderr"]

_log = logging.getLogger("unpaired")


def print_sentence(sentence: str, stream: Stream = "stdout") -> None:
    """Print a sentence and flush; only on rank 0."""
    if launched().rank == 0:
        print(printable(sentence), file=_now(stream), flush=True)


class SentenceHandler(logging.Handler):
    """Prints the message of each record on a separate line, without level or time. Rank 0 only."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(logging.INFO)
        self._stream: Stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record (of a child logger: on standard error); raises the exceptions of `print`."""
        print_sentence(record.getMessage(), self._stream if record.name == _log.name else "stderr")


@contextmanager
def sentences_printed(stream: Stream = "stdout") -> Iterator[None]:
    """Print the package's log records in the block, from INFO on, and only on this stream."""
    before, level = [each for each in _log.handlers if isinstance(each, SentenceHandler)], _log.level
    handler = SentenceHandler(stream)
    _log.setLevel(logging.INFO)
    _exchange(before, [handler])
    try:
        yield
    finally:
        _exchange([handler], before)
        _log.setLevel(level)


def _exchange(old: Sequence[logging.Handler], new: Sequence[logging.Handler]) -> None:
    for each in old:
        _log.removeHandler(each)
    for each in new:
        _log.addHandler(each)


@contextmanager
def shown_by_default(
    listener: Callable[[Progress], None] | None, *, quiet: bool
) -> Iterator[Callable[[Progress], None]]:
    """Print sentences and progress lines on standard error in the block, unless the caller chose otherwise.

    `quiet` turns both off; a `listener` replaces the progress lines; a configured logger "unpaired" (or root) gets the
    sentences. Yields the listener to call.
    """
    if quiet or _log.hasHandlers():
        yield listener or _ignore
        return
    with sentences_printed("stderr"):
        yield listener or ProgressLines("stderr")


class ProgressLines:
    """Prints logged steps: on a terminal one line that is updated, in a log file a line every ten seconds.

    The first and the last step are always printed, and on a terminal one line a minute is kept.
    """

    def __init__(self, stream: Stream = "stdout") -> None:
        self._stream: Stream = stream
        self._terminal = _now(stream).isatty()
        self._spacing = 60.0 if self._terminal else 10.0
        self._kept = -self._spacing

    def __call__(self, progress: Progress) -> None:
        """Print a step, if enough time has passed."""
        keep = progress.seconds - self._kept >= self._spacing or progress.step == progress.num_steps
        if keep:
            self._kept = progress.seconds
        elif not self._terminal:
            return
        losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        line = (
            f"step {progress.step:{len(str(progress.num_steps))}d}/{progress.num_steps}  epoch {progress.epoch}  "
            f"{progress.images_per_second:.1f} images/s  {duration(progress.seconds_left)} left  {losses}"
        )
        stream = _now(self._stream)
        if self._terminal:
            clear = "\r\x1b[K"
            line = clear + (line if keep else line[: Console(file=stream).width - 1])
        print(line, end="\n" if keep else "", file=stream, flush=True)


def duration(seconds: float) -> str:
    """Return a duration in words: 45 s, 12:05 min, 3:20 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


def _now(name: Stream) -> TextIO:
    """Return the present stream, since notebooks and tests replace it."""
    return sys.stdout if name == "stdout" else sys.stderr


def _ignore(progress: Progress) -> None:
    pass
