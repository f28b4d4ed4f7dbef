"""Indexed randomness: every random number of training is a pure function of (run seed, purpose, counters).

No generator is shared between draws. The number of loader workers, an interruption or a preview therefore never changes
the random numbers of sample i at step s, and checkpoints need no generator state.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def rng(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the NumPy generator for one purpose, e.g. `rng(seed, "crop a", sample)`; counters are >= 0."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *counters])


@contextmanager
def torch_seeded(seed: int, purpose: str, *counters: int) -> Iterator[None]:
    """Seed torch's global generators for the block (initial weights, dropout) and restore them afterwards."""
    with torch.random.fork_rng():
        reseed(int(rng(seed, purpose, *counters).integers(2**63)))
        yield


def reseed(seed: int) -> None:
    """Seed torch's global generators like `torch.manual_seed`, in a hundredth of its time without an accelerator.

    For each kind of accelerator that is absent, `torch.manual_seed` keeps the request with a formatted stack trace.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
