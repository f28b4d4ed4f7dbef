"""Plants every mistake in turn and runs the tests that must notice it: `python -m mutants` in tests/, or `make mutants`.

Names given run these mutants alone; `--suite` runs all quick tests instead of the named ones. Nothing in the working
tree is touched: a copy of it is taken first, so that it may be edited meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401 - what takes long to import is imported once; every run of tests is a fork of this process
import pytest
import torch

from mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "tests", "docs", "examples", "pyproject.toml", "Makefile", "README.md", "CHANGELOG.md")
TIMEOUT = 300
NO_BEHAVIOUR = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "PytestUnraisableExceptionWarning")
"""Errors that say the mutant was badly made, and not that a test looked at what it does."""


class Watch:
    """A pytest plugin that keeps what failed: each test with its phase and the kind of error."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str, str]] = []
        self.passed = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: Any = yield
        if report.failed and call.excinfo is not None:
            self.failed.append((item.nodeid.removeprefix("tests/"), report.when, call.excinfo.typename))
        self.passed += report.passed and report.when == "call"
        return report


def run_tests(project: Path, arguments: Iterable[str], output: Path, answer: Connection, keep_bytecode: bool) -> None:
    """Run pytest in this forked process on the copy in `project`; answers (exit code, failures, number passed)."""
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(project)
    source = project / "src"
    sys.path[:0] = [str(source)]
    os.environ["PYTHONPATH"] = str(source)
    sys.dont_write_bytecode = not keep_bytecode
    import unpaired

    assert Path(unpaired.__file__).is_relative_to(source), f"{unpaired.__file__} is not the copy in {source}"
    watch = Watch()
    code = pytest.main(["-p", "no:cacheprovider", "--tb=short", "-k", "not golden", *arguments], plugins=[watch])
    answer.send((int(code), watch.failed, watch.passed))


def tested(project: Path, arguments: Iterable[str], keep_bytecode: bool = False) -> tuple[int, list[Any], int, str]:
    """Run pytest in a fork; returns its exit code (-1 for none), what failed, how many passed, and its output."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    output = project / "output.txt"
    process = context.Process(target=run_tests, args=(project, arguments, output, send, keep_bytecode))
    process.start()
    send.close()
    try:
        code, failed, passed = receive.recv() if receive.poll(TIMEOUT) else (-1, [("", "", "timeout")], 0)
    except EOFError:
        code, failed, passed = -1, [], 0
    process.kill()
    process.join()
    return code, failed, passed, output.read_text(encoding="utf-8", errors="replace")


@contextmanager
def planted(project: Path, mutant: Mutant) -> Iterator[None]:
    """Have a mutant in the copy for the body."""
    path = project / "src" / "unpaired" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: its old text stands {text.count(mutant.old)} times in {mutant.file}.")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()  # it is told from the source by size and second only
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def verdict(code: int, failed: list[Any]) -> tuple[str, str]:
    """Return killed, survived or invalid, and what by."""
    behaved = [(test, error) for test, when, error in failed if when == "call" and error not in NO_BEHAVIOUR]
    if code == 1 and behaved:
        return "killed", f"{behaved[0][0]} ({behaved[0][1]})"
    if code == 0:
        return "survived", ""
    return "invalid", ", ".join(f"{test} {when} {error}" for test, when, error in failed) or f"pytest left with {code}"


def copy_project(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)


def main() -> int:
    """Return 0 where every mutant was killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants to plant; all of them when none is named")
    parser.add_argument("--suite", action="store_true", help="run all quick tests but the golden ones, not the named")
    options = parser.parse_args()
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    torch.set_num_threads(1)  # a fork must not inherit a pool of threads
    start = time.monotonic()
    suite = ["tests", "--ignore=tests/test_golden.py"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        project = Path(name).resolve()
        copy_project(project)
        every = suite if options.suite else sorted({f"tests/{test}" for mutant in chosen for test in mutant.tests})
        code, failed, passed, output = tested(project, every, keep_bytecode=True)
        if code != 0:
            print(output)
            print(f"Without a mutant {len(failed)} of the tests fail; mend that first.")
            return 1
        print(f"Without a mutant {passed} tests pass in {time.monotonic() - start:.0f} s.", flush=True)
        counts = dict.fromkeys(("killed", "survived", "invalid"), 0)
        for mutant in chosen:
            began = time.monotonic()
            tests = suite if options.suite else [f"tests/{test}" for test in mutant.tests]
            with planted(project, mutant):
                code, failed, _, output = tested(project, ["-x", *tests])
            kind, by = verdict(code, failed)
            counts[kind] += 1
            print(f"{kind:8} {mutant.name:40} {time.monotonic() - began:5.1f} s  {by}", flush=True)
            if kind != "killed":
                print(f"         {mutant.effect}")
            if kind == "invalid":
                print(output[-3000:])
    seconds = time.monotonic() - start
    print(f"{counts['killed']} of {len(chosen)} killed, {counts['survived']} survived, {counts['invalid']} invalid, ", end="")
    print(f"in {seconds:.0f} s.")
    return 0 if counts["killed"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
