"""Indexed randomness: every draw of training is a pure function of (run seed, purpose, counters).

Nothing is streamed, so the number of loader workers, an interruption, or a preview in between can never change
what is drawn for sample i of step s; and no generator's state needs to be saved.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def rng(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the NumPy generator of one draw, e.g. `rng(seed, "crop a", sample)`; counters are >= 0."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *counters])


@contextmanager
def torch_seeded(seed: int, purpose: str, *counters: int) -> Iterator[None]:
    """Seed torch's global generators for the body (initial weights, dropout) and restore them afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(int(rng(seed, purpose, *counters).integers(2**63)))
        yield
