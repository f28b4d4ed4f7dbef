"""Scans on a few threads: decoders, hashes and file systems release the interpreter."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

NUM_THREADS = 4
"""Threads of a scan. More gain little, as facts are gathered under the interpreter's lock."""

_SINGLE = 256  # items handed out one by one, so that a few slow ones are shared by all threads
_TOGETHER = 8  # items of one task after these, as a task costs as much as reading a header
_AHEAD = 16  # tasks per thread that wait or have a result

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int = NUM_THREADS
) -> Iterator[Result]:
    """Yield the result of `function` for each item, in the order of the items.

    Raises the error of the first item that fails; items that have not begun by then are dropped. Memory does not grow
    with the number of items: few are taken ahead of their results.
    """

    def carried_out(some: list[Item]) -> tuple[list[Result], Exception | None]:
        results: list[Result] = []
        try:
            for item in some:
                results.append(function(item))
        except Exception as error:
            return results, error
        return results, None

    tasks: collections.deque[Future[tuple[list[Result], Exception | None]]] = collections.deque()
    with ThreadPoolExecutor(max_workers=num_threads) as threads:
        try:
            for some in _portions(items):
                tasks.append(threads.submit(carried_out, some))
                if len(tasks) >= _AHEAD * num_threads:
                    yield from _results(tasks.popleft())
            while tasks:
                yield from _results(tasks.popleft())
        finally:
            for task in tasks:
                task.cancel()


def _portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the items in portions: single ones at first, then several."""
    rest = iter(items)
    for count in itertools.chain(itertools.repeat(1, _SINGLE), itertools.repeat(_TOGETHER)):
        if not (some := list(itertools.islice(rest, count))):
            return
        yield some


def _results(task: Future[tuple[list[Result], Exception | None]]) -> Iterator[Result]:
    """Yield the results of a task; raises the error that ended it."""
    results, error = task.result()
    yield from results
    if error is not None:
        raise error
