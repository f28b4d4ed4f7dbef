"""What a run was made with: the versions and the machine that its bits depend on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy
import PIL
import torch

from unpaired.version import __version__


def made_with(device: torch.device) -> dict[str, str | int]:
    """Return versions, processor, threads and device. Equal values promise equal bits for equal runs."""
    facts: dict[str, str | int] = {
        "unpaired": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
    return facts


def processor() -> str:
    """Return the processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
