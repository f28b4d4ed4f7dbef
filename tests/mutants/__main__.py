"""Plants each mistake in turn and runs the tests that must notice it: `python -m mutants` in tests/, `make mutants`.

Names given run these mutants alone. Nothing in the working tree is touched: a copy of it is taken first, so that it may
be edited meanwhile. Needs a system that forks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch  # takes long to import, so that it is done once: every run of tests is a fork of this process

from mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "tests", "docs", "examples", "pyproject.toml", "Makefile", "README.md", "CHANGELOG.md")
TIMEOUT = 600
SHOWN = 3000  # letters of the output of a run that went wrong
NO_BEHAVIOUR = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError")
"""Errors of a broken mutant, which are no evidence that a test checks the behaviour."""


@dataclass(frozen=True)
class Failure:
    """A test that failed, its phase ("setup", "call", "collection") and the kind of error."""

    test: str
    phase: str
    error: str


@dataclass(frozen=True)
class Outcome:
    """What became of a run of tests; code is pytest's, or -1 where it gave none."""

    code: int
    failures: tuple[Failure, ...] = ()
    num_passed: int = 0
    output: str = ""

    @property
    def verdict(self) -> str:
        """Killed where a test noticed, survived where none did, else invalid: an error outside of every test."""
        if self.code == 0:
            return "survived"
        return "killed" if self.code == 1 and self.noticed else "invalid"

    @property
    def noticed(self) -> list[Failure]:
        """The failures that are about behaviour."""
        return [one for one in self.failures if one.phase == "call" and one.error not in NO_BEHAVIOUR]


class Watch:
    """A pytest plugin that keeps what failed and counts what passed."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.num_passed = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Keep the kind of error of a test's phase."""
        report: Any = yield
        if report.failed and call.excinfo is not None:
            self.failures.append(Failure(item.nodeid.removeprefix("tests/"), report.when, call.excinfo.typename))
        self.num_passed += report.passed and report.when == "call"
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a test file that could not be read."""
        if report.failed:
            self.failures.append(Failure(report.nodeid.removeprefix("tests/"), "collection", "error"))


def run_here(project: Path, arguments: Sequence[str], answer: Connection, keep_bytecode: bool) -> None:
    """Run pytest in this process, a fork, on the copy in `project`; answers the outcome without its output."""
    log = os.open(project / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(project)
    source = project / "src"
    sys.path.insert(0, str(source))
    os.environ["PYTHONPATH"] = str(source)  # for the processes that tests start
    os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.gettempdir()  # not in memory: what failing tests leave adds up
    sys.dont_write_bytecode = not keep_bytecode
    import unpaired

    assert Path(unpaired.__file__).is_relative_to(source), f"{unpaired.__file__} is not the copy in {source}"
    watch = Watch()
    # Golden files are written anew on request, so noticing by them alone does not count.
    code = pytest.main(["-p", "no:cacheprovider", "--tb=short", "-k", "not golden", *arguments], plugins=[watch])
    answer.send(Outcome(int(code), tuple(watch.failures), watch.num_passed))


def run_in_fork(project: Path, arguments: Sequence[str], timeout: float, *, keep_bytecode: bool = False) -> Outcome:
    """Return the outcome of a run of pytest on the copy in `project`, with its output."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=run_here, args=(project, arguments, send, keep_bytecode))
    process.start()
    send.close()
    outcome = Outcome(-1)
    try:
        if receive.poll(timeout):
            outcome = receive.recv()
    except EOFError:
        pass
    process.kill()
    process.join()
    output = (project / "output.txt").read_text(encoding="utf-8", errors="replace")
    return Outcome(outcome.code, outcome.failures, outcome.num_passed, output)


def place_of(project: Path, mutant: Mutant) -> Path:
    """Return the file of the copy that a mutant is planted in."""
    return project / "src" / "unpaired" / mutant.file


def stale(project: Path, chosen: Sequence[Mutant]) -> list[str]:
    """Return a sentence for each mutant whose old text does not stand once in its file."""
    counts = {one: place_of(project, one).read_text(encoding="utf-8").count(one.old) for one in chosen}
    return [f"{one.name}: its old text stands {n} times in {one.file}." for one, n in counts.items() if n != 1]


@contextmanager
def planted(project: Path, mutant: Mutant) -> Iterator[None]:
    """Have a mutant in the copy for the body."""
    path = place_of(project, mutant)
    text = path.read_text(encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()  # Python checks only size and mtime in seconds
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def copy_project(folder: Path) -> None:
    """Copy the files that tests may read, without compiled ones."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)


def tests_of(mutant: Mutant) -> list[str]:
    """Return the arguments of pytest."""
    return [f"tests/{test}" for test in mutant.tests]


def plant_all(project: Path, chosen: Sequence[Mutant]) -> int:
    """Plant one mutant after the other and report its outcome; returns 0 if all were killed."""
    start = time.monotonic()
    every = sorted({test for mutant in chosen for test in tests_of(mutant)})
    clean = run_in_fork(project, every, 10 * TIMEOUT, keep_bytecode=True)
    if clean.code != 0:
        print(clean.output[-SHOWN:])
        print(f"Without a mutant {len(clean.failures)} of the tests fail; mend that first.")
        return 1
    print(f"Without a mutant {clean.num_passed} tests pass in {time.monotonic() - start:.0f} s.", flush=True)
    counts: Counter[str] = Counter()
    for mutant in chosen:
        began = time.monotonic()
        with planted(project, mutant):
            outcome = run_in_fork(project, ["-x", *tests_of(mutant)], TIMEOUT)
        counts[outcome.verdict] += 1
        by = ", ".join(f"{one.test} ({one.error})" for one in outcome.failures)
        print(f"{outcome.verdict:8} {mutant.name:40} {time.monotonic() - began:5.1f} s  {by}", flush=True)
        if outcome.verdict != "killed":
            print(f"         {mutant.effect}")
        if outcome.verdict == "invalid":
            print(outcome.output[-SHOWN:])
    processor = os.times().children_user + os.times().children_system
    print(
        f"{counts['killed']} of {len(chosen)} killed, {counts['survived']} survived, {counts['invalid']} invalid, "
        f"in {time.monotonic() - start:.0f} s ({processor:.0f} s of processor time)."
    )
    return int(counts["killed"] != len(chosen))


def main() -> int:
    """Return 0 where every mutant was killed."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants to plant; all of them when none is named")
    options = parser.parse_args()
    if unknown := set(options.names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    torch.set_num_threads(1)  # a fork cannot take over a pool of threads
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        project = Path(name).resolve()
        copy_project(project)
        if sentences := stale(project, chosen):
            print("\n".join(sentences))
            return 1
        return plant_all(project, chosen)


if __name__ == "__main__":
    sys.exit(main())
