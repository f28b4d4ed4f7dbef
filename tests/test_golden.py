"""The losses of ten steps of each method are unchanged; `python tests/test_golden.py --write` rewrites them.

A refactoring leaves these files identical. A change of the method changes them, and its commit says why. The steps are
computed in double precision, from weights drawn with NumPy: the last bits of single precision, and of torch's normal
distribution, depend on the processor, and ten steps were seen to magnify them to 2e-3.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.objectives.base import Objective
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import train_step

GOLDEN = Path(__file__).parent / "golden"
STEPS = 10


def picture(number: int, size: int = 32) -> Tensor:
    """A smooth image c h w in [-1, 1] from a formula, so that no random generator is part of the promise."""
    y, x = torch.meshgrid(torch.arange(size).double() / size, torch.arange(size).double() / size, indexing="ij")
    waves = [torch.sin(6.0 * (c + 1) * x + 3.0 * y * (number % 5 + 1) + number) for c in range(3)]
    return torch.stack(waves) * torch.cos(4.0 * y + number)


def drawn(objective: Objective[Any]) -> Objective[Any]:
    """Return the objective in double precision with weights from N(0, 0.02), the same on every processor."""
    draw = np.random.default_rng(0)
    for parameter in objective.double().parameters():
        parameter.data.copy_(torch.from_numpy(draw.normal(0, 0.02, parameter.shape)))
    return objective


def cyclegan() -> TrainingState:
    # A pool of two is full after two steps, so most steps draw from it.
    objective = CycleGAN(pool_size=2).build(
        ResNetGenerator(base_channels=4, num_blocks=2), PatchGAN(base_channels=4, num_layers=1), 3, 3, 0
    )
    return TrainingState(drawn(objective), OptimizerConfig())


METHODS: dict[str, Callable[[], TrainingState]] = {"cyclegan": cyclegan}


@cache
def losses(name: str) -> list[dict[str, float]]:
    """Return the terms of ten steps of a method, on batches made of the pictures."""
    state, steps = METHODS[name](), []
    for step in range(1, STEPS + 1):
        batch = Batch(a=picture(step)[None], b=picture(100 - 7 * step)[None])
        steps.append({term: value.item() for term, value in train_step(state, batch, "fp32").items()})
        state.step = step
    return steps


def text(steps: list[dict[str, float]]) -> str:
    """Return a line a step: its number, then term=value."""
    lines = (" ".join([str(n), *(f"{k}={v:.7g}" for k, v in terms.items())]) for n, terms in enumerate(steps, 1))
    return "\n".join(lines) + "\n"


def parse(content: str) -> list[dict[str, float]]:
    lines = [line.split()[1:] for line in content.splitlines()]
    return [{name: float(value) for name, value in (entry.split("=") for entry in line)} for line in lines]


@pytest.mark.parametrize("name", METHODS)
def test_the_losses_of_ten_steps_are_the_golden_ones(name: str) -> None:
    expected, seen = parse((GOLDEN / f"{name}.txt").read_text()), losses(name)
    assert len(expected) == STEPS
    for step, (old, new) in enumerate(zip(expected, seen, strict=True), 1):
        # Seven digits are written; processors that add in different orders agree to them in double precision.
        assert new == pytest.approx(old, rel=2e-6), f"step {step}"


@pytest.mark.parametrize("name", METHODS)
def test_the_same_steps_again_have_the_same_losses_bit_for_bit(name: str) -> None:
    assert losses.__wrapped__(name) == losses(name)


def write() -> None:
    """Write the golden files anew."""
    torch.set_num_threads(1)
    GOLDEN.mkdir(exist_ok=True)
    for name in METHODS:
        (GOLDEN / f"{name}.txt").write_text(text(losses(name)))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_golden.py --write")
    write()
