"""Two independent pieces of work at once, each on a thread of its own with half of torch's threads.

A small convolution does not keep two cores busy: dividing it costs more in waiting for one another than it saves. Two
whole chains of them never wait. Neither depends on the other, so what comes out is the same to the bit every time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import TypeVar

import torch

First = TypeVar("First")
Second = TypeVar("Second")


def side_by_side(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Return what two functions give, called at the same time; once both have ended, the first's error comes first.

    Neither may change what the other reads, nor draw from torch's own generator. Whether gradients are recorded and
    whether autocast is on, which torch knows for each thread, is as where this is called.
    """
    grad, cast, dtype = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def as_here(work: Callable[[], First | Second]) -> First | Second:
        # Weights cast for one thread must not serve the other: its gradients would take another way to the sum.
        with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, enabled=cast, cache_enabled=False):
            return work()

    if _in_turn.get():
        return as_here(first), as_here(second)  # type: ignore[return-value]
    one, two = _threads(torch.get_num_threads())
    made = one.submit(as_here, first), two.submit(as_here, second)
    wait(made)
    return made[0].result(), made[1].result()  # type: ignore[return-value]


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Have the two pieces of work done one after the other in this thread, where what torch does can be counted."""
    before = _in_turn.set(True)
    try:
        yield
    finally:
        _in_turn.reset(before)


_in_turn = ContextVar("in turn", default=False)


@lru_cache
def _threads(count: int) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
    """Return two threads that have half of torch's `count` threads each."""
    _share_the_heap()
    made = tuple(
        ThreadPoolExecutor(1, "side by side", initializer=torch.set_num_threads, initargs=(max(count // 2, 1),))
        for _ in range(2)
    )
    for thread in made:
        thread.submit(torch.get_num_threads).result()  # torch takes the number over when a thread first asks for it
    torch.set_num_threads(count)  # what they set for themselves also holds for threads that begin later
    return made[0], made[1]


def _share_the_heap() -> None:
    """Have threads that begin later take memory from the heap of the process, where the C library is glibc.

    Otherwise each has its own, in pieces of 64 MB, of which feature maps of a tenth to a half of that leave much empty:
    a step on 128 x 128 images took 1.38 GB then instead of 1.02. Its time is the same.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
