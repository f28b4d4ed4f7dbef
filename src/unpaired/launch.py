"""Which of several processes this one is: what torchrun, which starts them, says in the environment.

Without torch, so that the command line can ask before it is imported. What the processes do together is in `ranks`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from unpaired.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """A process among `count`: its `rank` among all, and its `local_rank` among the `local_count` of this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def launched() -> Launch:
    """Return the place that torchrun gave this process, the only one of one without it; raises ConfigError."""
    if "WORLD_SIZE" not in os.environ:
        return Launch()
    count, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank = _number("LOCAL_RANK", rank)
    launch = Launch(rank, count, local_rank, _number("LOCAL_WORLD_SIZE", max(local_rank + 1, 1)))
    if not (0 <= launch.rank < launch.count and 0 <= launch.local_rank < launch.local_count):
        raise ConfigError(
            f"The environment says RANK {rank} of WORLD_SIZE {count} and LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{launch.local_count}, which cannot be; start several processes with torchrun, which sets them."
        )
    return launch


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name} is {text!r} in the environment; start several processes with torchrun, or unset it.")
    return int(text)
