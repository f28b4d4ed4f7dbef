"""Peak memory of a case, measured in a separate process, because a process's peak never decreases."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from unpaired.bench.cases import CapturedTrainingCase, Case, Mode, TrainingCase, TranslationCase


def peak_memory(kind: str, size: int, mode: Mode, device: torch.device, batch: int = 1) -> int:
    """Return the peak memory of a case (train, captured, translate) in bytes, minus an idle process with torch."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
        return child.submit(_measure, kind, size, mode, str(device), batch).result()


def _measure(kind: str, size: int, mode: Mode, device_name: str, batch: int) -> int:
    device = torch.device(device_name)
    before = _highest(device)
    made: dict[str, Callable[..., Case]] = {
        "train": TrainingCase.at,
        "captured": CapturedTrainingCase.at,
        "translate": TranslationCase.at,
    }
    way = () if kind == "translate" else (mode.way,)
    case = made[kind](size, mode.precision, device, batch, *way)
    case()
    return _highest(device) - before


def _highest(device: torch.device) -> int:
    """Return the peak memory so far in bytes: of the device's tensors, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, where getrusage of a child includes its parent's peak
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "win32":  # resource is a Unix module
        return 0
    import resource

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
