"""Batches in the order of their steps, prefetched by loader processes; a dead or hung process is detected and reported.

torch's DataLoader is not used: it reports a dead worker from a signal handler, at an arbitrary point of training, does
not name the images of the worker, and waits for ever for one that hangs. Worker w of n makes the
batches of every n-th step and sends them in order through a pipe of its own, so that its step is known.
"""

from __future__ import annotations

import atexit
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from unpaired.data.datasets import Batch, StepDataset
from unpaired.errors import UnpairedError, WorkerError
from unpaired.images.other_processes import Sent, receive, to_send

PATIENCE = 20
"""Seconds that training waits for a batch before it ends the loader process."""

_START_PATIENCE = 120  # includes the import of torch
_END = None  # follows the last message of a loader process, however it ended


def batches(
    dataset: StepDataset,
    first: int,
    last: int,
    num_workers: int,
    *,
    retries: int = 0,
    patience: int = PATIENCE,
    note: Callable[[int, str], None] = lambda step, sentence: None,
) -> Generator[Batch, None, None]:
    """Yield the batches of steps first..last; they do not depend on the number of loader processes.

    retries: number of lost loader processes that are replaced, and reported to `note` with their step, before
    WorkerError is raised.

    An unreadable image raises its own ImageError here, whichever process read it.
    """
    if not num_workers:
        yield from (dataset[step] for step in range(first, last + 1))
        return
    workers: dict[int, _Worker] = {}
    try:
        for turn in range(min(num_workers, last - first + 1)):
            workers[turn] = _Worker(dataset, range(first + turn, last + 1, num_workers), patience)
        for step in range(first, last + 1):
            turn = (step - first) % num_workers
            while True:
                try:
                    batch = workers[turn].take()
                    break
                except WorkerError as error:
                    sentence = f"{error} at step {step} (images: {'; '.join(dataset.names_of(step))})"
                    if not retries:
                        raise WorkerError(f"{sentence}; {_ADVICE}") from None
                    retries -= 1
                    note(step, f"{sentence}; another one took its place.")
                    workers[turn].stop()
                    workers[turn] = _Worker(dataset, range(step, last + 1, num_workers), patience)
            yield batch
    finally:
        for worker in workers.values():
            worker.stop()


_ADVICE = (
    "the checkpoints are whole, so run the same command to continue, with --data.worker-retries 1 to have it replaced "
    "or fewer --data.num-workers to need less memory."
)


@dataclass(frozen=True)
class _Failure:
    """An unexpected error of a loader process, as text, because the process is about to end."""

    text: str


class _Worker:
    """A loader process, and the thread that receives its batches from the pipe during training.

    The process is started by a fork server, which has no threads: a fork of the trainer would copy the locks held by
    its threads and could wait for them for ever.
    """

    def __init__(self, dataset: StepDataset, steps: range, patience: int) -> None:
        context: Any = _context()
        self._reader, writer = context.Pipe(duplex=False)
        self._arrived: queue.Queue[Any] = queue.Queue(maxsize=1)
        self._process = context.Process(target=_work, args=(writer, to_send(), dataset, steps), daemon=True)
        self._patience, self._started = patience, False
        try:
            self._process.start()
        except OSError as error:
            raise WorkerError(
                f"A loader process cannot be started ({error.strerror}); lower --data.num-workers."
            ) from None
        finally:
            writer.close()
        atexit.register(self._process.kill)
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> Batch:
        """Return the next batch; raises the UnpairedError of the process, or WorkerError if it died without one."""
        if not self._started:
            self._next(_START_PATIENCE)
            self._started = True
        message = self._next(self._patience)
        if isinstance(message, UnpairedError):
            raise message
        if isinstance(message, _Failure):
            raise WorkerError(f"Loader process {self._process.pid} failed with {message.text}")
        return Batch(**{name: _tensor(value) for name, value in message.items()})

    def stop(self) -> None:
        """End the process, in any state, and the thread."""
        self._process.kill()  # not SIGTERM, which a stopped process does not receive
        while self._arrived.get() is not _END:
            pass
        self._arrived.put(_END)  # so that a second stop returns
        self._process.join()
        atexit.unregister(self._process.kill)

    def _next(self, patience: int) -> Any:
        # Counted in waits of a second, not by a clock: a suspended machine must not count as a hung process.
        for _ in range(patience):
            with suppress(queue.Empty):
                message = self._arrived.get(timeout=1)
                if message is _END:
                    self._arrived.put(_END)
                    raise WorkerError(f"Loader process {self._process.pid} {self._ending()}")
                return message
        raise WorkerError(f"Loader process {self._process.pid} has hung for {patience} seconds")

    def _read(self) -> None:
        with suppress(EOFError, OSError), self._reader:
            while True:
                self._arrived.put(self._reader.recv())
        self._arrived.put(_END)

    def _ending(self) -> str:
        """Return a phrase for the end of the process."""
        self._process.join(5)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (", as the system does when memory runs out," if name == "SIGKILL" else "")


def _context() -> Any:
    """Return the start method of processes: a fork server that has imported this module, if the system has one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    lasting = threading.current_thread() is threading.main_thread()  # the server may end with its starting thread
    context.set_forkserver_preload(["unpaired.data.preloading" if lasting else __name__])
    return context


def _work(writer: Connection[Any, Any], formats: Sent, dataset: StepDataset, steps: range) -> None:
    """Send the batches of the steps in order; a full pipe blocks the process until they are received."""
    receive(formats)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group, but handled by the trainer
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    with suppress(BrokenPipeError):  # the trainer is gone
        writer.send("ready")
        for step in steps:
            message = _made(dataset, step)
            writer.send(message)
            if not isinstance(message, dict):
                return


def _made(dataset: StepDataset, step: int) -> dict[str, Any] | UnpairedError | _Failure:
    """Return the batch of a step as arrays by name, or the error as a value, since an exception ends a process."""
    try:
        batch = dataset[step]
    except UnpairedError as error:
        return error
    except Exception as error:
        return _Failure(" ".join(f"{type(error).__name__}: {error}".split()))
    # Arrays are copied through the pipe, which does not depend on the shared memory of a container.
    return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in vars(batch).items()}


def _tensor(value: Any) -> Any:
    return value if not hasattr(value, "__array_interface__") else torch.from_numpy(value)
