"""Translations of large drawings by a model of small ones, at their own size and at the scale of its training.

    python benchmarks/scale.py RUN --side 256 --count 40

RUN is a run of the recipe demo on drawn summer and winter scenes. The scenes are of a split that no run trains on, and
are drawn at `--side` in both styles, so that the truth is known. Printed is the mean absolute difference to the truth,
in levels of 0..255, with the standard error over the scenes, for each `--resize`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from unpaired.images import Image
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.translator import Translator


def main() -> None:
    """Draw, translate and print a line for each size of translation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=77)
    given = parser.parse_args()
    seeds = scene_seeds("test", given.count, seed=given.seed)
    pairs = [(draw_scene(seed, "summer", given.side), draw_scene(seed, "winter", given.side)) for seed in seeds]
    trained = Translator.load(given.run).info.training.load_size
    assert trained is not None
    for resize in ("native", trained, 2 * trained):
        translator = Translator.load(given.run, resize=resize)
        errors = [np.abs(translator(Image(scene)).pixels.astype(float) - truth).mean() for scene, truth in pairs]
        error = np.std(errors, ddof=1) / np.sqrt(len(errors))
        print(f"--resize {resize!s:8} {np.mean(errors):6.2f} +- {error:.2f} levels")
    untouched = [np.abs(scene.astype(float) - truth).mean() for scene, truth in pairs]
    print(f"untranslated      {np.mean(untouched):6.2f}")


if __name__ == "__main__":
    main()
