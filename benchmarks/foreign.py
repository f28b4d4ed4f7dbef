"""How often an image is called out of distribution, by the number of training images: its own kind, and others.

    python benchmarks/foreign.py [--size 64] [--repeats 40] [--own FOLDER] [--also FOLDER ...]

Without --own, summer scenes are drawn, and scenes of other styles, summer scenes inverted, upside down and with red and
blue exchanged, noise, and pictures of one colour. With --own, the images of that folder take their place. --also adds
the images of other folders. For each count, as many images of the pool as that are drawn for training and 300 others of
it as new images, `repeats` times. Printed are the shares that are called out of distribution, and, as "beyond", the
share of new images that are farther than the farthest training image: 1 / (n + 1) is right. No model takes part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unpaired.data.sources import FolderSource
from unpaired.images import Image, resize, to_tensor
from unpaired.randomness import rng
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.trust.ood import DistanceDistribution, OODScore

COUNTS = (20, 50, 99, 256)
NEW = 300
OTHERS = 150


def drawn(style: str, split: str, count: int, size: int) -> Tensor:
    """Return scenes, n 3 size size in [-1, 1]."""
    return torch.stack([to_tensor(Image(draw_scene(seed, style, size)), 3) for seed in scene_seeds(split, count, 3)])


def folder(path: Path, most: int, size: int) -> Tensor:
    """Return at most so many images of a folder, evenly spread."""
    source = FolderSource(path)
    chosen = range(0, len(source), -(-len(source) // most))
    flat = (resize(source[index].over((255, 255, 255)), (size, size)) for index in chosen)
    return torch.stack([to_tensor(image, 3) for image in flat])


def strangers(size: int) -> dict[str, Tensor]:
    """Return images that are no summer scenes."""
    summers = drawn("summer", "test", OTHERS, size)
    levels = torch.linspace(-1, 1, 32)[:, None, None, None]
    noise = rng(0, "strangers").integers(0, 256, (OTHERS, 3, size, size))
    return {style: drawn(style, "test", OTHERS, size) for style in ("winter", "night", "labels")} | {
        "inverted": -summers,
        "upside down": summers.flip(2),
        "red and blue exchanged": summers.flip(1),
        "noise": torch.from_numpy(noise).float() / 127.5 - 1,
        "one colour": levels.expand(32, 3, size, size),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--own", type=Path)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    pool = folder(given.own, 2400, given.size) if given.own else drawn("summer", "trainA", 2400, given.size)
    others = {} if given.own else strangers(given.size)
    others |= {str(path): folder(path, OTHERS, given.size) for path in given.also}
    own, described = OODScore.of(pool).features, {key: OODScore.of(some).features for key, some in others.items()}
    for count in COUNTS:
        if count + 50 > len(own):
            continue
        rates: dict[str, list[float]] = {}
        for repeat in range(given.repeats):
            order = torch.from_numpy(rng(repeat, f"pool {count}").permutation(len(own)))
            typical = OODScore(own[order[:count]], given.size, 3)
            among = typical.among_themselves()
            spread = DistanceDistribution(among)
            new = typical.distances(own[order[count : count + NEW]])
            rates.setdefault("beyond", []).append(float((new > among.max()).float().mean()))
            far = {key: typical.distances(some) for key, some in described.items()}
            for name, found in [("new", new), *far.items()]:
                rates.setdefault(name, []).append(
                    float(np.mean([spread.out_of_distribution(float(value)) for value in found]))
                )
        row = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in rates.items())
        print(f"{count} images: {row}; limit {spread.limit:.2f}", flush=True)


if __name__ == "__main__":
    main()
