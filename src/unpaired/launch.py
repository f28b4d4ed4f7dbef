"""Rank and world size of this process, read from the environment variables that torchrun sets.

Does not import torch, so that the command line can use it before torch is loaded. Collectives are in `ranks`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from unpaired.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """The rank of a process among all `world_size`, and among the `local_world_size` of this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1


def launched() -> Launch:
    """Return the rank and world size from the environment, rank 0 of 1 without torchrun.

    Raises ConfigError if the variables are not numbers or contradict each other.
    """
    if "WORLD_SIZE" not in os.environ:
        return Launch()
    world_size, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank = _number("LOCAL_RANK", rank)
    launch = Launch(rank, world_size, local_rank, _number("LOCAL_WORLD_SIZE", max(local_rank + 1, 1)))
    if not (0 <= launch.rank < launch.world_size and 0 <= launch.local_rank < launch.local_world_size):
        raise ConfigError(
            f"The environment has RANK {rank} of WORLD_SIZE {world_size} and LOCAL_RANK {local_rank} of "
            f"LOCAL_WORLD_SIZE {launch.local_world_size}, which contradict each other; start several processes with "
            "torchrun, which sets them."
        )
    return launch


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name} is {text!r} in the environment; start several processes with torchrun, or unset it.")
    return int(text)
