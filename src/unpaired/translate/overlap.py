"""Overlapped reading and writing: threads read ahead of the generator and encode results behind it.

The order is that of the jobs, and the number and size of buffered images are bounded.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

from unpaired.errors import UnpairedError

J = TypeVar("J")
R = TypeVar("R")

MOST = 32
"""The most images read ahead, and the most results waiting to be written."""

ROOM = 2**26
"""The byte limit of either buffer; a single image may be larger."""


def num_workers() -> int:
    """Return the number of threads that read and encode: few, as they compete with the generator for the processor."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def read_ahead(
    pool: Executor, read: Callable[[J], R], jobs: Iterable[J], size: Callable[[R], int]
) -> Iterator[tuple[J, R | UnpairedError]]:
    """Yield each job, in order, with the result of `read` or the UnpairedError that it raised.

    size: returns the bytes of a result; one that is not read yet counts as much as the last one.
    """
    waiting: deque[tuple[J, Future[R]]] = deque()
    rest, last = iter(jobs), 0

    def held() -> int:
        return sum(
            size(future.result()) if future.done() and future.exception() is None else last for _, future in waiting
        )

    def fill() -> None:
        while not waiting or (last and len(waiting) < MOST and held() + last <= ROOM):
            try:
                job = next(rest)
            except StopIteration:
                return
            waiting.append((job, pool.submit(read, job)))

    fill()
    while waiting:
        job, future = waiting.popleft()
        try:
            result: R | UnpairedError = future.result()
        except UnpairedError as error:
            result = error
        else:
            last = size(future.result())
        fill()
        yield job, result


class WriteQueue(Generic[J]):
    """Results on their way to the disk: encoded in threads, finished in order by the thread that adds them."""

    def __init__(self, pool: Executor, finish: Callable[[J, Callable[[], bytes]], None]) -> None:
        """finish: called once for each job, in order, with a function that returns the encoded bytes or raises."""
        self._pool, self._finish = pool, finish
        self._waiting: deque[tuple[J, int, Future[bytes]]] = deque()

    def add(self, job: J, encode: Callable[[], bytes], size: int) -> None:
        """Encode a result of `size` bytes in a thread, after finishing results that are done or exceed the limits."""
        self._make_room(size)
        self._waiting.append((job, size, self._pool.submit(encode)))

    def add_failure(self, job: J, error: UnpairedError) -> None:
        """Add a failed job in its place in the order."""
        failed: Future[bytes] = Future()
        failed.set_exception(error)
        self._waiting.append((job, 0, failed))
        self._make_room(0)

    def drain(self) -> None:
        """Finish all results."""
        while self._waiting:
            self._finish_first()

    def _make_room(self, size: int) -> None:
        while self._waiting and (
            self._waiting[0][2].done()
            or len(self._waiting) >= MOST
            or size + sum(held for _, held, _ in self._waiting) > ROOM
        ):
            self._finish_first()

    def _finish_first(self) -> None:
        job, _, future = self._waiting.popleft()
        self._finish(job, future.result)
