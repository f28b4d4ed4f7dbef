"""Scans on a few threads: decoders, hashes and file systems release the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NUM_THREADS = 4
"""Threads of a scan. More gain little, as facts are gathered under the interpreter's lock."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int = NUM_THREADS
) -> Iterator[Result]:
    """Yield the result of `function` for each item, in the order of the items.

    Raises the error of the first item that fails; items that have not begun by then are dropped.
    """
    with ThreadPoolExecutor(max_workers=num_threads) as threads:
        yield from threads.map(function, items)
