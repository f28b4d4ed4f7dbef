"""The number of pixels that fit into memory in one forward pass."""

from __future__ import annotations

from pathlib import Path

import torch

from unpaired.launch import launched
from unpaired.networks.protocols import GeneratorConfig, Measured

_DEFAULT_BYTES = 1200  # bytes per pixel of a generator without a measurement
_LEAST_PIXELS = 2**18  # always tried: 512 x 512
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def bytes_per_pixel(generator: GeneratorConfig) -> int:
    """Return the approximate memory of a generator in float32, in bytes per pixel."""
    return generator.bytes_per_pixel if isinstance(generator, Measured) else _DEFAULT_BYTES


def pixels_that_fit(generator: GeneratorConfig, device: torch.device) -> int | None:
    """Return the number of pixels for which a generator has enough free memory now; None if that is unknown.

    Several processes of a machine share the free memory, unless each has its own GPU.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    sharers = launched().local_world_size if device.type == "cpu" else 1
    return None if free is None else max(free // sharers // bytes_per_pixel(generator), _LEAST_PIXELS)


def _free_memory() -> int | None:
    """Return the bytes of memory available to this process, on Linux; None elsewhere."""
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
