"""The official code trained to the quality that `time_to_quality.py` scores: same networks, data, schedule and clock.

    python benchmarks/official_quality.py OUT CHECKOUT --seed 0 --steps 3800 --test OUT/data/unseen
    python benchmarks/official_quality.py OUT CHECKOUT --task maps --seed 0 --steps 2200

OUT is what `time_to_quality.py prepare OUT` wrote; CHECKOUT a clone of junyanz/pytorch-CycleGAN-and-pix2pix, of which
`models` and `util` alone are imported, so torchvision is not needed. Its CycleGAN model, as it is, takes the steps
(`set_input`, `optimize_parameters`) with the networks and weights of losses of the arm `paper`; batches, and the
learning rate of each step, are those that our run of the same seed would have. Every 200 steps both generators are
kept in memory; after training they translate the test images, of the data trained on where no other folder is given,
and lines are appended to scores.jsonl in OUT/TASK-official-SEED. The clock is the processor time of training, one
thread, as there.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from time_to_quality import config_of, figures_of, images_of

from unpaired.bench.official_clone import OfficialCode
from unpaired.data.domains import open_domains
from unpaired.interop.official.weight_names import from_official
from unpaired.recipes import Config, build_objective
from unpaired.training.schedule import Schedule

EVERY = 200
GENERATORS = {"AtoB": "netG_A", "BtoA": "netG_B"}


def trained(model: Any, config: Config) -> list[tuple[int, float, dict[str, Any]]]:
    """Train, and return (step, seconds, state dicts of the generators by direction) every EVERY steps."""
    dataset = open_domains(config.data).dataset(config.data, config.run.seed)
    schedule = Schedule(config.schedule, dataset.length, config.data.batch_size)
    kept, spent, began = [], 0.0, time.process_time()
    for step in range(1, schedule.num_steps + 1):
        batch = dataset[step]
        for optimizer in (model.optimizer_G, model.optimizer_D):
            for group in optimizer.param_groups:
                group["lr"] = config.optimizer.learning_rate * schedule.multiplier(step)
        model.set_input({"A": batch.a, "B": batch.b, "A_paths": "", "B_paths": ""})
        model.optimize_parameters()
        if step % EVERY == 0:
            spent += time.process_time() - began
            copies = {
                direction: {key: value.clone() for key, value in getattr(model, name).state_dict().items()}
                for direction, name in GENERATORS.items()
            }
            kept.append((step, round(spent, 2), copies))
            print(f"step {step}/{schedule.num_steps}, {spent:.0f} s", flush=True)
            began = time.process_time()
    return kept


def main() -> None:
    """Train, score and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--task", choices=["scenes", "maps"], default="scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3800)
    parser.add_argument("--test", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = config_of(given.out, given.task, "paper", given.steps, given.seed)
    random.seed(given.seed)  # the official pools draw from it
    torch.manual_seed(given.seed)
    official = OfficialCode(given.checkout).training(config.data.crop_size, torch.device("cpu"))
    kept = trained(official.model, config)
    objective = build_objective(config).eval()
    root = given.test or Path(config.data.root)
    images = {domain: images_of(root / f"test{domain}") for domain in "AB"}
    run = given.out / f"{given.task}-official-{given.seed}"
    run.mkdir(exist_ok=True)
    with (run / "scores.jsonl").open("a", encoding="utf-8") as file:
        for step, seconds, weights in kept:
            line = {"step": step, "seconds": seconds, "weights": "trained"}
            for direction, network in objective.generators().items():
                network.load_state_dict(from_official(config.generator, weights[direction]))
            file.write(json.dumps({**line, **figures_of(objective, images, maps=given.task == "maps")}) + "\n")


if __name__ == "__main__":
    main()
