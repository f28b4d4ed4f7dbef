"""How far instance norm is from float64, and how long a whole translation takes, with torch's statistics and ours.

    python benchmarks/norms.py --sides 512 1024 --rounds 7 --threads 2

The published generator (9 blocks, 64 channels, random weights) in the fast form that 8-bit images go through,
channels last. Both ways take turns in one process; ratios are those of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from unpaired.networks import layers
from unpaired.networks.layers import InstanceNorm
from unpaired.recipes import paper
from unpaired.translate.fast import fast_form

OURS = layers.is_channels_last
WAYS: dict[str, Callable[[Tensor], bool]] = {"torch's": lambda x: False, "ours": OURS}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{torch.backends.cpu.get_cpu_capability()}, {arguments.threads} threads, torch {torch.__version__}\n")
    print("| side | mean | torch's | ours |\n|---|---|---|---|")
    for side, mean in ((512, 3), (1024, 3), (2048, 3), (4096, 3), (1024, 100)):
        print(f"| {side} | {mean} | " + " | ".join(f"{error(side, mean, way):.1e}" for way in WAYS) + " |")
    print("\n| numbers | side | torch's, s | ours, s | ratio, median [least, most] |\n|---|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        for side in arguments.sides:
            print(timed(dtype, side, arguments.rounds), flush=True)
    layers.is_channels_last = OURS


def error(side: int, mean: float, way: str) -> float:
    """Return the largest error of a value of N(mean, 1), side x side, normalised in channels_last order."""
    x = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(0)) + mean
    exact = x.double()
    exact = (exact - exact.mean((2, 3), keepdim=True)) / (exact.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    layers.is_channels_last = WAYS[way]
    made = InstanceNorm(2)(x.contiguous(memory_format=torch.channels_last))
    return float((made.double() - exact).abs().max())


def timed(dtype: torch.dtype, side: int, rounds: int) -> str:
    """Return a row of the second table."""
    network = fast_form(paper().generator.build(3, 3).requires_grad_(False), torch.device("cpu"), dtype)
    image = (torch.rand(1, 3, side, side) * 2 - 1).to(dtype, memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch.inference_mode():
        network(image)
        for turn in range(rounds):
            for way in list(WAYS)[:: -1 if turn % 2 else 1]:
                layers.is_channels_last = WAYS[way]
                start = time.perf_counter()
                network(image)
                seconds[way].append(time.perf_counter() - start)
    ratios = [new / old for old, new in zip(*seconds.values(), strict=True)]
    middle = " | ".join(f"{statistics.median(values):.2f}" for values in seconds.values())
    spread = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
    return f"| {str(dtype).removeprefix('torch.')} | {side} | {middle} | {spread} |"


if __name__ == "__main__":
    main()
