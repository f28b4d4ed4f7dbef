"""How many translations are better than a recolouring, before and after keeping the most trusted fifth.

    python benchmarks/best_fifth.py RUN [RUN ...] [--count 200] [--json FILE]

Each RUN is a finished run on drawn summers (A) and winters (B) at 64 x 64. Test scenes of world 0, which no run was
trained on, are translated in every direction of the run. A result counts as better than the colour transform if its
PSNR (or SSIM) against the truth is higher than that of the transform, a polynomial of degree 4 fitted with the truth of
200 scenes of another world. The trusted fifth is the one that `unpaired translate --keep-best 20%` keeps. Printed are
shares with 95 % bootstrap intervals over scenes, by run and direction, and their means.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from unpaired.evaluation.colour import ColourTransform
from unpaired.evaluation.intervals import mean_interval
from unpaired.evaluation.metrics import psnr, ssim
from unpaired.images import Image, to_tensor
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.jobs import Job
from unpaired.translate.translator import Translator
from unpaired.trust.scored import best, load_scorer

STYLES = {"A": "summer", "B": "winter"}
SHARE = 0.2
FITTED = 77
"""Seed of the world whose scenes the colour transform is fitted on."""


def drawn(style: str, world: int, count: int) -> list[Image]:
    """Return test scenes of a world."""
    return [Image(draw_scene(seed, style, 64)) for seed in scene_seeds("test", count, world)]


def tensors(images: list[Image]) -> Tensor:
    """Return images as n 3 h w in [-1, 1]."""
    return torch.stack([to_tensor(image, 3) for image in images])


def better(run: Path, direction: str, count: int) -> dict[str, dict[str, Tensor]]:
    """Return, by metric, whether each result is better than the colour transform: all of them, and the trusted fifth.

    "fifth" has only the results that are kept, "best" the fifth with the highest metric, which needs the truth.
    """
    source, target = STYLES[direction[0]], STYLES[direction[-1]]
    given, truth = drawn(source, 0, count), tensors(drawn(target, 0, count))
    transform = ColourTransform.fit([(tensors(drawn(source, FITTED, 200)), tensors(drawn(target, FITTED, 200)))])
    coloured = transform(tensors(given))
    translator = Translator.load(run, device="cpu")
    scorer = load_scorer(translator, run, direction)
    made = translator.translate_images(given, direction=direction)
    jobs = [Job(Path(str(number)), Path(str(number))) for number in range(count)]
    trusts = {job: scorer(before, after) for job, before, after in zip(jobs, given, made, strict=True)}
    kept = torch.tensor([jobs.index(job) for job in best(trusts, SHARE)])
    found = {}
    for name, metric in (("PSNR", psnr), ("SSIM", ssim)):
        own, other = metric(tensors(made), truth), metric(coloured, truth)
        is_better = (own > other).double()
        found[name] = {"all": is_better, "fifth": is_better[kept], "own": own, "own of fifth": own[kept]}
    return found


def cell(values: Tensor) -> str:
    """Return a share in per cent with its interval."""
    found = mean_interval(values)
    return f"{100 * found.value:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    columns = [f"{name}, {part}" for name in ("PSNR", "SSIM") for part in ("all", "trusted fifth")]
    print(f"| run | direction | {' | '.join(columns)} |\n|" + "---|" * (2 + len(columns)))
    results, means = {}, []
    for run in options.runs:
        for direction in Translator.load(run, device="cpu").directions:
            found = better(run, direction, options.count)
            shares = [found[name][part] for name in ("PSNR", "SSIM") for part in ("all", "fifth")]
            print(f"| {run.name} | {direction} | {' | '.join(map(cell, shares))} |", flush=True)
            means.append([float(share.mean()) for share in shares])
            results[f"{run.name} {direction}"] = {
                name: {part: values.tolist() for part, values in parts.items()} for name, parts in found.items()
            }
    print(f"| mean | | {' | '.join(f'{100 * float(value):.0f}' for value in torch.tensor(means).mean(0))} |")
    if options.json:
        options.json.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
