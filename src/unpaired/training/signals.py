"""Signal handling: the first Ctrl-C or SIGTERM stops training after the current step, the second exits immediately."""

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

from unpaired.live_line import erase

GRACE = 0.5
"""Seconds that a process has to clean up after a second signal before it is ended."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_finishing = threading.Event()  # set while a first signal stops training after the current step


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Catch the first SIGINT or SIGTERM in the block; yield a function that returns its number, or 0.

    The previous handlers are restored after the first signal, so that a second Ctrl-C stops as soon as Python code
    runs. Outside the main thread signals are left alone.
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
    """End the process soon after a second SIGINT or SIGTERM in the block, with exit code 128 + the number.

    A Python handler waits for the current call, and a call of torch can take minutes. The interpreter writes each
    signal to a socket at once, which a thread reads. After `GRACE` seconds for the handlers the process ends without
    cleaning up; the files are then as after a kill. At the first signal during training the thread calls `remark` with
    a sentence about a second one. Not for notebooks, which would end.
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
        # After a first signal another one may come while the interpreter shuts down, without a handler for it.
        handlers = {number: signal.signal(number, _leave) for number in _NUMBERS}
        signal.set_wakeup_fd(before)
        noted.close()
        watch.join()
        if first.is_set():
            _exit_with_code(sys.exc_info()[1])
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _exit_with_code(error: BaseException | None) -> None:
    """Exit with the code of a SystemExit, but skip the end of the interpreter, in which a signal has no handler."""
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
            # Also while Python handlers clean up, which may take long: the block waits for this thread.
            time.sleep(GRACE)
            erase()
            os._exit(128 + signum)


def _next(arrivals: socket.socket) -> int:
    """Return the number of the next SIGINT or SIGTERM; 0 at the end."""
    while byte := arrivals.recv(1):
        if byte[0] in _NUMBERS:
            return byte[0]
    return 0
