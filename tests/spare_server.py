"""The fork server of loader processes, which multiprocessing starts, without another import of torch.

`prepare` forks a process that waits. When multiprocessing starts its server, that process becomes it: a child of the
same parent, with the descriptors, the command and the life of the real one, but with torch imported. A test of the
server's own start or imports uses a process that has none prepared.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import util
from typing import Any

POSSIBLE = sys.platform == "linux" and hasattr(util, "spawnv_passfds")  # private

_COMMAND = "from multiprocessing.forkserver import main; "
_HIGH = 200  # above the descriptors that the server is given

_spares: list[tuple[int, socket.socket]] = []
_started: list[Callable[[str, Sequence[Any], Sequence[int]], int]] = []


def prepare(count: int = 1) -> None:
    """Fork processes for the next `count` servers of this process, which has one thread; later ones are real."""
    if not POSSIBLE:
        return
    for _ in range(count):
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():  # the thread of a test runner waits for messages and holds no lock
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            ours.close()
            _wait_and_become(theirs)
        theirs.close()
        _spares.append((pid, ours))
    if not _started:
        atexit.register(_close_unused)
        _started.append(util.spawnv_passfds)  # type: ignore[attr-defined]
        util.spawnv_passfds = _start  # type: ignore[attr-defined]


def _start(path: str, words: Sequence[Any], descriptors: Sequence[int]) -> int:
    """Return the process of a command that has been started, as multiprocessing.util.spawnv_passfds does."""
    command = words[-1]
    if not (_spares and isinstance(command, str) and command.startswith(_COMMAND)):
        return _started[0](path, words, descriptors)
    pid, control = _spares.pop(0)
    numbers = [0, 1, 2, *descriptors]
    with control:
        socket.send_fds(control, [json.dumps({"command": command, "descriptors": numbers}).encode()], numbers)
    return pid


def _close_unused() -> None:
    for _, unused in _spares:
        unused.close()
    _spares.clear()


def _wait_and_become(control: socket.socket) -> None:
    """Become the server when its command arrives; never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a spare that is not used ends with its parent
        _close_unused()
        message, received, _, _ = socket.recv_fds(control, 65536, 16)
        if message:
            request = json.loads(message)
            high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in received]
            for descriptor in [*received, control.detach()]:
                os.close(descriptor)
            for source, target in zip(high, request["descriptors"], strict=True):
                os.dup2(source, target)
                os.close(source)
            ctypes.CDLL(None).prctl(1, 0)  # the real server has set nothing before its first import
            sys.argv, sys.stdin, sys.stdout, sys.stderr = ["-c"], sys.__stdin__, sys.__stdout__, sys.__stderr__
            exec(compile(request["command"], "<string>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit:
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
