"""Quality over time: recipes on drawn scenes and on maps, trained unpaired at 64 x 64, scored against truth.

    python benchmarks/time_to_quality.py prepare OUT --maps DATA
    python benchmarks/time_to_quality.py train OUT --task scenes --recipe paper --seed 0 --steps 3800
    python benchmarks/time_to_quality.py score OUT/scenes-paper-0 --test OUT/data/unseen

prepare draws summer and winter scenes (600 a domain, 100 others) and cuts the published maps: the
aerials of the first half of train by file number, the maps of the second half, so that no pair is trained on, and val
for the score. It also draws 100 scenes that chose nothing (`unseen`): the demo's networks were chosen on the first
100. train continues an interrupted run; every checkpoint is kept; --fewer-products has every 3 x 3 convolution of the
residual blocks by fewer products, of however few channels and pixels, where the processor does that at all. score
translates the test images, of the data trained on or of another folder, with every checkpoint's trained and averaged
weights (--every: of these steps alone) and appends lines to scores.jsonl (scores-unseen.jsonl) in the run's folder.

The clock is the processor time of the training process, with one thread: on a machine that does other things as well it
is near what the wall clock would show on a quiet one. The first 20 steps are taken from the wall clock. Looking
through the images before the first step is not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from maps import PALETTE
from PIL import Image as Picture

from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.bench.cases import config_at
from unpaired.config import override, read_yaml
from unpaired.data.sources import FolderSource
from unpaired.evaluation.intervals import Interval, mean_interval
from unpaired.evaluation.segmentation import confusions, nearest_colours, segmentation_scores
from unpaired.evaluation.truth import against_truth
from unpaired.images import resize, to_tensor
from unpaired.networks import winograd
from unpaired.recipes import Config, demo, fast
from unpaired.runs import build_objective, train
from unpaired.scenes.draw import draw_dataset
from unpaired.training.progress import Progress

STORED = 128
"""Side that the halves of the published 1200 x 600 maps are kept at; training resizes them to 72."""


def prepare(out: Path, maps: Path) -> None:
    """Write OUT/data/scenes and OUT/data/maps, the folders trainA, trainB, testA and testB each."""
    draw_dataset(out / "data" / "scenes", a="summer", b="winter", count=600, size=64, num_test=100)
    draw_dataset(out / "data" / "unseen", a="summer", b="winter", count=1, size=64, num_test=100, seed=20261125)
    train_files = sorted(maps.joinpath("train").iterdir(), key=lambda path: int(path.stem))
    half = len(train_files) // 2
    for name, files, side in (
        ("trainA", train_files[:half], 0),
        ("trainB", train_files[half:], 1),
        ("testA", sorted(maps.joinpath("val").iterdir()), 0),
        ("testB", sorted(maps.joinpath("val").iterdir()), 1),
    ):
        folder = out / "data" / "maps" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            with Picture.open(path) as pair:
                edge = pair.width // 2
                part = pair.convert("RGB").crop((side * edge, 0, (side + 1) * edge, pair.height))
            part.resize((STORED, STORED), Picture.Resampling.LANCZOS).save(folder / f"{path.stem}.png")


def small() -> Config:
    """Return the demo's recipe in bfloat16 with a longer average."""
    return override(demo(), {"run.precision": "bf16", "optimizer.ema_decay": 0.998})


def config_of(out: Path, task: str, recipe: str, steps: int, seed: int) -> Config:
    """Return a recipe at 64 x 64 for a task; the paper's has half the published width, as `unpaired bench` times it."""
    config = {"paper": lambda: config_at(64), "small": small, "fast": fast}[recipe]()
    names = {"scenes": ("summer", "winter"), "maps": ("aerial", "map")}[task]
    settings = {
        "data.root": str(out / "data" / task),
        "data.name_a": names[0],
        "data.name_b": names[1],
        "schedule.num_steps": steps,
        "run.seed": seed,
        "run.num_threads": 1,
        "run.log_every": 20,
        "run.sample_every": 1000,
        "run.checkpoint_every": 200,
        "run.keep_checkpoints": 1000,
        "run.guardian_every": 100,
        "run.trust_images": 0,
    }
    # Kept beside the trained weights, to measure what averaging does; it changes no training step.
    averaged = {} if config.optimizer.ema_decay else {"optimizer.ema_decay": 0.998}
    return override(config, {**settings, **averaged})


def trained(out: Path, task: str, recipe: str, steps: int, seed: int) -> None:
    """Train one run to its end, and keep the clock: a line of clock.jsonl for each logged step."""
    run = out / f"{task}-{recipe}-{seed}"
    clock = run / "clock.jsonl"
    base: list[float] = []

    def note(progress: Progress) -> None:
        """Count on from where an interrupted try of this run was."""
        if not base:
            lines = [json.loads(line) for line in clock.read_text().splitlines()] if clock.exists() else []
            before = max((line["seconds"] for line in lines if line["step"] < progress.step), default=0.0)
            # From the start of training, as near as the first report tells.
            base.append(before - time.process_time() + progress.seconds)
        with clock.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": progress.step, "seconds": round(base[0] + time.process_time(), 2)}) + "\n")

    train(config_of(out, task, recipe, steps, seed), out=run, listener=note)


def images_of(folder: Path) -> torch.Tensor:
    """Return the images of a folder in the order of their names, n 3 64 64 in [-1, 1]."""
    source = FolderSource(folder)
    return torch.stack([to_tensor(resize(source[index], (64, 64)), 3) for index in range(len(source))])


def figures(made: torch.Tensor, truth: torch.Tensor, *, is_map: bool) -> dict[str, Interval]:
    """Return the figures of translations against truth, intervals over images: classes for maps, PSNR otherwise."""
    each = against_truth([(made, truth)])
    found = {name: mean_interval(each[name]) for name in ("psnr", "ssim")}
    if is_map:
        palette = list(PALETTE.values())
        counts = confusions(nearest_colours(made, palette), nearest_colours(truth, palette), len(palette))
        found |= segmentation_scores([counts])
    return found


def figures_of(objective: Any, images: dict[str, torch.Tensor], *, maps: bool = False) -> dict[str, Any]:
    """Return the figures of both directions' translations of the test images, as JSON takes them."""
    found = {}
    for direction, network in objective.generators().items():
        with torch.no_grad():
            made = torch.cat([network(part) for part in images[direction[0]].split(10)])
        told = figures(made, images[direction[-1]], is_map=maps and direction == "AtoB")
        found[direction] = {name: interval.to_dict() for name, interval in told.items()}
    return found


def scored(run: Path, test: Path | None, every: int) -> None:
    """Append a line to scores.jsonl for each checkpoint of every so many steps and kind of weights."""
    config = read_yaml(Config, run / "config.yaml")
    objective, root = build_objective(config).eval(), test or Path(config.data.root)
    images = {domain: images_of(root / f"test{domain}") for domain in "AB"}
    clock = {line["step"]: line["seconds"] for line in map(json.loads, (run / "clock.jsonl").open(encoding="utf-8"))}
    with (run / (f"scores-{test.name}.jsonl" if test else "scores.jsonl")).open("a", encoding="utf-8") as file:
        for path in reversed(list_checkpoints(run / "checkpoints")):
            if int(path.name.removeprefix("step-")) % every:
                continue
            found = load_checkpoint(path)
            prefix = "translators."
            trained_weights = {
                name.removeprefix(prefix): value
                for name, value in found.parts["weights"].items()
                if name.startswith(prefix)
            }
            for kind, weights in (("trained", trained_weights), ("averaged", found.parts["average"])):
                objective.translators.load_state_dict(weights)
                line = {"step": found.step, "seconds": clock.get(found.step), "weights": kind}
                told = figures_of(objective, images, maps=root.name == "maps")
                file.write(json.dumps({**line, **told}) + "\n")


def main() -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    given = verbs.add_parser("prepare")
    given.add_argument("out", type=Path)
    given.add_argument("--maps", type=Path, required=True)
    given = verbs.add_parser("train")
    given.add_argument("out", type=Path)
    given.add_argument("--task", choices=["scenes", "maps"], required=True)
    given.add_argument("--recipe", required=True)
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--steps", type=int, required=True)
    given.add_argument("--fewer-products", action="store_true")
    given = verbs.add_parser("score")
    given.add_argument("run", type=Path)
    given.add_argument("--test", type=Path)
    given.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    if given.verb == "prepare":
        prepare(given.out, given.maps)
    elif given.verb == "score":
        scored(given.run, given.test, given.every)
    else:
        if given.fewer_products:  # its limits are those of time; here it is quality that is asked for
            winograd.LEAST_CHANNELS = winograd.LEAST_PIXELS = 1
        trained(given.out, given.task, given.recipe, given.steps, given.seed)


if __name__ == "__main__":
    main()
