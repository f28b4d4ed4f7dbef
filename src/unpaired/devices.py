"""Resolves device names such as "cuda:1" and detects native support for bfloat16."""

from __future__ import annotations

import re

import torch

from unpaired.errors import DeviceError
from unpaired.launch import launched


def resolve_device(name: str) -> torch.device:
    """Return the device named "auto", "cpu", "cuda", "cuda:N" or "mps".

    "auto" is the first CUDA GPU, else Apple's GPU, else the CPU. Raises DeviceError if the name is unknown or if this
    machine (or this build of torch) has no such device.

    If torchrun started several processes on this machine, each gets its own GPU; with "cuda:N" they share that GPU.
    """
    launch = launched()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+))?", name)
    if match is None or (match[2] and match[1] != "cuda"):
        meant = "cuda" if name.lower() in ("gpu", "nvidia") else f"cuda:{name}" if name.isdigit() else ""
        hint = f"did you mean {meant}?" if meant else "choose auto, cpu, cuda, cuda:N (N from 0) or mps."
        raise DeviceError(f"Unknown device {name!r}; {hint}")
    if match[1] == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("There is no mps device here (it is Apple's GPU); use device auto or cpu.", setting="device")
    if match[1] == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError(f"There is no CUDA device here for {name!r}; use device auto or cpu.", setting="device")
        if not match[2] and launch.local_world_size > count:
            raise DeviceError(
                f"There are {launch.local_world_size} processes and {count} GPUs on this machine; start {count} "
                f"(--nproc-per-node {count})."
            )
        if not match[2] and launch.world_size > 1:
            return torch.device("cuda", launch.local_rank)
        if int(match[2] or 0) >= count:
            raise DeviceError(f"There is no device {name!r}: this machine has cuda:0 to cuda:{count - 1}.")
    return torch.device(name)


def has_bf16(device: torch.device) -> bool:
    """Return whether a device has native bfloat16 instructions; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(processor_bf16())


def processor_bf16() -> set[str]:
    """Return the processor's bfloat16 extensions among avx512_bf16 and amx_bf16; none if torch cannot detect them."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return {name for name in ("avx512_bf16", "amx_bf16") if known.get(name)}
