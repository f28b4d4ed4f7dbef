"""A process forked by forked.py is the one that its command line would start."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import forked

forks = pytest.mark.skipif(not forked.POSSIBLE, reason="processes are not forked here")

STATE = """
import json, os, signal, sys, threading
streams = (sys.stdin, sys.stdout, sys.stderr)
spec = sys.modules["__main__"].__spec__
facts = {
    "name": __name__,
    "spec": spec and spec.name,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "argv": sys.argv[1:],
    "orig_argv": sys.orig_argv,
    "path": (sys.path[0], len(sys.path)),  # where $PYTHONPATH is relative, the folders differ
    "flags": str(sys.flags),
    "cwd": os.getcwd(),
    "environment": dict(os.environ),
    "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals()) if number not in (9, 19)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "streams": [(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.fileno()) for s in streams],
    "kept": [sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr],
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "threads": [thread.name for thread in threading.enumerate()],
    "group": (os.getpgrp(), os.getsid(0)),
    "umask": os.umask(0o22),
    "read": sys.stdin.read(),
}
print(json.dumps(facts))
"""
"""The state of a process at its start."""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def started(code: str) -> subprocess.Popen[str]:
    """Start a process and wait for its first line, "ready"."""
    process = forked.Popen(python(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert isinstance(process, forked.Forked)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@forks
@pytest.mark.parametrize("option", ["-c", "-m"])
def test_it_starts_in_the_state_of_a_real_process(tmp_path: Path, option: str) -> None:
    (tmp_path / "state.py").write_text(STATE)
    command = [sys.executable, option, STATE if option == "-c" else "state", "--word", "ä b", ""]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MINE": "1"}
    environment.pop("HOME", None)
    options: dict[str, Any] = {
        "input": "given",
        "capture_output": True,
        "text": True,
        "env": environment,
        "cwd": tmp_path,
    }
    assert forked.forkable(command, environment)
    real, fork = (json.loads(way.run(command, check=True, **options).stdout) for way in (subprocess, forked))
    assert fork == real
    assert (fork["read"], fork["environment"]["MINE"], fork["cwd"]) == ("given", "1", str(tmp_path.resolve()))


@forks
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('no')", 1),
        ("import os; os._exit(3)", 3),
        ("1 / 0", 1),
    ],
)
def test_it_ends_with_the_exit_code_of_a_real_process(code: str, expected: int) -> None:
    made = forked.run(python(code), capture_output=True, text=True)
    assert made.returncode == expected
    assert ("ZeroDivisionError" in made.stderr) == (code == "1 / 0")
    with pytest.raises(subprocess.CalledProcessError) if expected else nullcontext():
        forked.run(python(code), capture_output=True, check=True)


@forks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_a_signal_ends_it_as_it_ends_a_real_process(number: signal.Signals) -> None:
    with started("import time; print('ready', flush=True); time.sleep(60)") as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@forks
def test_what_it_registers_for_its_end_runs_and_what_it_printed_is_written() -> None:
    made = forked.run(
        python("import atexit; atexit.register(print, 'bye'); print('hi')"), capture_output=True, text=True
    )
    assert made.stdout == "hi\nbye\n"


@forks
def test_each_process_writes_into_its_own_pipes() -> None:
    code = "import sys; print('ready', flush=True); w = sys.stdin.read(); print(w); print('err', w, file=sys.stderr)"
    processes = []
    for _ in range(3):
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        processes.append(forked.Popen(python(code), text=True, **options))
    for number, process in reversed([*enumerate(processes)]):  # the last one started ends first
        out, err = process.communicate(str(number), timeout=60)
        assert (out, err, process.returncode) == (f"ready\n{number}\n", f"err {number}\n", 0)
    together = forked.run(python(code), input="", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert sorted(together.stdout.splitlines()) == ["", "err ", "ready"]
    options |= {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert forked.run(python(code), text=True, **options).stdout == "ready\n\n"


@forks
def test_nothing_of_one_process_reaches_the_next(tmp_path: Path) -> None:
    look = """
import os, random, signal, sys, torch, unpaired.version
print(getattr(unpaired.version, "mark", None), os.environ.get("MARK"), os.getcwd(), "/mark" in sys.path,
    signal.getsignal(signal.SIGTERM), torch.get_default_dtype(), torch.initial_seed(),
    sorted(os.listdir("/proc/self/fd")))
"""
    change = """
import os, signal, sys, torch, unpaired.version
unpaired.version.mark = os.environ["MARK"] = "left"
os.chdir("/")
sys.path.append("/mark")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
torch.set_default_dtype(torch.float64)
torch.manual_seed(5)
os.open("/dev/null", os.O_RDONLY)
"""
    before, after = (
        forked.run(python(code), capture_output=True, text=True, cwd=tmp_path, check=True).stdout
        for code in (look, change + look)
    )
    assert before != after
    assert forked.run(python(look), capture_output=True, text=True, cwd=tmp_path, check=True).stdout == before


@forks
def test_torch_is_there_already_and_each_process_is_another() -> None:
    code = "import os, sys; print('torch' in sys.modules, 'unpaired.runs.run' in sys.modules, os.getpid())"
    first, second = (forked.run(python(code), capture_output=True, text=True).stdout.split() for _ in range(2))
    assert first[:2] == second[:2] == ["True", "True"]
    assert len({first[2], second[2], str(os.getpid()), str(forked.server().process.pid)}) == 4


@forks
def test_one_that_takes_too_long_is_killed() -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired) as ended:
        forked.run(python(code), capture_output=True, timeout=1)
    if ended.value.stdout:
        with pytest.raises(ProcessLookupError):
            os.kill(int(ended.value.stdout), 0)


@forks
@pytest.mark.parametrize(
    "arguments", [["info", "nowhere"], ["train", "nowhere"], ["translate", "nowhere", "x.png"], ["--version"]]
)
def test_the_command_line_says_in_it_what_it_says_in_a_real_process(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "unpaired", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "70"}
    real, fork = (
        way.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path) for way in (subprocess, forked)
    )
    assert (fork.returncode, fork.stdout, fork.stderr) == (real.returncode, real.stdout, real.stderr)


@forks
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "PYTHONIOENCODING", "PYTHONHASHSEED", "LD_BIND_NOW"])
def test_what_is_read_as_a_process_starts_needs_a_real_one(variable: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert forked.forkable(python(""), environment)
    assert not forked.forkable(python(""), {**environment, variable: "3" if "IO" not in variable else "ascii"})
    assert not forked.forkable([sys.executable, "-X", "utf8", "-c", ""], environment)
    assert not forked.forkable(["sh", "-c", "true"], environment)


def test_elsewhere_the_process_is_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "POSSIBLE", False)
    process = forked.Popen(python("import sys; sys.exit('torch' in sys.modules)"))
    assert type(process) is subprocess.Popen
    assert process.wait(60) == 0
    assert forked.run(python("print(1)"), capture_output=True, text=True).stdout == "1\n"


@pytest.mark.parametrize("name", forked.PRELOADED)
def test_what_is_preloaded_exists(name: str) -> None:
    importlib.import_module(name)
