"""Python processes that need not import torch: a server that has imported it and `unpaired` forks them.

`run` and `Popen` take the command line of a real process and stand in for those of `subprocess`. They start a real
process if a fork would not be the same one: without fork (Windows) or if system frameworks do not survive it (macOS),
for commands other than `python -m` and `python -c`, and if the environment differs in a variable that is read when
Python or torch starts.

A test of start-up, imports, memory, tracing or options of the interpreter uses subprocess itself.
The verbs that such tests leave out have a real process in test_forked.py.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

import spare_server

Word = str | os.PathLike[str]

PRELOADED = ("unpaired.cli.commands", "unpaired.runs.run", "unpaired.runs.verify", "unpaired.evaluation.evaluating")
"""Between them they import torch and nearly all of `unpaired`; importing them has no other effect."""

READ_AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "PYTORCH", "CUDA", "LD_", "MALLOC_")
"""Prefixes of environment variables that a process reads only once, at or before the import of torch."""

POSSIBLE = sys.platform == "linux" and all(
    hasattr(subprocess.Popen, name) for name in ("_execute_child", "_internal_poll", "_try_wait", "_close_pipe_fds")
)

_NUMBER = 8  # bytes of a number: the length of a request, a process, how it ended


# --- the side of the tests -------------------------------------------------------------------------


class Server:
    """The server of this process and the socket for requests."""

    def __init__(self) -> None:
        self.env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.socket, theirs = socket.socketpair()
        with theirs:
            line = [sys.executable, __file__, str(theirs.fileno())]
            self.process = subprocess.Popen(line, env=self.env, pass_fds=[theirs.fileno()])
        atexit.register(self.stop)

    def stop(self) -> None:
        self.socket.close()
        self.process.wait()

    def fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> socket.socket:
        """Request a process; returns the socket that receives its number and, when it ends, its wait status."""
        message = json.dumps(request).encode()
        ours, theirs = socket.socketpair()
        with theirs:
            length = len(message).to_bytes(_NUMBER, "big")
            socket.send_fds(self.socket, [length], [*descriptors, theirs.fileno()])
            self.socket.sendall(message)
        return ours


@cache
def server() -> Server:
    return Server()


def received(status: socket.socket) -> int:
    """Return the next number from the server."""
    number = status.recv(_NUMBER, socket.MSG_WAITALL)
    assert len(number) == _NUMBER, "the server of forked.py has ended"
    return int.from_bytes(number, "big")


def forkable(command: Sequence[Word], env: Mapping[str, str] | None = None) -> bool:
    """Whether a fork of the server is the process that `command` starts."""
    if not POSSIBLE or len(command) < 3 or command[0] != sys.executable or command[1] not in ("-m", "-c"):
        return False
    wanted, given = dict(os.environ if env is None else env), server().env
    names = {name for name in wanted.keys() | given.keys() if name.startswith(READ_AT_START)}
    return all(wanted.get(name) == given.get(name) for name in names)


class Forked(subprocess.Popen[Any]):
    """A process that is no child of this one; the server reports its end.

    What is overridden is private to subprocess, see POSSIBLE.

    loaders: the process will start loader processes, and their server is a fork as well (spare_server.py).
    """

    def __init__(self, command: Sequence[Word], *, loaders: bool = False, **options: Any) -> None:
        self._loaders = loaders
        super().__init__(command, **options)

    def _execute_child(self, args: Sequence[Word], *rest: Any) -> None:
        cwd, env, pipes = rest[4], rest[5], rest[9:15]
        own = [end if end != -1 else standard for standard, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        request = {
            "command": [os.fspath(word) for word in args[1:]],
            "env": dict(os.environ if env is None else env),
            "cwd": str(Path(cwd or "").absolute()),
            "loaders": self._loaders,
        }
        try:
            self._status = server().fork(request, own)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self.pid = received(self._status)
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        with self._status:
            return self.pid, received(self._status)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def Popen(command: Sequence[Word], **options: Any) -> subprocess.Popen[Any]:  # noqa: N802
    """Return what subprocess.Popen returns; options: stdin, stdout, stderr, text, env and cwd, loaders of `Forked`."""
    if forkable(command, options.get("env")):
        return Forked(command, **options)
    options.pop("loaders", None)
    return subprocess.Popen(command, **options)


def run(
    command: Sequence[Word],
    *,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Do what subprocess.run does."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given = options.pop("input", None)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            out, err = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def end_multiprocessing_server() -> None:
    """End multiprocessing's own fork server, if it runs; the next one imports the current preload list."""
    with suppress(AttributeError):  # private
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


# --- the server ------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request. Returns the request in each of them, and never in the server."""
    while True:
        length, descriptors, _, _ = socket.recv_fds(requests, _NUMBER, 4)
        if not length:  # the tests are over
            os._exit(0)
        request = json.loads(requests.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
        if not os.fork():  # one process for each, which does nothing but wait for it
            requests.close()
            keep(descriptors)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def keep(descriptors: list[int]) -> None:
    """Fork again; returns in the new process, while this one reports its number and its end."""
    *standard, status = descriptors
    pid = os.fork()
    if pid:
        for descriptor in (0, 1, 2, *standard):  # else a pipe would not end with the process
            with suppress(OSError):
                os.close(descriptor)
        os.write(status, pid.to_bytes(_NUMBER, "big"))
        ended = os.waitpid(pid, 0)[1]
        with suppress(BrokenPipeError):
            os.write(status, ended.to_bytes(_NUMBER, "big"))
        os._exit(0)
    os.close(status)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    for descriptor in {*standard} - {0, 1, 2}:
        os.close(descriptor)


def become(request: dict[str, Any]) -> None:
    """Be the process of the request, as Python has made it when its first line runs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before, mode = getattr(sys, name), "w" if number else "r"
        through = before.write_through  # $PYTHONUNBUFFERED
        binary: Any = open(number, f"{mode}b", 0 if through and number else -1, closefd=False)  # noqa: SIM115
        getattr(binary, "raw", binary).name = f"<{name}>"
        lines = not through and (name == "stderr" or os.isatty(number))
        stream: Any = io.TextIOWrapper(binary, before.encoding, before.errors, None, lines, through)
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if request["loaders"]:
        spare_server.prepare()
    option, word, *rest = request["command"]
    sys.orig_argv = [sys.executable, *request["command"]]
    if option == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = [word, *rest]
        runpy.run_module(word, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = ""
        sys.argv = ["-c", *rest]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(word, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the tests, which end this by closing the socket
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # memory that a collection does not touch stays shared
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
