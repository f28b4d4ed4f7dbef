"""Costs of a run besides its steps: report, checkpoint, and all that comes with 500 steps.

    python benchmarks/growing_runs.py report 10000 100000 1000000     lines of log.jsonl
    python benchmarks/growing_runs.py checkpoint 128 256              sizes of the paper's recipe
    python benchmarks/growing_runs.py steps DATA --milliseconds 15 --steps 1000

report: processor seconds of one refresh with a log of so many lines, and how much the process grew by, each in a
process of its own. checkpoint: processor seconds of a save in the training thread, over those of `torch.save` of the
same tensors, in turns. steps: processor seconds of the training thread in log, grid, checks, validation and checkpoint
at their usual intervals, for a run whose steps only sleep, in percent of the sleep; DATA is made by
`unpaired data draw DATA --count 40 --num-test 64 --size 36`.

One line of JSON each. To compare two builds, run the same command with PYTHONPATH set to the source of each, in turns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

FAMILIES = ("adversarial", "cycle", "identity", "discriminator")
NAMES = [f"{family}_{domain}" for family in FAMILIES for domain in "ab"]


def peak() -> float:
    """Return the largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_log(path: Path, num_lines: int) -> None:
    """Write a log like that of a CycleGAN, a line every 20 steps."""
    rng = random.Random(0)  # noqa: S311 - noise of a curve
    with path.open("w", encoding="utf-8") as file:
        for line in range(1, num_lines + 1):
            losses = {name: round(0.5 / math.sqrt(line) + rng.random() / 5, 6) for name in NAMES}
            record: dict[str, Any] = {"step": 20 * line, "num_steps": 20 * num_lines, "epoch": 1, "losses": losses}
            record |= {"learning_rate": 2e-4, "images_per_second": 9.3, "loader_wait": 0.01, "seconds": 1.0 * line}
            record |= {"seconds_left": 5.0, "peak_memory": 10**9, "time": "2026-12-01T12:00:00+0000"}
            file.write(json.dumps(record) + "\n")


def recorder_of(run: Path, publish: Callable[..., None] = lambda *_: None) -> Any:
    """Return the recorder of a run folder."""
    import torch

    from unpaired.artifacts.recorder import RunRecorder
    from unpaired.artifacts.run_folder import RunFolder
    from unpaired.data.datasets import Batch

    folder, names = RunFolder(run), {"A": "summer", "B": "winter"}
    facts = {"config": "schema: 1\n", "data": {}, "machine": {"torch": torch.__version__}}
    preview = Batch(a=torch.zeros(1, 3, 8, 8), b=torch.zeros(1, 3, 8, 8))
    return RunRecorder(
        folder, preview, names=names, facts=facts, publish=publish, listener=lambda _: None, keep_checkpoints=2
    )


def measure_report(num_lines: int) -> None:
    """Print the costs of a refresh, the median of five; for a process that has done nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_log(run / "log.jsonl", num_lines)
        (run / "first").mkdir()
        recorder_of(run / "first").report("training")  # loads all modules
        before, started = peak(), time.process_time()
        recorder = recorder_of(run)
        opened = time.process_time() - started
        times = []
        for _ in range(5):
            started = time.process_time()
            recorder.report("training")
            times.append(time.process_time() - started)
        found = {"seconds": round(statistics.median(times), 3), "opened": round(opened, 2)}
        print(json.dumps({"lines": num_lines, **found, "grew_mb": round(peak() - before, 1)}), flush=True)


def recipe(size: int) -> Any:
    """Return the paper's recipe at a size of crops."""
    from unpaired.recipes import RECIPES, at_size

    return at_size(RECIPES["paper"](), size)


def full_state(config: Any) -> Any:
    """Return a state as after thousands of steps: Adam has moments and the pools are full."""
    from unpaired.recipes import build_objective
    from unpaired.runs.footprint import fill_state
    from unpaired.training.state import TrainingState

    state = TrainingState(build_objective(config), config.optimizer)
    fill_state(state, config)
    return state


def measure_checkpoint(size: int, turns: int = 5) -> None:
    """Print the processor seconds of torch.save, of a save in the training thread, and of the whole save."""
    import torch

    state = full_state(recipe(size))
    found: dict[str, list[float]] = {"torch_save": [], "training_thread": [], "whole": []}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        for name in ("samples", "checkpoints"):
            (run / name).mkdir()
        recorder = recorder_of(run, lambda *_: lambda: None)
        finish = getattr(recorder, "finish", lambda: None)  # builds before it had one save while training waits
        for turn in range(turns + 1):
            state.step += 1
            begun = Moment.now()
            torch.save({"parts": state.parts(), "counters": state.counters()}, run / "plain.pt")
            saved = Moment.now()
            recorder.checkpoint(state)
            kept = Moment.now()
            finish()
            if turn:  # the first one loads modules
                found["torch_save"].append(saved.thread - begun.thread)
                found["training_thread"].append(kept.thread - saved.thread)
                found["whole"].append(Moment.now().process - saved.process)
        size_mb = round((run / "plain.pt").stat().st_size / 1e6)
    ratios = sorted(mine / plain for mine, plain in zip(found["training_thread"], found["torch_save"], strict=True))
    times = {name: round(statistics.median(each), 3) for name, each in found.items()}
    ratio = {"ratio": round(statistics.median(ratios), 2), "range": [round(ratios[0], 2), round(ratios[-1], 2)]}
    print(json.dumps({"size": size, "mb": size_mb, **times, **ratio, "turns": turns}), flush=True)


PARTS = {
    "log": ("artifacts.recorder", "RunRecorder.progress"),
    "grid": ("artifacts.recorder", "RunRecorder.sample"),
    "guardian": ("monitoring.guardian", "Guardian.check"),
    "validation": ("selection.best_weights", "CheckpointSelection.evaluate"),
    "checkpoint": ("artifacts.recorder", "RunRecorder.checkpoint"),
}
"""What a run does besides its steps, by module and method."""


def measure_steps(data: str, milliseconds: float, num_steps: int, size: int, channels: int, blocks: int) -> None:
    """Print the time that a run of sleeping steps takes beyond its sleep, for a process that does nothing else."""
    import torch

    from unpaired.config import override
    from unpaired.recipes import RECIPES, at_size
    from unpaired.runs import train
    from unpaired.training import loop

    spent = dict.fromkeys(PARTS, 0.0)
    slept = [0.0]
    real_step = loop.train_step
    step_times: list[float] = []

    def step(state: Any, *rest: Any) -> Any:
        if state.step in (0, 1, 2):  # gives Adam its moments and the guardian its gradients
            started = time.process_time()
            terms: Any = real_step(state, *rest)
            step_times.append(time.process_time() - started)
            slept.append(0.0)
            kept.update(terms)
            return terms
        time.sleep(milliseconds / 1000)
        slept[0] += milliseconds / 1000
        return dict(kept)

    kept: dict[str, Any] = {}
    loop.train_step = step
    for name in PARTS:
        time_method(name, spent)
    settings = {"data.root": data, "schedule.num_steps": num_steps, "generator.base_channels": channels}
    settings |= {"generator.num_blocks": blocks, "discriminator.base_channels": channels, "run.trust_images": 0}
    config = override(at_size(RECIPES["paper"](), size), settings)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        train(config, out=Path(folder))
        whole = time.process_time() - begun
    seconds = {name: round(each, 3) for name, each in spent.items()}
    facts = {"milliseconds": milliseconds, "steps": num_steps, "size": size, "threads": torch.get_num_threads()}
    share = 100 * sum(spent.values()) / slept[0]
    real = round(1000 * min(step_times), 1)
    print(
        json.dumps({**facts, "real_step_ms": real, **seconds, "percent": round(share, 1), "process": round(whole, 2)})
    )


def time_method(name: str, spent: dict[str, float]) -> None:
    """Add the processor seconds of this thread in a method of `PARTS` to `spent`."""
    module, path = PARTS[name]
    owner_name, method = path.split(".")
    owner = getattr(importlib.import_module(f"unpaired.{module}"), owner_name)
    function = getattr(owner, method)

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.thread_time() - started

    setattr(owner, method, timed)


@dataclass(frozen=True)
class Moment:
    """Processor seconds of this thread and of this process so far."""

    thread: float
    process: float

    @classmethod
    def now(cls) -> Moment:
        """Return the present moment."""
        return cls(time.thread_time(), time.process_time())


def alone(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own."""
    process = get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("report").add_argument("lines", nargs="+", type=int)
    parts.add_parser("checkpoint").add_argument("sizes", nargs="+", type=int)
    steps = parts.add_parser("steps")
    steps.add_argument("data", help="a folder of `unpaired data draw` with 64 test images")
    for name, default in (("milliseconds", 15.0), ("steps", 1000), ("size", 32), ("channels", 8), ("blocks", 2)):
        steps.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args()
    if given.part == "report":
        for num_lines in given.lines:
            alone(measure_report, num_lines)
    elif given.part == "steps":
        alone(measure_steps, given.data, given.milliseconds, given.steps, given.size, given.channels, given.blocks)
    else:
        for size in given.sizes:
            alone(measure_checkpoint, size)


if __name__ == "__main__":
    main()
