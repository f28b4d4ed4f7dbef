"""pix2pix on the published maps at 64 x 64, aerial photo to map, scored against truth on the val pairs.

    python benchmarks/maps.py DATA OUT [--steps 1600] [--seeds 0 1 2]

DATA holds train and val of side-by-side pairs (aerial left, map right). Each run is kept in OUT/pix2pix-SEED and
continues when it was interrupted; a finished one is not run again. Pixel figures flatter a constant colour here, as
most of a map is one beige, so the class figures count: each pixel goes to the nearest of five colours. The rivals are
the constant colour that is best on the training maps, and the aerial photo itself.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from unpaired.config import override
from unpaired.evaluation.intervals import Interval, mean_interval
from unpaired.evaluation.segmentation import confusions, nearest_colours, segmentation_scores
from unpaired.evaluation.truth import against_truth
from unpaired.images import Image, read_image, resize, to_tensor
from unpaired.recipes import Config, at_size, pix2pix
from unpaired.runs import train
from unpaired.translate.translator import Translator

SIZE = 64
# Read off the histogram of 80 training maps: what the map is coloured with, before JPEG.
PALETTE = {
    "land": (238, 232, 224),
    "road": (255, 255, 255),
    "highway": (252, 160, 36),
    "park": (204, 222, 174),
    "water": (180, 210, 254),
}


def config_of(data: Path, steps: int, seed: int) -> Config:
    """Return pix2pix at 64 x 64 with half the published width, for a processor without a GPU."""
    narrow = {"generator.base_channels": 32, "discriminator.base_channels": 32}
    run = {"run.seed": seed, "run.sample_every": 0, "run.log_every": 100, "run.num_threads": 1, "run.publish": "last"}
    return override(at_size(pix2pix(), SIZE), {**narrow, **run, "data.root": str(data), "schedule.num_steps": steps})


def stacked(folder: Path) -> tuple[Tensor, Tensor]:
    """Return the aerials and the maps of a folder of pairs, n 3 64 64 in [-1, 1]."""
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for path in sorted(folder.iterdir()):
        pixels = read_image(path).pixels
        half = pixels.shape[1] // 2
        for side, part in zip(sides, (pixels[:, :half], pixels[:, half:]), strict=True):
            side.append(to_tensor(resize(Image(part.copy()), (SIZE, SIZE)), 3))
    return torch.stack(sides[0]), torch.stack(sides[1])


def figures(made: Tensor, truth: Tensor) -> dict[str, Interval]:
    """Return per-pixel accuracy, per-class accuracy and class IoU by nearest colour, then SSIM and PSNR."""
    palette = list(PALETTE.values())
    found = confusions(nearest_colours(made, palette), nearest_colours(truth, palette), len(palette))
    each = against_truth([(made, truth)])
    plain = {name: mean_interval(each[name]) for name in ("ssim", "psnr", "within_16")}
    return {**segmentation_scores([found]), **plain}


def shown(figure: Interval) -> str:
    """Return a figure with its interval over images."""
    digits = 2 if figure.value > 2 else 3
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def main() -> None:
    """Train what is missing, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train-only", action="store_true")
    given = parser.parse_args()
    for seed in given.seeds:
        config = config_of(given.data, given.steps, seed)
        train(config, out=given.out / f"pix2pix-{seed}")
    if given.train_only:
        return
    _, train_maps = stacked(given.data / "train")
    aerials, truth = stacked(given.data / "val")
    rows = {"the aerial photo itself": figures(aerials, truth)}
    constant = train_maps.median(0).values.flatten(1).median(1).values[:, None, None]
    rows["a constant colour"] = figures(constant.expand_as(truth), truth)
    for seed in given.seeds:
        translator = Translator.load(given.out / f"pix2pix-{seed}")
        made = torch.cat([translator(part) for part in aerials.split(10)])
        rows[f"pix2pix, seed {seed}"] = figures(made, truth)
    told = {row: {name: interval.to_dict() for name, interval in scores.items()} for row, scores in rows.items()}
    (given.out / "maps.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    names = list(rows["a constant colour"])
    print("| | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for row, scores in rows.items():
        print(f"| {row} | " + " | ".join(shown(scores[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
