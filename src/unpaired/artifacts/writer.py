"""A thread that writes the files of a run while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Literal

Kind = Literal["samples", "checkpoint", "report"]


class Writer:
    """Runs tasks in a thread of its own, one after the other and in the order they are submitted.

    A task must depend on nothing that training changes. At most one task of each kind waits or runs, so that a slow
    disk slows training down and does not fill the memory. An error of a task is raised in the training thread, by the
    next call of any method here. The thread ends with the last task that holds a reference to its Writer, and the
    interpreter waits for it.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="unpaired-writer")
        self._submitted: dict[Kind, Future[None]] = {}

    def submit(self, kind: Kind, task: Callable[[], None]) -> None:
        """Run a task behind those before it, once the last one of its kind has ended."""
        self.wait_for(kind)
        self._submitted[kind] = self._pool.submit(task)

    def wait_for(self, kind: Kind) -> None:
        """Wait until the last task of a kind has ended; raise the error of any task that has."""
        if kind in self._submitted:
            wait([self._submitted[kind]])
        self.check()

    def check(self) -> None:
        """Raise the error of a task that has ended, once."""
        for kind in [kind for kind, future in self._submitted.items() if future.done()]:
            self._submitted.pop(kind).result()

    def finish(self) -> None:
        """Wait for all tasks, then raise the first error."""
        wait(self._submitted.values())
        self.check()
