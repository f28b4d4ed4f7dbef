"""How many translations of test images are taken for their target domain, by a judge that never saw a translation.

    python benchmarks/judge_domains.py RUN DATA [--size 64] [--epochs 6] [--seed 0]

The judge is a small classifier, trained on the real images of DATA/trainA and DATA/trainB alone. It is asked about
the real images of testA and testB (how far it can be trusted), and about the translations of both (how many it takes
for the domain they should show), each with a 95 % Wilson interval. Also printed, for each set: the mean of each
channel, the share of nearly black pixels, and the mean size of the gradient, on the [0, 1] scale.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.data.datasets import DataConfig, prepare
from unpaired.data.sources import FolderSource
from unpaired.images import to_tensor
from unpaired.translate.translator import Translator


def images(folder: Path, size: int) -> Tensor:
    """Return the images of a folder, resized, n 3 size size in [-1, 1]."""
    config = DataConfig(load_size=size, crop_size=size)
    source = FolderSource(folder)
    return torch.stack([to_tensor(prepare(source[index], config), 3) for index in range(len(source))])


def judge_of(a: Tensor, b: Tensor, epochs: int) -> nn.Module:
    """Return a classifier of real images, positive for B, trained on mirrored and shifted copies."""
    widths = (3, 24, 48, 96)
    layers: list[nn.Module] = []
    for width, out in itertools.pairwise(widths):
        layers += [nn.Conv2d(width, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    judge = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 1))
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
    everything = torch.cat([a, b])
    labels = torch.cat([torch.zeros(len(a)), torch.ones(len(b))])
    for _ in range(epochs):
        for index in torch.randperm(len(everything)).split(32):
            batch = everything[index]
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            shift = [int(value) for value in torch.randint(-4, 5, (2,))]
            loss = F.binary_cross_entropy_with_logits(judge(batch.roll(shift, (2, 3)))[:, 0], labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return judge.eval()


def wilson(hits: int, count: int) -> str:
    """Return a share with its 95 % Wilson interval, in per cent."""
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return f"{100 * share:.0f} % [{100 * (middle - half):.0f}, {100 * (middle + half):.0f}] of {count}"


def described(made: Tensor) -> str:
    """Return simple statistics of images n 3 h w in [-1, 1]."""
    unit = made * 0.5 + 0.5
    mean = " ".join(f"{value:.3f}" for value in unit.mean((0, 2, 3)))
    black = (unit.amax(1) < 0.15).float().mean()
    gradient = (unit.diff(dim=2).abs().mean() + unit.diff(dim=3).abs().mean()) / 2
    return f"mean {mean}, nearly black {100 * black:.1f} %, gradient {gradient:.3f}"


def main() -> None:
    """Train the judge, ask it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    judge = judge_of(images(given.data / "trainA", given.size), images(given.data / "trainB", given.size), given.epochs)
    translator = Translator.load(given.run)
    names = translator.info.domains
    real = {domain: images(given.data / f"test{domain}", given.size) for domain in ("A", "B")}
    sets = {(f"real {names[domain]}", domain): made for domain, made in real.items()}
    for direction in translator.directions:
        made = torch.cat([translator(part, direction=direction) for part in real[direction[0]].split(8)])
        sets[f"{names[direction[0]]} made into {names[direction[-1]]}", direction[-1]] = made
    for (title, domain), made in sets.items():
        with torch.no_grad():
            taken_for_b = judge(made)[:, 0] > 0
        hits = int((taken_for_b if domain == "B" else ~taken_for_b).sum())
        print(f"{title}: taken for {names[domain]} {wilson(hits, len(made))}; {described(made)}")


if __name__ == "__main__":
    main()
