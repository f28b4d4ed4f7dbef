"""Names of devices as people type them, and the devices that this machine has."""

from __future__ import annotations

import re

import torch

from unpaired.errors import DeviceError
from unpaired.launch import launched


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` asks for: "auto", "cpu", "cuda", "cuda:N" or "mps".

    "auto" is the first GPU, else Apple's, else the CPU. Raises DeviceError for an unknown name, and for a
    device that this machine (or this build of torch) does not have.

    Of several processes on a machine each has a GPU of its own, unless `name` says its number: then they share it.
    """
    launch = launched()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+))?", name)
    if match is None or (match[2] and match[1] != "cuda"):
        raise DeviceError(f"Unknown device {name!r}; choose auto, cpu, cuda, cuda:N (N from 0) or mps.")
    if match[1] == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("There is no mps device here (it is Apple's GPU); use --device auto or cpu.")
    if match[1] == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError(f"There is no CUDA device here for {name!r}; use --device auto or cpu.")
        if not match[2] and launch.local_count > count:
            raise DeviceError(
                f"There are {launch.local_count} processes and {count} GPUs on this machine; start {count} "
                f"(--nproc-per-node {count})."
            )
        if not match[2] and launch.count > 1:
            return torch.device("cuda", launch.local_rank)
        if int(match[2] or 0) >= count:
            raise DeviceError(f"There is no device {name!r}: this machine has cuda:0 to cuda:{count - 1}.")
    return torch.device(name)
