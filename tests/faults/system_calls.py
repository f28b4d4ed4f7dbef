"""Kills a training, or lets the disk fail it, at every system call of a save: `python -m faults.system_calls`.

A run of six steps has checkpoints of steps 4 and 5 and saves its last one: log line, sample grid, report, checkpoint,
removal of an old one, model folder. strace lists every system call of that which touches the run folder. Then, for
each of them, the same save starts again from a copy of the folder and is killed as it makes this call, or the call
fails with EIO or ENOSPC. What is on the disk then is looked at, and the same command is run again without a fault.
The scenario `start` does the same to a run's first two steps, from an empty folder on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image

from faults.toy import METHODS, Trainer, command, draw_data, toy_config
from faults.tracing import CHANGING, Call, attach, available, calls_in
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.artifacts.recorder import RunRecorder
from unpaired.artifacts.run_folder import RunFolder
from unpaired.errors import Interrupted
from unpaired.models.model_folder import read_model
from unpaired.runs import info
from unpaired.runs import train as train_run
from unpaired.runs.verify import verify
from unpaired.training.progress import Progress
from unpaired.training.state import TrainingState

SCENARIOS = ("save", "start")
FAULTS = ("KILL", "EIO", "ENOSPC")
STEPS = {"save": 6, "start": 2}
UNFINISHED = (".tmp-", ".unpaired-", ".old-", ".trash-", ".model.")


@dataclass
class Case:
    """A scenario: the initial folder, the command, and the expected content of each checkpoint.

    calls: those of an undisturbed run, once they were traced.
    """

    scenario: str
    method: str
    work: Path
    base: Path
    expected: dict[int, str]
    losses: list[Any]
    config: Any
    calls: list[Call] = field(default_factory=list)


@dataclass
class Result:
    """How a case went: each problem is a sentence that names the call."""

    tried: int = 0
    refused: int = 0
    harmless: int = 0
    problems: list[str] = field(default_factory=list)


def prepare(work: Path, scenario: str, method: str) -> Case:
    """Train the run that is never interrupted, and the folder that every trial begins with."""
    data = draw_data(work / "data", method)
    steps = STEPS[scenario]
    config = toy_config(data, method, steps=steps, every=1)
    expected: dict[int, str] = {}
    whole = work / "whole"

    checkpoint = RunRecorder.checkpoint

    def note(recorder: RunRecorder, state: TrainingState) -> None:
        expected[state.step] = state.sha256()
        checkpoint(recorder, state)

    RunRecorder.checkpoint = note  # type: ignore[method-assign]
    try:
        train_run(config, out=whole)
    finally:
        RunRecorder.checkpoint = checkpoint  # type: ignore[method-assign]
    assert expected[steps] == info(whole).state_sha256
    base = work / "base"
    if scenario == "save":

        def stop(progress: Progress) -> None:
            if progress.step == steps - 1:
                os.kill(os.getpid(), signal.SIGTERM)

        with contextlib.suppress(Interrupted):
            train_run(config, out=base, listener=stop)
        assert [path.name for path in list_checkpoints(base / "checkpoints")] == ["step-00000005", "step-00000004"]
    return Case(scenario, method, work, base, expected, losses(whole), config)


def losses(run: Path) -> list[Any]:
    """Return the log records of every step, without times."""
    return [(record["step"], record["losses"]) for record in RunFolder(run).records()]


def traced(case: Case, run: Path, inject: str = "") -> tuple[Trainer, list[Call], int]:
    """Run the command in a copy of the starting folder under strace; return trainer, calls and exit code."""
    shutil.rmtree(run, ignore_errors=True)
    if case.base.exists():
        shutil.copytree(case.base, run)
    asking, ready = os.pipe()
    waiting, go = os.pipe()

    owner, name = (RunFolder, "lock") if case.scenario == "start" else (RunRecorder, "progress")
    function = getattr(owner, name)

    def paused(*arguments: Any) -> Any:
        if not reported:
            reported.append(True)
            os.write(ready, b"?")
            os.read(waiting, 1)
        return function(*arguments)

    reported: list[bool] = []

    def before() -> None:
        setattr(owner, name, paused)
        ThreadPoolExecutor.submit = at_once  # type: ignore[assignment, method-assign]

    trainer = Trainer(command(case.config, run), case.work / "trainer.out", before)
    os.read(asking, 1)
    log = case.work / "strace.log"
    tracer = attach(trainer.pid, log, inject)
    os.write(go, b"!")
    code = trainer.wait()
    tracer.wait(30)
    for descriptor in (asking, ready, waiting, go):
        os.close(descriptor)
    return trainer, calls_in(log, trainer.pid, run), code


def at_once(pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
    """Run the tasks of a pool at once, in this thread, so that the calls come in the same order each time."""
    done = Future[Any]()
    try:
        done.set_result(function(*arguments, **named))
    except Exception as error:
        done.set_exception(error)
    return done


def matters(call: Call, fault: str, written: set[str]) -> bool:
    """Return whether a fault at a call can make a difference: a kill at one that changes nothing equals a kill at the
    next.

    written: the files opened for writing, according to strace. An error in closing any other file is harmless.
    """
    creates = call.name != "openat" or "O_CREAT" in call.text
    if call.name == "close":
        return fault == "EIO" and any(f"<{path}>" in call.text for path in written)
    if fault == "EIO":
        return call.name in CHANGING
    if fault == "ENOSPC":
        return call.name in ("openat", "write", "fsync", "rename", "mkdir") and creates
    return call.name in CHANGING and creates


def same(first: str, second: str) -> bool:
    """Whether two lines of strace are of the same call, whatever the random parts of names."""
    one, other = (
        re.findall(r"(/run/[^\s\">]*)|^(\w+)", re.sub(r"[0-9a-f]{8,}", "#", line)) for line in (first, second)
    )
    return one[:2] == other[:2]


def try_fault(case: Case, call: Call, fault: str) -> Iterator[str]:
    """Yield each fault after `fault` hit a call, as a sentence; yields "refused" or "harmless" too."""
    run = case.work / "run"
    action = "signal=KILL" if fault == "KILL" else f"error={fault}"
    trainer, _, code = traced(case, run, f"{call.name}:{action}:when={call.number}")
    log = [
        line
        for line in (case.work / "strace.log").read_text(errors="replace").splitlines()
        if line.startswith(f"{trainer.pid} ")
    ]
    hit = [line.split(None, 1)[1] for line in log if fault == "KILL" and f" {call.name}(" in line]
    hit = (
        hit[call.number - 1 :] if fault == "KILL" else [line.split(None, 1)[1] for line in log if "(INJECTED)" in line]
    )
    if len(hit) != 1 or not same(hit[0], call.text):
        yield f"another call was hit: {hit[:1]}"
    if fault == "KILL":
        if code != -signal.SIGKILL:
            yield f"the process was not killed: {code}"
    else:
        reads = call.name == "openat" and "O_CREAT" not in call.text
        yield from after_error(run, trainer, code, (65, 73, 74, 78) if reads else (73, 74))
        if code == 0:
            yield from finished(case, run, tidy=False)
    yield from on_disk(case, run)
    again = Trainer(command(case.config, run), case.work / "again.out")
    if again.wait() != 0:
        yield f"the same command failed afterwards: {again.printed()}"
        return
    yield from finished(case, run)


def after_error(run: Path, trainer: Trainer, code: int, allowed: tuple[int, ...]) -> Iterator[str]:
    """Yield the faults of an error message, or "harmless" if the process succeeded."""
    said = [line for line in trainer.printed().splitlines() if line.startswith("unpaired: ")]
    left = [path.name for path in run.rglob(".*") if path.name.startswith((".tmp-", ".unpaired-", ".model.new"))]
    if left:
        yield f"left behind {left}"
    if code == 0:
        yield "harmless"
        return
    yield "refused"
    if code not in allowed or len(said) != 1 or "Traceback" in trainer.printed():
        yield f"exit code {code}: {trainer.printed()}"
    elif str(run) not in said[0]:
        yield f"no path in: {said[0]}"


def on_disk(case: Case, run: Path) -> Iterator[str]:
    """Yield the damaged parts of a folder after a fault."""
    if not run.exists():
        return
    found = list_checkpoints(run / "checkpoints")
    if case.scenario == "save" and len(found) < 2:
        yield f"{len(found)} checkpoints are left"
    for path in found:
        if load_checkpoint(path).state_sha256 != case.expected[int(path.name[5:])]:
            yield f"{path.name} holds another state"
    if (run / "config.yaml").exists() and (run / "data.json").exists():
        yield from (f"verify: {finding.problem}" for finding in verify(run) if finding.problem)
    if case.scenario == "save":
        read_model(run)
    report = run / "report.html"
    if report.exists() and not report.read_text().rstrip().endswith("</html>"):
        yield "report.html is cut off"
    for path in run.glob("samples/step-*.png"):
        with PIL.Image.open(path) as image:
            image.load()


def finished(case: Case, run: Path, *, tidy: bool = True) -> Iterator[str]:
    """Yield the differences between a finished run and an uninterrupted one."""
    steps = max(case.expected)
    if info(run).state_sha256 != case.expected[steps] or info(run).step != steps:
        yield "ended in another state"
    if losses(run) != case.losses:
        yield "the log differs"
    if read_model(run)[0].training.step != steps:
        yield f"the model is of step {read_model(run)[0].training.step}"
    if not re.search(r"<dd>finished</dd>", (run / "report.html").read_text()):
        yield "the report does not say finished"
    yield from (f"verify: {finding.problem}" for finding in verify(run) if finding.problem)
    left = [path.name for path in run.rglob(".*") if path.name.startswith(UNFINISHED)]
    if tidy and left:
        yield f"left behind after the next run: {left}"


def reference(case: Case) -> list[Call]:
    """Return the calls of an undisturbed run, the same in two runs: the first may compile a module or fill a cache."""
    for _ in range(0 if case.calls else 3):
        _, first, _ = traced(case, case.work / "run")
        _, calls, code = traced(case, case.work / "run")
        assert code == 0, (case.work / "trainer.out").read_text()
        if [(call.name, call.number) for call in first] == [(call.name, call.number) for call in calls]:
            case.calls = calls
            break
    assert case.calls, "no two runs make the same calls"
    return case.calls


def run_case(case: Case, fault: str, points: int | None, tell: Callable[[str], None]) -> Result:
    """Try a fault at every call of a case, or at `points` of them, evenly spread."""
    calls = reference(case)
    written = {
        path for call in calls if call.name == "write" for path in re.findall(r"^write\(\d+<([^>]*)>", call.text)
    }
    calls = [call for call in calls if "trainer.out" not in call.text and matters(call, fault, written)]
    if points is not None and points < len(calls):
        calls = [calls[round(index * (len(calls) - 1) / (points - 1))] for index in range(points)]
    result = Result()
    for call in calls:
        result.tried += 1
        for problem in try_fault(case, call, fault):
            if problem == "refused":
                result.refused += 1
            elif problem == "harmless":
                result.harmless += 1
            else:
                result.problems.append(f"{case.method}, {case.scenario}, {fault} at {call.text[:160]}: {problem}")
                tell(result.problems[-1])
    return result


def main() -> None:
    """Run all, or what the options name; print a line of JSON for each, and leave with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, choices=SCENARIOS)
    parser.add_argument("--faults", nargs="+", default=FAULTS, choices=FAULTS)
    parser.add_argument("--points", type=int, help="how many calls to try of each, evenly spread (default: all)")
    given = parser.parse_args()
    if not available():
        sys.exit("strace is not installed, or may not trace here.")
    bad = 0
    for method in given.methods:
        for scenario in given.scenarios:
            with tempfile.TemporaryDirectory(prefix="unpaired-faults-") as folder:
                case = prepare(Path(folder), scenario, method)
                for fault in given.faults:
                    result = run_case(case, fault, given.points, lambda text: print(text, file=sys.stderr, flush=True))
                    facts = {"method": method, "scenario": scenario, "fault": fault, **vars(result)}
                    print(json.dumps(facts), flush=True)
                    bad += len(result.problems)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
