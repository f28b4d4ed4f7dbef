"""Measured against predicted peak memory of training, each case in a process of its own.

    python benchmarks/memory.py paper:128:1:fp32:plain cut:256:1:bf16:recompute demo:64:4:fp32:plain:4 ...

A case is RECIPE:SIZE:BATCH:PRECISION:plain|recompute, with :PARTS behind it for run.accumulate. Its process counts the
footprint, as a run with --memory does, and then really takes a step (STEPS of them) with moments and full pools in
place, draws samples and writes a checkpoint; Linux is asked for the largest resident size of each. A line of JSON for
each case goes to the standard output; OMP_NUM_THREADS counts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """Return VmRSS, the bytes of this process now, or VmHWM, the most since it began or was last asked to forget."""
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(field))


def forget_peak() -> None:
    """Have Linux count the most from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(case: str) -> None:
    """Print what a case is expected to take and what it takes; for a process that has done nothing else."""
    import torch

    from unpaired.artifacts.checkpoint import save_checkpoint
    from unpaired.config import override
    from unpaired.data.datasets import Batch
    from unpaired.recipes import RECIPES, at_size, build_objective
    from unpaired.runs.footprint import fill_state, footprint, images
    from unpaired.runs.memory_plan import expected_memory
    from unpaired.tensor_files import serialised
    from unpaired.training.inference_weights import ema_weights, inference_mode
    from unpaired.training.state import TrainingState, copied
    from unpaired.training.step import train_step

    recipe, size, batch_size, precision, how, *parts = case.split(":")
    settings = {"data.batch_size": batch_size, "run.precision": precision, "run.recompute": how == "recompute"}
    settings["run.accumulate"] = parts[0] if parts else 1
    config = override(at_size(RECIPES[recipe](), int(size)), settings)
    counted = footprint(config)
    before, expected = resident("VmRSS"), expected_memory(config, counted, torch.device("cpu"))

    measured = {}
    state = TrainingState(build_objective(config), config.optimizer)
    fill_state(state, config)
    zeros = images(config, config.data.batch_size)
    batch = Batch(a=torch.rand_like(zeros.a) * 2 - 1, b=torch.rand_like(zeros.b) * 2 - 1)
    forget_peak()
    for _ in range(int(os.environ.get("STEPS", "1"))):
        train_step(state, batch, config.run.precision)
    measured["step"] = resident("VmHWM")
    if int(size) <= 128:  # beyond, samples take long and less memory than the step
        forget_peak()
        with ema_weights(state), inference_mode(state.objective):
            state.objective.samples(images(config, config.run.num_samples))
        measured["samples"] = resident("VmHWM")
    forget_peak()
    with tempfile.TemporaryDirectory() as folder:
        parts = copied(state.parts())
        save_checkpoint(Path(folder), parts, state.counters(), log_lines=0, made_with={}, keep=2)
        for network in state.objective.generators().values():
            serialised(network.state_dict())
        train_step(state, batch, config.run.precision)  # while another state is copied
    measured["checkpoint"] = resident("VmHWM")
    facts = {"case": case, "threads": torch.get_num_threads(), "before": before, "counted": asdict(counted)}
    off = expected / max(measured.values()) - 1
    print(json.dumps({**facts, "measured": measured, "expected": expected, "off": round(off, 3)}), flush=True)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        child = get_context("spawn").Process(target=measure, args=(each,))
        child.start()
        child.join()
        if child.exitcode:
            print(json.dumps({"case": each, "exit code": child.exitcode, "pid": os.getpid()}), flush=True)
