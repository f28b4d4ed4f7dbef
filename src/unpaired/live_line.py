"""The live line: the last line of a terminal, which is rewritten while something is in progress.

Whatever else this process prints in the meantime starts on a line of its own: the live line is erased first. Nothing is
shown unless `live_line_on` names a stream that is a terminal.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO, cast

from unpaired.launch import launched
from unpaired.storage import shown

Stream = Literal["stdout", "stderr"]

WIDTH = 80
"""Columns of a terminal that does not report its width."""

_ERASE = "\r\x1b[K"
_PATIENCE = 0.1  # seconds

_lock = threading.RLock()
_streams: list[Stream] = []  # those of `live_line_on`, the innermost last
_shown: list[TextIO] = []  # the stream of the line on the terminal; empty if there is none


@contextmanager
def live_line_on(stream: Stream) -> Iterator[None]:
    """Show live lines on this stream in the block, if it is a terminal; rank 0 only. The last one is erased at the end.

    On a terminal sys.stdout and sys.stderr are wrapped for the duration of the block.
    """
    before = sys.stdout, sys.stderr
    _streams.append(stream)
    if has_live_line():
        sys.stdout, sys.stderr = map(_guarded, before)
    wrapped = sys.stdout, sys.stderr
    try:
        yield
    finally:
        erase()
        _streams.pop()
        if (sys.stdout, sys.stderr) == wrapped:  # nobody has replaced them in the meantime
            sys.stdout, sys.stderr = before


def has_live_line() -> bool:
    """Return whether live lines are shown: in a block of `live_line_on`, on a terminal."""
    return bool(_streams) and launched().rank == 0 and _is_terminal(getattr(sys, _streams[-1]))


def rewrite(text: str) -> None:
    """Show a text as the live line, cut to the width of the terminal; does nothing without one."""
    with _lock:
        if not has_live_line():
            return
        stream = _inner(getattr(sys, _streams[-1]))
        cut = shown(text)[: columns() - 1]
        if _shown and _shown[0] is not stream:
            erase()
        _shown[:] = [stream]
        stream.write(f"{_ERASE}{cut}")
        stream.flush()


def erase() -> None:
    """Erase the live line, if one is shown."""
    if not _lock.acquire(timeout=_PATIENCE):  # a terminal that takes no more text; nothing depends on the line
        return
    try:
        if _shown:
            stream = _shown.pop()
            stream.write(_ERASE)
            stream.flush()
    finally:
        _lock.release()


def columns() -> int:
    """Return the width of the terminal of the live line."""
    try:
        stream = getattr(sys, _streams[-1]) if _streams else sys.stdout
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError, AttributeError):
        return WIDTH


class _Guarded:
    """A stream that erases the live line before it writes anything."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        erase()
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        erase()
        self.stream.writelines(lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _guarded(stream: TextIO) -> TextIO:
    own = isinstance(stream, _Guarded) or not _is_terminal(stream)
    return stream if own else cast(TextIO, _Guarded(stream))


def _inner(stream: TextIO) -> TextIO:
    return stream.stream if isinstance(stream, _Guarded) else stream


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()  # None without a console, as under pythonw
    except ValueError:  # closed
        return False
