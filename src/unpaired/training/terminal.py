"""Progress on a terminal or in a log file: the sentences that the package logs, the live line, lines for steps.

The package logs to the logger "unpaired" and prints nothing by itself. This module does not import torch, so that the
command line can use it earlier.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from unpaired.launch import launched
from unpaired.live_line import Stream, columns, has_live_line, live_line_on, rewrite
from unpaired.storage import printable
from unpaired.words import duration

if TYPE_CHECKING:
    from unpaired.training.pace import StepPace
    from unpaired.training.progress import Progress

_log = logging.getLogger("unpaired")

_LOG_SPACING = 10.0  # seconds between two lines of logged steps in a log file
_SPACING = 60.0  # and between two of others, or between two lines that are kept on a terminal


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
    """Print the package's log records in the block, from INFO on, and only on this stream; live lines go there too."""
    before, level = [each for each in _log.handlers if isinstance(each, SentenceHandler)], _log.level
    handler = SentenceHandler(stream)
    _log.setLevel(logging.INFO)
    _exchange(before, [handler])
    try:
        with live_line_on(stream):
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
    """Prints steps: on a terminal the live line, of which one a minute is kept; elsewhere a line every ten seconds.

    `pace` is for `unpaired.training.pace.Pace`; `__call__` is for logged steps, which a terminal does not need. In a
    log file logged steps are printed, and others if a minute has passed without one. The first step of the process and
    the last of the run are always printed.
    """

    def __init__(self, stream: Stream = "stdout") -> None:
        self._stream: Stream = stream
        self._printed, self._step = 0.0, -1

    def __call__(self, progress: Progress) -> None:
        """Print a logged step to a log file, if enough time has passed."""
        due = self._step < 0 or progress.seconds - self._printed >= _LOG_SPACING
        if not has_live_line() and (due or progress.step == progress.num_steps):
            self._print(log_line(progress), progress)

    def pace(self, pace: StepPace) -> None:
        """Show a step on a terminal; print it to a log file if none was printed for a minute."""
        due = pace.seconds - self._printed >= _SPACING
        if not has_live_line():
            if pace.first or (due and pace.losses):
                self._print(log_line(pace), pace)
        elif due or pace.last:
            self._print(live_line(pace, columns() - 1), pace)
        else:
            rewrite(live_line(pace, columns() - 1))

    def _print(self, line: str, step: Progress | StepPace) -> None:
        if step.step != self._step:
            self._printed, self._step = step.seconds, step.step
            print(line, file=_now(self._stream), flush=True)


def log_line(step: Progress | StepPace) -> str:
    """Return step, epoch, speed, time left and all losses."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
    return (
        f"{_place(step)}  epoch {step.epoch}  {step.images_per_second or 0:.1f} images/s  "
        f"{duration(step.seconds_left or 0)} left  {losses}"
    )


def live_line(pace: StepPace, width: int) -> str:
    """Return step, speed, time left and losses in at most `width` columns; the last parts are left out if need be.

    The names of losses are shortened, and the two domains of a loss averaged.
    """
    line = _place(pace)
    parts = []
    if pace.steps_per_second is not None and pace.seconds_left is not None:
        parts = [_speed(pace.steps_per_second), f"{duration(pace.seconds_left)} left"]
    for part in [*(f"  {part}" for part in parts), " ", *(f" {loss}" for loss in _short(pace.losses))]:
        if len(line) + len(part) > width:
            break
        line += part
    return line.rstrip()[:width]


def _place(step: Progress | StepPace) -> str:
    return f"step {step.step:{len(str(step.num_steps))}d}/{step.num_steps}"


def _speed(steps_per_second: float) -> str:
    """Return a speed as tools of the field do: 5.1 steps/s, and 2.1 s/step if it is slower than one."""
    return f"{steps_per_second:.1f} steps/s" if steps_per_second >= 1 else f"{1 / steps_per_second:.1f} s/step"


def _short(losses: Mapping[str, float]) -> list[str]:
    """Return losses as "cyc 1.90": shortened to three letters, or more to differ; the mean of cycle_a and cycle_b."""
    families: dict[str, list[float]] = {}
    for name, value in losses.items():
        families.setdefault(name[:-2] if name.endswith(("_a", "_b")) else name, []).append(value)
    short = {}
    for name in families:
        length = 3
        while any(other != name and other[:length] == name[:length] for other in families) and length < len(name):
            length += 1
        short[name] = name[:length]
    return [f"{short[name]} {sum(values) / len(values):.2f}" for name, values in families.items()]


def _now(name: Stream) -> TextIO:
    """Return the present stream, since notebooks and tests replace it."""
    return sys.stdout if name == "stdout" else sys.stderr


def _ignore(progress: Progress) -> None:
    pass
