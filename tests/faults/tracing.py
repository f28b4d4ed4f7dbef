"""strace around a process that runs already: lists its system calls, or lets one of them fail or kill."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<name>\w+)\((?P<arguments>.*)$")

CHANGING = (
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat"),
    *("unlink", "unlinkat", "rmdir", "ftruncate", "truncate", "close"),
)
"""The calls that change files, or whose failure means a lost change."""

LOOKING = ("newfstatat", "stat", "fstat", "lstat", "statfs", "read", "lseek", "getdents64", "ioctl", "flock", "statx")
"""The other calls that a save makes on files."""


@dataclass(frozen=True)
class Call:
    """One system call: `number` counts those of its name, from 1. text: as strace wrote it, with paths."""

    name: str
    number: int
    text: str


def available() -> bool:
    """Whether strace is installed and allowed to trace here."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def attach(pid: int, log: Path, inject: str = "", calls: Sequence[str] = (*CHANGING, *LOOKING)) -> subprocess.Popen:
    """Trace a process; `inject` is strace's expression, such as "fsync:error=EIO:when=3". Returns when it is traced."""
    options = ["-e", f"inject={inject}"] if inject else []
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "200", "-o", str(log), "-e", f"trace={','.join(calls)}", *options, "-p", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while f"TracerPid:\t{tracer.pid}" not in Path(f"/proc/{pid}/status").read_text():
        assert tracer.poll() is None, "strace has left"
        assert time.monotonic() < deadline, "strace does not attach"
        time.sleep(0.002)
    return tracer


def calls_in(log: Path, pid: int, below: Path) -> list[Call]:
    """Return the traced calls of a process that name a path below a folder, in order."""
    seen: Counter[str] = Counter()
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or int(match["pid"]) != pid:
            continue
        seen[match["name"]] += 1
        if str(below) in match["arguments"]:
            calls.append(Call(match["name"], seen[match["name"]], f"{match['name']}({match['arguments']}"))
    return calls


def trace(function: Callable[[], object], log: Path, below: Path, inject: str = "") -> tuple[int, list[Call]]:
    """Run a function in a forked process under strace; return its exit code and its calls below a folder.

    The code is 0, 1 after an exception, or the negative of the signal's number that ended it.
    """
    waiting, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.read(waiting, 1)
            function()
            code = 0
        finally:
            os._exit(code)
    tracer = attach(pid, log, inject)
    os.write(go, b"!")
    _, status = os.waitpid(pid, 0)
    tracer.wait(30)
    os.close(waiting)
    os.close(go)
    return os.waitstatus_to_exitcode(status), calls_in(log, pid, below)
