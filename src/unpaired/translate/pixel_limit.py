"""How many pixels can be translated at once: what the memory has room for."""

from __future__ import annotations

from pathlib import Path

import torch

from unpaired.launch import launched
from unpaired.networks.protocols import GeneratorConfig, Measured

_ASSUMED = 1200  # bytes a pixel of a generator that was not measured
_SMALLEST = 2**18  # what is always tried: a picture of 512 x 512
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def bytes_per_pixel(generator: GeneratorConfig) -> int:
    """Return about how many bytes of memory a generator takes for each pixel in float32."""
    return generator.bytes_per_pixel if isinstance(generator, Measured) else _ASSUMED


def pixels_that_fit(generator: GeneratorConfig, device: torch.device) -> int | None:
    """Return how many pixels a generator can translate in the memory that is free now; None where nobody says.

    Several processes of a machine share what is free, unless each has a GPU of its own.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    sharers = launched().local_world_size if device.type == "cpu" else 1
    return None if free is None else max(free // sharers // bytes_per_pixel(generator), _SMALLEST)


def _free_memory() -> int | None:
    """Return the bytes of memory that this process may still take, on Linux; None elsewhere."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:  # a container may have less
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return free if limit == "max" else min(free, max(int(limit) - int(used), 0))
    except (OSError, ValueError):
        return free
