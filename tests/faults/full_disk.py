"""Trains on disks that are really full or read-only: `python -m faults.full_disk`.

In a mount namespace of its own, so that no rights are needed, a small tmpfs takes the run folder, in many sizes; then
it is made larger and the same command has to end like the run that never met a full disk. A limit on the size of files
(RLIMIT_FSIZE) does what small disks do where mounting is not allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from faults.system_calls import Case, finished, losses
from faults.toy import Trainer, command, draw_data, toy_config
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.runs import info
from unpaired.runs import train as train_run

STEPS = 6
_INSIDE = "UNPAIRED_FAULTS_INSIDE"


def can_mount() -> bool:
    """Whether a tmpfs can be mounted in a namespace of one's own."""
    if shutil.which("unshare") is None:
        return False
    script = 'mount -t tmpfs -o size=1m none "$0"'
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(["unshare", "-rm", "sh", "-c", script, folder], capture_output=True).returncode == 0


def prepare(work: Path) -> Case:
    """Train a run with enough room, and return the expected result of the others."""
    config = toy_config(draw_data(work / "data", "cyclegan"), "cyclegan", steps=STEPS, every=2)
    train_run(config, out=work / "whole")
    expected = {STEPS: info(work / "whole").state_sha256}
    return Case("random", "cyclegan", work, work / "none", expected, losses(work / "whole"), config)


def try_limit(case: Case, run: Path, before: Callable[[], Any], counts: dict[str, Any]) -> Iterator[str]:
    """Train on a disk that fills up; yield faults of the report and of the files that are left."""
    trainer = Trainer(command(case.config, run, case.work), case.work / "trainer.out", before)
    code = trainer.wait()
    said = [line for line in trainer.printed().splitlines() if line.startswith("unpaired: ")]
    counts["tried"] += 1
    counts["refused"] += code != 0
    counts["noticed_before_writing"] += any("MB needed" in line for line in said)
    if code == 0:
        return
    if code != 74 or len(said) != 1 or str(run) not in said[0] or "Traceback" in trainer.printed():
        yield f"exit code {code}: {trainer.printed()}"
    for path in list_checkpoints(run / "checkpoints"):
        load_checkpoint(path)
    counts["with_checkpoints"] += bool(list_checkpoints(run / "checkpoints"))
    left = [path.name for path in run.rglob(".*") if path.name.startswith((".tmp-", ".unpaired-", ".model.new"))]
    if left:
        yield f"left behind {left}"


def mount(place: Path, options: str) -> None:
    """Mount a tmpfs at a place, or change the one that is there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True, capture_output=True)


def on_small_disks(case: Case, sizes: range, counts: dict[str, Any]) -> Iterator[str]:
    """Fill disks of many sizes (in kB), then give them room; then make one read-only."""
    place = case.work / "disk"
    place.mkdir()
    for size in sizes:
        mount(place, f"size={size}k")
        run = place / "run"
        for problem in try_limit(case, run, lambda: None, counts):
            yield f"{size} kB: {problem}"
        mount(place, "remount,size=64m")
        again = Trainer(command(case.config, run, case.work), case.work / "again.out")
        if again.wait() != 0:
            yield f"{size} kB, then room: {again.printed()}"
        else:
            yield from (f"{size} kB, then room: {problem}" for problem in finished(case, run))
        mount(place, "remount,ro")
        code = (trainer := Trainer(command(case.config, run, case.work), case.work / "trainer.out")).wait()
        counts["read_only"] += 1
        if code != 74 or trainer.printed().count("\n") > 2 or "Read-only" not in trainer.printed():
            yield f"read-only: exit code {code}: {trainer.printed()}"
        subprocess.run(["umount", str(place)], check=True)


def under_limits(case: Case, sizes: range, counts: dict[str, Any]) -> Iterator[str]:
    """Let no file grow beyond many sizes (in kB)."""
    for size in sizes:
        run = case.work / f"limited-{size}"

        def limit(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size * 1000, size * 1000))

        for problem in try_limit(case, run, limit, counts):
            yield f"files of {size} kB: {problem}"
        again = Trainer(command(case.config, run, case.work), case.work / "again.out")
        if again.wait() != 0:
            yield f"files of {size} kB, then room: {again.printed()}"
        else:
            yield from (f"files of {size} kB, then room: {problem}" for problem in finished(case, run))


def main() -> None:
    """Try disks and limits; print a line of JSON each, and leave with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="sizes of disks, and as many limits")
    given = parser.parse_args()
    if can_mount() and _INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "-rm", sys.executable, *sys.orig_argv[1:]], {**os.environ, _INSIDE: "1"})
    torch.set_num_threads(1)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="unpaired-faults-") as folder:
        case = prepare(Path(folder))
        whole = sum(path.stat().st_size for path in (case.work / "whole").rglob("*") if path.is_file()) // 1000
        largest = max(path.stat().st_size for path in (case.work / "whole").rglob("*") if path.is_file()) // 1000
        ways = {"RLIMIT_FSIZE": (under_limits, largest)}
        if _INSIDE in os.environ:
            ways["tmpfs"] = (on_small_disks, 3 * whole // 2)
        for way, (tried, size) in ways.items():
            counts = dict.fromkeys(("tried", "refused", "noticed_before_writing", "with_checkpoints", "read_only"), 0)
            sizes = range(max(1, size // given.trials), size, max(1, size // given.trials))
            problems = []
            for problem in tried(case, sizes, counts):
                problems.append(problem)
                print(problem, file=sys.stderr, flush=True)
            print(json.dumps({"way": way, **counts, "largest_kB": size, "problems": problems}), flush=True)
            bad += len(problems)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
