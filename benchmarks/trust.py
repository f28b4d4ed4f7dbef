"""What scores of trust are worth: against the true error of drawn scenes, and against scenes of other styles.

    python benchmarks/trust.py RUN DATA [--direction AtoB] [--count 100] [--also FOLDER ...] [--table FILE]

RUN is a finished demo run, DATA its data: DATA/testA and DATA/testB show the same scenes, so the one is the truth of
the other. Printed are, for the score and for each of its parts: the rank correlation (Spearman) with the true error,
which is to be negative, with its bootstrap 95 % interval over scenes; the mean error of the most trusted fifth beside
that of all; the area under the curve (AUC) of telling scenes of other styles (and images of the folders) from scenes
of the right one; and how evenly the scores of the test scenes are spread, as the greatest distance of their
distribution from the even one. --table keeps every number as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from unpaired.artifacts.run_folder import RunFolder
from unpaired.data.sources import FolderSource
from unpaired.evaluation.truth import against_truth
from unpaired.images import Image, resize, to_tensor
from unpaired.randomness import rng
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.translator import Translator
from unpaired.trust.fitting import publish_trust
from unpaired.trust.score import Scorer
from unpaired.trust.scored import load_scorer

STYLES = {"A": "summer", "B": "winter"}


def scored(scorer: Scorer, images: list[Image]) -> tuple[dict[str, np.ndarray], list[Image]]:
    """Return the score and its parts of each image, and the translations."""
    made = scorer.translator.translate_images(images, direction=scorer.direction)
    trusts = [scorer(given, result) for given, result in zip(images, made, strict=True)]
    names = ("score", *trusts[0].parts)
    values = {name: np.array([({"score": t.score} | dict(t.parts))[name] for t in trusts]) for name in names}
    return values | {"foreign": np.array([t.out_of_distribution for t in trusts], dtype=float)}, made


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, equal values sharing the middle one."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation."""
    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def with_interval(x: np.ndarray, y: np.ndarray) -> str:
    """Return the rank correlation with its bootstrap interval."""
    draws = rng(0, "trust benchmark").integers(0, len(x), (2000, len(x)))
    low, high = np.quantile([spearman(x[drawn], y[drawn]) for drawn in draws], [0.025, 0.975])
    return f"{spearman(x, y):+.2f} [{low:+.2f}, {high:+.2f}]"


def auc(own: np.ndarray, foreign: np.ndarray) -> float:
    """Return the chance that a foreign image has less than one of the right kind, equal ones counting half."""
    return float((foreign[:, None] < own).mean() + 0.5 * (foreign[:, None] == own).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--direction", default="AtoB", choices=("AtoB", "BtoA"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    publish_trust(RunFolder(options.run), 256, print)
    translator = Translator.load(options.run, device="cpu")
    scorer = load_scorer(translator, options.run, options.direction)
    source, target = options.direction[0], options.direction[-1]
    sides = [FolderSource(options.data / f"test{domain}") for domain in (source, target)]
    count = min(options.count, len(sides[0]))
    images, truths = ([side[index] for index in range(count)] for side in sides)
    own, made = scored(scorer, images)
    pairs = [torch.stack([to_tensor(image, 3) for image in group]) for group in (made, truths)]
    figures = against_truth([(pairs[0], pairs[1])])
    errors = {"L1": figures["l1"].numpy(), "1 - SSIM": 1 - figures["ssim"].numpy()}

    seeds, size = scene_seeds("test", count, 0), images[0].height
    foreign = {f"{STYLES[target]}, the target": truths}
    for style in ("night", "labels"):
        foreign[style] = [Image(pixels=draw_scene(seed, style, size)) for seed in seeds]
    for folder in options.also:
        others = FolderSource(folder)
        foreign[str(folder)] = [resize(others[index], (size, size)) for index in range(min(count, len(others)))]
    strangers = {name: scored(scorer, some)[0] for name, some in foreign.items()}

    best = max(1, round(0.2 * count))
    print(f"{options.direction}: {count} scenes; flagged as foreign {own['foreign'].mean():.2f}")
    for name in (key for key in own if key != "foreign"):
        top = np.argsort(-own[name], kind="stable")[:best]
        for figure, error in errors.items():
            print(
                f"{name}: {figure}: correlation {with_interval(own[name], error)}; mean of all {error.mean():.4f}, of "
                f"the best fifth {error[top].mean():.4f} (of the truly best {np.sort(error)[:best].mean():.4f})"
            )
        print(f"{name}: AUC", {key: round(auc(own[name], values[name]), 3) for key, values in strangers.items()})
    even = np.sort(own["score"])
    gap = np.abs(even - (np.arange(count) + 0.5) / count).max()
    print(f"score: greatest distance from an even spread {gap:.3f}, by chance above {1.36 / count**0.5:.3f} once in 20")
    print("flagged:", {key: round(float(values["foreign"].mean()), 2) for key, values in strangers.items()})
    if options.table:
        tables = {"own": own, **strangers}
        plain = {key: {name: list(map(float, values)) for name, values in t.items()} for key, t in tables.items()}
        plain["errors"] = {key: list(map(float, error)) for key, error in errors.items()}
        options.table.write_text(json.dumps(plain))


if __name__ == "__main__":
    main()
