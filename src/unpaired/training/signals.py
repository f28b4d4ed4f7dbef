"""Ctrl-C and SIGTERM: a first one as a wish to stop after the step at hand, a second one as an order."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

GRACE = 0.5
"""Seconds that a process has to clear up after a second signal, until it is ended."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_finishing = threading.Event()  # a first signal is a wish at present


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; the body asks with the function it is given.

    The function returns the signal's number, or 0. After the first signal the handlers that were there before are
    back, so a second Ctrl-C stops as soon as Python has its turn. Outside the main thread signals are left alone.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before: dict[int, Any] = {}

    def note(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _NUMBERS:
        before[number] = signal.signal(number, note)
    _finishing.set()
    try:
        yield lambda: received[0] if received else 0
    finally:
        _finishing.clear()
        restore()


@contextmanager
def second_signal_ends(remark: Callable[[str], None]) -> Iterator[None]:
    """End the process soon after a second SIGINT or SIGTERM in the body, whatever it is doing, with 128 + the number.

    A handler written in Python waits for the call at hand, and one of torch can take minutes. The interpreter writes
    down at once, though, that a signal has come, and a thread reads that. After `GRACE` seconds in which handlers could
    do better the process ends without clearing up: what is on the disk is as after a kill. The thread calls
    `remark` at the first signal, while training, with a sentence about a second. Not for notebooks, which would end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrivals, noted = socket.socketpair()
    noted.setblocking(False)
    before = signal.set_wakeup_fd(noted.fileno(), warn_on_full_buffer=False)
    first = threading.Event()
    watch = threading.Thread(target=_watch, args=(arrivals, remark, first), daemon=True)
    watch.start()
    try:
        yield
    finally:
        # After a first signal another one may find the interpreter clearing up, where nothing turns it into a sentence.
        handlers = {number: signal.signal(number, _leave) for number in _NUMBERS}
        signal.set_wakeup_fd(before)
        noted.close()
        watch.join()
        if first.is_set():
            _exit_with_code(sys.exc_info()[1])
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _exit_with_code(error: BaseException | None) -> None:
    """Exit as a SystemExit says, but for the interpreter's very end, in which a signal finds no handler any more."""
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it
                stream.flush()
        atexit._run_exitfuncs()
        os._exit(error.code)


def _leave(signum: int, _frame: FrameType | None) -> None:
    os._exit(128 + signum)


def _watch(arrivals: socket.socket, remark: Callable[[str], None], first: threading.Event) -> None:
    """Count the signals that arrive until the other end is closed; `first` is set by the first one."""
    with arrivals:
        if _next(arrivals):
            first.set()
        if first.is_set() and _finishing.is_set():
            with suppress(OSError, ValueError):  # nobody reads it
                remark("Stopping when this step is done and saved; a second Ctrl-C leaves at once, without saving.")
        signum = _next(arrivals)
        if signum:
            # Also where Python had its turn and clears up, which may take long: the body waits for this thread.
            time.sleep(GRACE)
            os._exit(128 + signum)


def _next(arrivals: socket.socket) -> int:
    """Return the number of the next signal that stops; 0 at the end."""
    while byte := arrivals.recv(1):
        if byte[0] in _NUMBERS:
            return byte[0]
    return 0
