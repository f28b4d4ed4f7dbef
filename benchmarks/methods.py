"""Every method on drawn scenes, labels and summer, against truth: the same networks, the same number of steps.

    python benchmarks/methods.py OUT [--steps 1500] [--seeds 0 1 2] [--only cyclegan pix2pix]

Each run is kept in OUT/METHOD-SEED and continues when it was interrupted; a finished one is not run again. Unpaired
methods learn from labels and summers of disjoint scenes, pix2pix from pairs of the first. All are scored on the same
100 unseen scenes. Prints, for each method and direction, the mean over the seeds of PSNR and SSIM, with their smallest
and largest, and writes OUT/methods.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from unpaired.config import override
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.truth import score
from unpaired.recipes import Config
from unpaired.reproduce import labelled
from unpaired.reproduce.labelled import Labelled
from unpaired.reproduce.methods import ABLATION, Trial
from unpaired.reproduce.methods import config_of as configured
from unpaired.reproduce.tables import spread
from unpaired.runs import train
from unpaired.translate.translator import Translator

METHODS = (*ABLATION, "pix2pix", "cut", "cyclegan-identity")
"""As in the paper's comparison none has an identity term, but for the last."""


def config_of(method: str, data: Labelled, steps: int, seed: int) -> Config:
    """Return the recipe's objective and data, with the demo's networks and optimizer."""
    identity = method == "cyclegan-identity"
    config = configured(Trial("cyclegan" if identity else method, "AtoB", seed), data, steps)
    return override(config, {"objective.identity_weight": 0.5}) if identity else config


def scores_of(run: Path, data: Path) -> dict[str, dict[str, float]]:
    """Return the figures of a run against truth, by direction."""
    translator = Translator.load(run)
    figures = {}
    for direction in translator.directions:
        folders = (data / "unpaired" / f"test{domain}" for domain in (direction[0], direction[-1]))
        real, truth = (stacked(FolderSource(folder)) for folder in folders)
        made = torch.cat([translator(part, direction=direction) for part in real.split(10)])
        figures[direction] = score([(made, truth)]).to_dict()
    return figures


def main() -> None:
    """Draw, train what is missing, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    given = parser.parse_args()
    data = given.out / "data"
    drawn = labelled.drawn(data)
    results: dict[str, list[dict[str, dict[str, float]]]] = {method: [] for method in given.only}
    for seed in given.seeds:
        for method in given.only:
            run = given.out / f"{method}-{seed}"
            train(config_of(method, drawn, given.steps, seed), out=run)
            results[method].append(scores_of(run, data))
            print(method, seed, results[method][-1], flush=True)
    (given.out / "methods.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("| method | direction | PSNR, dB | SSIM |\n|---|---|---|---|")
    for method, runs in results.items():
        for direction in runs[0]:
            psnr, ssim = ([run[direction][name] for run in runs] for name in ("psnr", "ssim"))
            print(f"| {method} | {direction} | {spread(psnr, 2)} | {spread(ssim, 3)} |")


if __name__ == "__main__":
    main()
