"""Steps to the same score: new weights beside those of another run, at 64 x 64 with networks thinner than the demo's.

    python benchmarks/start_from.py source RUN --data DATA [--steps 1000]
    python benchmarks/start_from.py run OUT --task blossom --source RUN --data DATA [--seeds 0 1 2] [--steps 600]
    python benchmarks/start_from.py table OUT --task blossom

DATA holds trainA, trainB, testA and testB, whose test images of one name show the same in A and B. Each run trains one
way: `new` from new weights, `run` from all networks of the source, `model-K` from its generators alone with a warm-up
of K steps. Every 50 steps the test images are translated with the EMA weights and compared with the truth; a line of
OUT/TASK.jsonl has the PSNR of both directions. Runs whose line of the last step exists are not repeated.

source trains the run that the others start from.
table prints the mean final score of `new` and the first scored step at which each other way reaches it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from unpaired.config import override
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.metrics import psnr
from unpaired.recipes import Config, demo
from unpaired.runs import train
from unpaired.training.callbacks import StepView

EVERY = 50
WAYS = ("new", "run", "model-0", "model-20", "model-100")


def config_of(way: str, source: Path, data: Path, seed: int, steps: int) -> Config:
    """Return the demo's recipe with thin networks from new weights, or from those of the source."""
    settings: dict[str, Any] = {
        "generator.base_channels": 8,
        "generator.num_blocks": 4,
        "discriminator.base_channels": 16,
        "data.root": str(data),
        "schedule.num_steps": steps,
        "run.seed": seed,
        "run.num_threads": 1,
        "run.sample_every": 0,
        "run.checkpoint_every": 0,
        "run.guardian": "off",
        "run.trust_images": 0,
    }
    if way != "new":
        kind, _, warmup = way.partition("-")
        settings["start.weights"] = str(source if kind == "run" else source / "model")
        settings["start.warmup"] = int(warmup or 0)
    return override(demo(), settings)


class Scores:
    """Appends the PSNR of both directions on the test images, every EVERY steps and before the first one."""

    every, at_start = EVERY, True

    def __init__(self, file: Path, data: Path, facts: dict[str, Any], count: int) -> None:
        self._file, self._facts = file, facts
        self._images = {side: stacked(FolderSource(data / f"test{side}"))[:count] for side in "AB"}

    def after_step(self, view: StepView) -> None:
        """Score the weights of the step."""
        found = {}
        with view.generators() as generators:
            for direction, network in generators.items():
                real, truth = self._images[direction[0]], self._images[direction[-1]]
                found[direction] = round(float(psnr(network(real), truth).mean()), 3)
        with self._file.open("a") as file:
            file.write(json.dumps({**self._facts, "step": view.step, **found}) + "\n")


def run(out: Path, task: str, source: Path, data: Path, seeds: list[int], steps: int, ways: list[str]) -> None:
    """Train every way with every seed, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{task}.jsonl"
    for seed in seeds:
        for way in ways:
            if any((each["way"], each["seed"], each["step"]) == (way, seed, steps) for each in records(file)):
                continue
            scores = Scores(file, data, {"way": way, "seed": seed}, 40)
            config = config_of(way, source, data, seed, steps)
            train(config, out=out / f"{task}-{way}-{seed}", callbacks=[scores], quiet=True)


def records(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of scores."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(file: Path) -> None:
    """Print the scores by way and step, averaged over seeds, and the steps to the final score of `new`."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for each in records(file):
        found.setdefault((each["way"], each["seed"]), {})[each["step"]] = (each["AtoB"] + each["BtoA"]) / 2
    ways = [way for way in WAYS if any(way == name for name, _ in found)]
    seeds = sorted({seed for _, seed in found})
    for way in ways:
        curves = [found[way, seed] for seed in seeds if (way, seed) in found]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        means = " ".join(f"{step}:{statistics.mean(curve[step] for curve in curves):.2f}" for step in steps)
        print(f"{way} ({len(curves)} seeds) {means}")
    for way in ways[1:]:
        reached = []
        for seed in seeds:
            if (way, seed) in found and ("new", seed) in found:
                goal = found["new", seed][max(found["new", seed])]
                reached.append(next((step for step, value in sorted(found[way, seed].items()) if value >= goal), None))
        print(f"{way}: steps to the final score of new, by seed: {reached}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("source", "run", "table"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", default="")
    parser.add_argument("--source", type=Path, default=Path())
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    if given.verb == "source":
        train(config_of("new", Path(), given.data, 100, given.steps), out=given.out, quiet=True)
    elif given.verb == "run":
        run(given.out, given.task, given.source, given.data, given.seeds, given.steps, given.ways)
    else:
        table(given.out / f"{given.task}.jsonl")
