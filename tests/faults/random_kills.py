"""Kills trainings at random moments until they are finished: `python -m faults.random_kills`.

Each run is started, killed after a random time, and started again by the same command, until it comes to its end; its
state, log and model must then be those of the run that was never killed. Two kills in three hit the whole process
group, as a batch system does; the third hits the trainer alone, and its loader processes have to leave by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from faults.system_calls import Case, finished, losses
from faults.toy import METHODS, Trainer, command, draw_data, toy_config
from unpaired.artifacts.checkpoint import list_checkpoints
from unpaired.runs import info
from unpaired.runs import train as train_run
from unpaired.runs.verify import verify

STEPS = 60
ORPHAN_SECONDS = 5.0
"""How long a process of a killed trainer may live on; it is ended at once, but a busy machine has to come to it."""


def session(leader: int) -> list[int]:
    """Return the processes of a session, without those that have ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(number) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def try_run(case: Case, rng: random.Random, whole_seconds: float, counts: dict[str, Any]) -> Iterator[str]:
    """Kill one run until it is finished; yield each fault as a sentence."""
    run = case.work / f"run-{counts['runs']}"
    counts["runs"] += 1
    while True:
        trainer = Trainer(command(case.config, run), case.work / "trainer.out")
        trainer.process.join(rng.uniform(0, 0.7) * whole_seconds)
        if trainer.process.exitcode is not None:
            if trainer.process.exitcode != 0:
                yield f"exit code {trainer.process.exitcode}: {trainer.printed()}"
            break
        how = "trainer" if counts["kills"] % 3 == 2 else "group"
        try:
            (os.killpg if how == "group" else os.kill)(trainer.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not called setsid yet
            os.kill(trainer.pid, signal.SIGKILL)
        trainer.wait()
        counts["kills"] += 1
        killed = time.monotonic()
        if (run / "config.yaml").exists() and (run / "data.json").exists():
            yield from (f"verify: {finding.problem}" for finding in verify(run) if finding.problem)
        counts["steps"].append(info(run).step if (run / "config.yaml").exists() and (run / "data.json").exists() else 0)
        if how == "group":
            while session(trainer.pid) and time.monotonic() < killed + ORPHAN_SECONDS:
                time.sleep(0.05)
            if session(trainer.pid):
                yield "processes live on after their group was killed"
        else:
            counts["alone"].append((trainer.pid, killed))
    yield from finished(case, run)


def outlived(counts: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence where loader processes outlive the trainer that was killed alone."""
    for leader, killed in counts.pop("alone"):
        while session(leader) and time.monotonic() < killed + ORPHAN_SECONDS:
            time.sleep(0.1)
        if session(leader):
            yield f"{len(session(leader))} loader processes outlived their trainer"


def main() -> None:
    """Run the methods with and without loader processes; print a line of JSON each; leave with 1 on any problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--kills", type=int, default=25, help="at least so many of each")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for method in given.methods:
        for workers in given.workers:
            with tempfile.TemporaryDirectory(prefix="unpaired-faults-") as folder:
                work = Path(folder)
                config = toy_config(draw_data(work / "data", method), method, steps=STEPS, workers=workers, every=8)
                train_run(toy_config(work / "data", method, steps=STEPS, every=8), out=work / "whole")
                began = time.monotonic()
                Trainer(command(config, work / "timed"), work / "timed.out").wait(600)
                seconds = time.monotonic() - began
                assert list_checkpoints(work / "whole" / "checkpoints")
                expected = {STEPS: info(work / "whole").state_sha256}
                case = Case("random", method, work, work / "none", expected, losses(work / "whole"), config)
                counts: dict[str, Any] = {"runs": 0, "kills": 0, "steps": [], "alone": []}
                problems: list[str] = []
                rng = random.Random(given.seed * 1000 + 10 * METHODS.index(method) + workers)
                while counts["kills"] < given.kills:
                    problems += try_run(case, rng, seconds, counts)
                problems += outlived(counts)
                for problem in problems:
                    print(problem, file=sys.stderr, flush=True)
                steps = counts.pop("steps")
                facts = {"method": method, "workers": workers, **counts, "different_steps": len(set(steps))}
                print(json.dumps({**facts, "problems": problems}), flush=True)
                bad += len(problems)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
