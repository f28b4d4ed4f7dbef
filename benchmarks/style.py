"""Style transfer on drawn scenes against ground truth: one image, a collection, and what they are compared with.

    python benchmarks/style.py OUT [--seeds 0 1 2] [--count 24]

Draws scenes for each seed into OUT, transfers the style of winter to the summer test scenes, and prints PSNR with the
interval over all images of all seeds. Writes OUT/style.json and, for the first seed, OUT/style.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from unpaired.artifacts.samples import draw_samples, write_samples
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.colour import ColourTransform
from unpaired.evaluation.intervals import mean_interval
from unpaired.images.tensors import as_files
from unpaired.scenes.draw import draw_dataset
from unpaired.translate.style_images import StyleImages
from unpaired.translate.style_transfer import style_translator

ROWS = ("no translation", "colour transform", "style of one image", "style of a collection")


def psnr(made: Tensor, truth: Tensor) -> Tensor:
    """Return the PSNR of each image n c h w in [-1, 1], in dB."""
    return 10 * torch.log10(4 / (as_files(made) - truth).square().flatten(1).mean(1))


def of_seed(out: Path, seed: int, count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the PSNR of each image by row, and the images."""
    data = out / f"scenes-{seed}"
    if not data.exists():
        draw_dataset(data, a="summer", b="winter", count=200, size=64, seed=seed, num_test=count)
    real, truth = (stacked(FolderSource(data / f"test{domain}"))[:count] for domain in "AB")
    winter = FolderSource(data / "trainB").paths
    made = {"no translation": real, "colour transform": ColourTransform.fit([(real, truth)])(real)}
    for row, paths in (("style of one image", winter[:1]), ("style of a collection", winter)):
        start = time.process_time()
        made[row] = style_translator(StyleImages.of_files(paths), device="cpu")(real)
        print(
            f"seed {seed}, {row}: {(time.process_time() - start) / count:.1f} s of processor time an image", flush=True
        )
    return {row: psnr(made[row], truth) for row in ROWS}, {**made, "truth": truth}


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--count", type=int, default=24)
    given = arguments.parse_args()
    found: dict[str, list[Tensor]] = {row: [] for row in ROWS}
    for seed in given.seeds:
        values, images = of_seed(given.out, seed, given.count)
        for row, each in values.items():
            found[row].append(each)
        if seed == given.seeds[0]:
            columns = {"real_a": images["no translation"], "truth_b": images["truth"]}
            columns |= {name.replace(" ", "_"): images[name] for name in ROWS[1:]}
            sheet = {"AtoB": {name: some[:6] for name, some in columns.items()}}
            write_samples(
                given.out / "style.png", draw_samples(sheet, names={"A": "summer", "B": "winter"}, caption="")
            )
    results = {}
    for row, parts in found.items():
        each = [round(float(part.mean()), 2) for part in parts]
        interval = mean_interval(torch.cat(parts))
        results[row] = {**interval.to_dict(), "seeds": each}
        print(f"| {row} | {interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}] | {each} |")
    (given.out / "style.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
