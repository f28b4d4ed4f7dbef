"""Trainers in miniature that are killed while their helper processes are busy; each is a process of its own."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

from torch import Tensor

from unpaired.data import loading
from unpaired.data.datasets import Batch, DataConfig, StepDataset


class Stuck(StepDataset):
    """A disk that does not answer: no step is ever made."""

    def __getitem__(self, step: int) -> Batch:
        time.sleep(600)
        raise NotImplementedError

    def preview(self, count: int) -> Batch:
        raise NotImplementedError

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _name(self, sample: int) -> str:
        raise NotImplementedError


def with_two_stuck_loaders() -> None:
    """Wait for batches that do not come."""
    stuck = Stuck(10, DataConfig(load_size=36, crop_size=32), 0)
    workers = [loading._Worker(stuck, range(first, 10, 2), 600) for first in (1, 2)]
    for worker in workers:
        worker._next(120)
    print("ready", flush=True)
    workers[0].take()


def while_the_server_imports_torch() -> None:
    """Ask for the fork server, as a run does in its first moments, where the folder of $PYTHONPATH has a slow torch."""
    torch = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]) / "torch.py"
    torch.write_text("import time; open(__file__ + '.begun', 'w').close(); time.sleep(600)")
    loading._context()
    forkserver.ensure_running()
    while not torch.with_name("torch.py.begun").exists():
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(600)


def running() -> dict[int, int]:
    """Return the parent of every process that has not ended."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(path.parent.name)] = int(parent)
    return parents


def descendants(pid: int) -> set[int]:
    """Return the processes below another one."""
    parents = running()
    found, number = {pid}, 0
    while len(found) > number:
        number = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def still_running(pids: set[int], seconds: float) -> set[int]:
    """Return which processes are there when so many seconds are over, and end them."""
    deadline = time.monotonic() + seconds
    while (left := pids & set(running())) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    return left
