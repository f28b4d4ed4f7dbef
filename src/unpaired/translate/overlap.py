"""Reading ahead and encoding behind: what happens in threads while the generator works on the images in between.

Order is that of the jobs throughout, and what is held is bounded.
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
"""Images that are read ahead, and results that wait to be written, at most."""

ROOM = 2**26
"""Bytes of either beyond which nothing is added to them; one image may be larger."""


def num_workers() -> int:
    """Return how many threads read and encode: few, as they take the processor from the generator."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def read_ahead(
    pool: Executor, read: Callable[[J], R], jobs: Iterable[J], size: Callable[[R], int]
) -> Iterator[tuple[J, R | UnpairedError]]:
    """Yield each job, in order, with what `read` returns of it, or the error of ours that it raises.

    size: the bytes of what was read; one that is not read yet counts as much as the last one that was.
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


class Behind(Generic[J]):
    """Results on their way to the disk: encoded in threads, finished in order by whoever adds and drains."""

    def __init__(self, pool: Executor, finish: Callable[[J, Callable[[], bytes]], None]) -> None:
        """finish: is called once a job, in order; what it is given returns the encoded bytes or raises."""
        self._pool, self._finish = pool, finish
        self._waiting: deque[tuple[J, int, Future[bytes]]] = deque()

    def add(self, job: J, encode: Callable[[], bytes], size: int) -> None:
        """Encode a result of so many bytes in a thread; what is done, or has no room any more, is finished first."""
        self._make_room(size)
        self._waiting.append((job, size, self._pool.submit(encode)))

    def add_failure(self, job: J, error: UnpairedError) -> None:
        """Put a job that failed into the order."""
        failed: Future[bytes] = Future()
        failed.set_exception(error)
        self._waiting.append((job, 0, failed))
        self._make_room(0)

    def drain(self) -> None:
        """Finish everything that was added."""
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
