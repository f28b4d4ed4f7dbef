"""Change of shape on drawn objects, against truth: networks, discriminators and loss weights at equal steps.

    python benchmarks/geometry.py OUT [--world fruit] [--steps 1500] [--size 48] [--seeds 0 1 2] [--only paper geometry]
    python benchmarks/geometry.py OUT --validation ...       explore: scored on 64 other scenes than the table's

Every configuration is the demo's with some settings of CONFIGURATIONS changed. A run is kept in
OUT/WORLD-SIZE/NAME-SEED and is not trained again. Training scenes of the two domains are disjoint, and the scenes of
the scores belong to neither. Prints, for each configuration and direction, the mean over seeds of each figure with the
smallest and the largest; writes OUT/WORLD-SIZE/scores.json and, for each run, a picture: input, translation, truth.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpaired.config import override
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.intervals import mean_interval
from unpaired.evaluation.metrics import psnr, ssim
from unpaired.evaluation.object_masks import mask_iou, moved_share, object_masks
from unpaired.images import Image, write_image
from unpaired.images.tensors import as_files, levels
from unpaired.networks import ImageGAN, UNetGenerator
from unpaired.recipes import Config, at_size, demo
from unpaired.reproduce.tables import spread
from unpaired.runs import train
from unpaired.scenes.draw import draw_dataset
from unpaired.scenes.shapes import CHROMA_THRESHOLD
from unpaired.scenes.worlds import WORLDS
from unpaired.translate.translator import Translator

VALIDATION = 1001
"""Seed of the scenes for exploring; the runs' own and the table's have seed 0."""

FIELD_34: dict[str, Any] = {"discriminator.num_layers": 2}
LOOSE = {"objective.cycle_weight_a": 1.0, "objective.cycle_weight_b": 1.0, "objective.identity_weight": 0.0}
UNET = UNetGenerator(num_downs=4, base_channels=32, norm="instance")

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "paper": {"discriminator.num_layers": 1},
    "field 34": FIELD_34,
    "field 70": {"discriminator.num_layers": 3},
    "whole image": {"discriminator": ImageGAN(size=48, base_channels=32)},
    "unet": {**FIELD_34, "generator": UNET},
    "unet, 2 skips": {**FIELD_34, "generator": replace(UNET, num_skips=2)},
    "unet, no skips": {**FIELD_34, "generator": replace(UNET, num_skips=0)},
    "deformable": {**FIELD_34, "generator.num_deformable_blocks": 3},
    "attention": {**FIELD_34, "generator.num_attention_blocks": 2},
    "geometry": {
        **FIELD_34,
        "objective.cycle_weight_a": 4.0,
        "objective.cycle_weight_b": 4.0,
        "objective.identity_weight": 0.0,
        "generator.displacement": True,
    },
    "displacement": {**FIELD_34, "generator.displacement": True},
    "displacement, field 16": {"discriminator.num_layers": 1, "generator.displacement": True},
    "displacement, no identity": {
        **FIELD_34,
        "objective.identity_weight": 0.0,
        "generator.displacement": True,
    },
    "displacement, loose": {**FIELD_34, **LOOSE, "generator.displacement": True},
    "loose": {**FIELD_34, **LOOSE},
}
"""Settings, or whole parts, that differ from the demo's, by name.

`paper` has the field of its discriminator in proportion, 16 of 48 pixels; the paper's is 70 of 256.
"""


def config_of(name: str, data: Path, size: int, steps: int, seed: int) -> Config:
    """Return the configuration of one run."""
    settings = {
        **CONFIGURATIONS[name],
        "data.root": str(data),
        "schedule.num_steps": steps,
        "run.seed": seed,
        "run.publish": "last",
        "run.sample_every": 0,
        "run.checkpoint_every": 5 * steps,
        "run.log_every": 100,
        "run.trust_images": 0,
    }
    parts = {name: part for name, part in settings.items() if "." not in name}
    values = {path: value for path, value in settings.items() if "." in path}
    return override(replace(at_size(demo(), size), **parts), values)


Figures = dict[str, dict[str, Any]]
"""Figures with an interval over the scenes, by direction and name."""


def scores_of(run: Path, scenes: Path, *, has_objects: bool) -> Figures:
    """Return the figures of a run, and write its picture."""
    translator, found, strips = Translator.load(run), {}, []
    for direction in translator.directions:
        real, truth = images_of(scenes, direction)
        made = as_files(torch.cat([translator(part, direction=direction) for part in real.split(10)]))
        found[direction] = figures(real, made, truth, has_objects=has_objects)
        strips += [side_by_side(images[:12]) for images in (real, made, truth)]
    write_image(run / "geometry.png", Image(pixels=np.concatenate(strips)))
    return found


def images_of(scenes: Path, direction: str) -> tuple[Tensor, Tensor]:
    """Return the inputs of a direction and their truth."""
    a, b = (stacked(FolderSource(scenes / f"test{domain}")) for domain in (direction[0], direction[-1]))
    return a, b


def figures(real: Tensor, made: Tensor, truth: Tensor, *, has_objects: bool) -> dict[str, Any]:
    """Return the mean figures of translations, with an interval over the scenes."""
    each = {"psnr": psnr(made, truth), "ssim": ssim(made, truth)}
    if has_objects:
        before, found, wanted = (object_masks(images, CHROMA_THRESHOLD) for images in (real, made, truth))
        each = {"iou": mask_iou(found, wanted), "moved": moved_share(found, wanted, before), **each}
    return {name: mean_interval(values).to_dict() for name, values in each.items()}


def side_by_side(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return images n c h w in one row, h n·w c."""
    return levels(images).byte().permute(2, 0, 3, 1).flatten(1, 2).numpy()


def main() -> None:
    """Draw, train what is missing, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--world", choices=WORLDS, default="fruit")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--validation", action="store_true")
    given = parser.parse_args()
    out = given.out / f"{given.world}-{given.size}"
    a, b = WORLDS[given.world][:2]
    data, scenes = out / "data", out / ("validation" if given.validation else "data")
    draw_dataset(data, a=a, b=b, count=600, size=given.size, num_test=100)
    if given.validation:
        draw_dataset(scenes, a=a, b=b, count=1, size=given.size, num_test=64, seed=VALIDATION)
    has_objects = given.world != "landscapes"
    results: dict[str, list[Figures]] = {name: [] for name in given.only}
    for seed in given.seeds:
        for name in given.only:
            run = out / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            train(config_of(name, data, given.size, given.steps, seed), out=run)
            results[name].append(scores_of(run, scenes, has_objects=has_objects))
            means = {way: {k: round(v["value"], 3) for k, v in f.items()} for way, f in results[name][-1].items()}
            print(name, seed, means, flush=True)
    kind = "validation" if given.validation else "scores"
    (out / f"{kind}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    pairs = {way: images_of(scenes, way) for way in ("AtoB", "BtoA")}
    still = {way: figures(real, real, truth, has_objects=has_objects) for way, (real, truth) in pairs.items()}
    print_table({"input, unchanged": [still], **results})


def print_table(results: dict[str, list[Figures]]) -> None:
    """Print the mean over seeds of each figure with its smallest and largest."""
    names = list(next(iter(results.values()))[0]["AtoB"])
    print(f"| configuration | direction | {' | '.join(names)} |\n|{'---|' * (2 + len(names))}")
    for configuration, runs in results.items():
        for way in runs[0]:
            cells = (spread([run[way][name]["value"] for run in runs], 2 if name == "psnr" else 3) for name in names)
            print(f"| {configuration} | {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
