"""Training with and without masks on drawn trees: the error of backgrounds and of objects, against truth.

    python benchmarks/masks.py OUT [--count 300] [--num-test 60] [--steps 1500] [--seeds 0 1] [--only masks plain]

Domain A has green trees in summer, domain B blossoming trees in winter: the trees are to change, and the background is
to stay. Truth is the summer scene with blossoming trees. Masks are the pixels of the trees, which the drawing program
gives exactly. `plain` trains on the same images without masks. Training scenes of the two domains and the test scenes
are disjoint. A run is kept in OUT/NAME-SEED and is not trained again. Writes OUT/scores.json and OUT/masks.png: input,
plain, plain with the mask given to `translate`, masks, truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unpaired.config import override
from unpaired.evaluation.intervals import mean_interval
from unpaired.images import Image, write_image
from unpaired.recipes import demo
from unpaired.runs import train
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.translator import Translator

SIZE = 64
CHANGE = 60
"""Levels by which a pixel of a tree differs between green and blossom; its mirror image in water differs by less."""

LEAST = 0.03
"""The smallest share of trees in a scene; scenes without are left out."""

SHOWN = 6

Picture = NDArray[np.uint8]


def scenes(split: str, count: int) -> Iterator[tuple[Picture, Picture, Picture, Picture]]:
    """Yield `count` scenes: summer, summer with blossoming trees, winter with blossoming trees, the mask of trees."""
    number = 0
    for seed in scene_seeds(split, 20 * count + 100, 0):
        summer, blossom, winter = (draw_scene(seed, style, SIZE) for style in ("summer", "blossom", "winter"))
        trees = np.abs(summer.astype(int) - blossom).max(axis=2, keepdims=True) > CHANGE
        if trees.mean() < LEAST:
            continue
        yield summer, blossom, np.where(trees, blossom, winter), np.where(trees, 255, 0).astype(np.uint8)
        number += 1
        if number == count:
            return


def draw(root: Path, count: int) -> None:
    """Write trainA, trainB, maskA and maskB."""
    for domain, place in (("A", 0), ("B", 2)):
        if (root / f"mask{domain}").exists():
            continue
        for name in ("train", "mask"):
            (root / f"{name}{domain}").mkdir(parents=True)
        for number, scene in enumerate(scenes(f"train{domain}", count)):
            write_image(root / f"train{domain}" / f"{number:04d}.png", Image(scene[place]))
            write_image(root / f"mask{domain}" / f"{number:04d}.png", Image(scene[3]))


def trained(out: Path, name: str, seed: int, steps: int) -> Translator:
    """Return the translator of a run, which is trained unless it exists."""
    folder = out / f"{name}-{seed}"
    if not (folder / "model" / "model.json").exists():
        config = override(
            replace(demo()),
            {
                "data.root": str(out / "data"),
                "data.masks": "on" if name == "masks" else "off",
                "schedule.num_steps": steps,
                "generator.num_blocks": 4,
                "run.seed": seed,
                "run.num_threads": 1,
                "run.checkpoint_every": 0,
                "run.sample_every": steps,
            },
        )
        train(config, out=folder)
    return Translator.load(folder)


def figures(made: Picture, truth: Picture, given: Picture, mask: Picture) -> dict[str, float]:
    """Return mean absolute errors in levels: outside of the mask to the input, inside to truth."""
    inside = mask[:, :, 0] > 0
    error = np.abs(made.astype(float) - truth).mean(axis=2)
    kept = np.abs(made.astype(float) - given).mean(axis=2)
    return {
        "background": float(kept[~inside].mean()),
        "background changed": float((kept[~inside] > 8).mean()),
        "objects": float(error[inside].mean()),
    }


def main() -> None:
    """Train, score and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--num-test", type=int, default=60)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", default=["plain", "masks"])
    options = parser.parse_args()
    draw(options.out / "data", options.count)
    tests = list(scenes("test", options.num_test))
    scores: dict[str, Any] = {}
    columns: dict[str, list[Picture]] = {"input": [summer for summer, *_ in tests[:SHOWN]]}
    for seed in options.seeds:
        for name in options.only:
            translator = trained(options.out, name, seed, options.steps)
            for way in ["whole", "mask given"]:
                rows = []
                for summer, blossom, _, mask in tests:
                    own = mask if way == "mask given" else None
                    made = translator(summer, mask=own, feather=0)
                    rows.append(figures(made, blossom, summer, mask))
                    if seed == options.seeds[0] and len(rows) <= SHOWN:
                        columns.setdefault(f"{name}, {way}", []).append(made)
                scores[f"{name}, {way}, seed {seed}"] = {
                    key: mean_interval(torch.tensor([row[key] for row in rows])) for key in rows[0]
                }
    columns["truth"] = [blossom for _, blossom, *_ in tests[:SHOWN]]
    for row, found in scores.items():
        print(row, {key: f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for key, one in found.items()})
    (options.out / "scores.json").write_text(
        json.dumps({row: {key: one.to_dict() for key, one in found.items()} for row, found in scores.items()}, indent=1)
    )
    picture = np.concatenate([np.concatenate(column, axis=1) for column in columns.values()], axis=0)
    print("rows:", ", ".join(columns))
    write_image(options.out / "masks.png", Image(np.ascontiguousarray(picture.repeat(2, 0).repeat(2, 1))))


if __name__ == "__main__":
    main()
