"""The machine a run is made with: what its bits depend on, and what is said when its memory runs out."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch

from unpaired import ranks
from unpaired.errors import OutOfMemoryError
from unpaired.networks.recompute import recomputing_networks
from unpaired.objectives.base import Objective
from unpaired.training.run_config import RunConfig
from unpaired.version import __version__

if sys.platform != "win32":
    import resource

_STATUS = Path("/proc/self/status")


def made_with(device: torch.device, run: RunConfig | None = None) -> dict[str, str | int]:
    """Return versions, processor, threads and device. Equal values promise equal bits for equal runs.

    run: settings by which sums are rounded: `acceleration` on NVIDIA's GPUs, and those of `accumulate`, `acceleration`
    and `layout` that differ from their defaults. graph and compile are facts of their own, as in earlier versions.
    """
    run = RunConfig() if run is None else run
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
    if ranks.world_size() > 1:
        facts["ranks"] = ranks.world_size()
    if run.accumulate > 1:
        facts["accumulate"] = run.accumulate
    if run.compiles:
        facts["compile"] = "on"
    if run.layout != "nchw":
        facts["layout"] = run.layout
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
        facts["graph"] = "auto" if run.replays else "off"
    return facts


def processor() -> str:
    """Return the processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextmanager
def out_of_memory(step: Callable[[], int], device: torch.device, advice: str) -> Iterator[None]:
    """Turn what torch raises when memory runs out in the body into OutOfMemoryError, one sentence.

    step: tells which step is being taken. advice: what to change, as `relief` gives it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        peak = peak_memory(device)
        raise OutOfMemoryError(
            f"Out of memory at step {step()} on {device} (peak: {f'{peak / 1e9:.2f} GB' if peak else 'unknown'}); the "
            f"checkpoints are whole. {advice}"
        ) from None


def relief(objective: Objective[Any], batch_size: int, *, lower: bool) -> str:
    """Return the sentence that names the two settings to change when memory runs out, the least loss first.

    batch_size: images of a step over all processes. lower: whether the device is made for a lower precision, too.
    """
    more = ranks.possible_micro_batches(batch_size, objective.num_micro_batches + 1)
    divisible = not objective.prevents_accumulation()
    same = [f"--run.accumulate {more[0]}"] if divisible and more else []
    same += ["--run.recompute"] if any(not network.recompute for network in recomputing_networks(objective)) else []
    changes = ["lower --data.batch-size"] if batch_size > 1 and not divisible else []
    changes += ["take --run.precision bf16"] if lower else []
    changes += ["lower --size"]
    match same:
        case []:
            return f"{' or '.join(changes[:2]).capitalize()}, in a new --out."
        case [one]:
            return f"Go on with {one}, which learns the same in less memory, or {changes[0]} in a new --out."
        case _:
            return f"Go on with {' or '.join(same)}, which learn the same in less memory."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; processors and MPS have no class of their own for it."""
    sayings = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(text in str(error) for text in sayings)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use at once: of a GPU's memory, or by this process; 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _resident("VmHWM") if device.type == "cpu" else 0


def memory_now() -> int:
    """Return the bytes that this process takes of the machine's memory; the most it took where only that is known."""
    return _resident("VmRSS")


def _resident(field: str) -> int:
    if _STATUS.is_file():  # Linux, where getrusage tells a child of its parent's peak too
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    if sys.platform == "win32":
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
