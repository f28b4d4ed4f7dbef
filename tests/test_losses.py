"""Every loss term equals its formula, written here with NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unpaired.objectives.losses import discriminator_adversarial, generator_adversarial, l1, total

SHAPES = [(1, 1, 30, 30), (3, 1, 6, 5)]


def scores(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, shape)


def minus_log_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-x))


GENERATOR = {
    "lsgan": lambda fake: ((fake - 1) ** 2).mean(),
    "cross_entropy": lambda fake: minus_log_sigmoid(fake).mean(),
    "hinge": lambda fake: -fake.mean(),
}
DISCRIMINATOR = {
    "lsgan": lambda real, fake: (((real - 1) ** 2).mean() + (fake**2).mean()) / 2,
    "cross_entropy": lambda real, fake: (minus_log_sigmoid(real).mean() + minus_log_sigmoid(-fake).mean()) / 2,
    "hinge": lambda real, fake: (np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()) / 2,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", GENERATOR)
def test_the_generator_loss_is_its_formula_and_not_halved(kind: str, shape: tuple[int, ...]) -> None:
    fake = scores(shape, 1)
    loss = generator_adversarial(kind, torch.from_numpy(fake))  # type: ignore[arg-type]
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(GENERATOR[kind](fake), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", DISCRIMINATOR)
def test_the_discriminator_loss_is_half_the_sum_of_both_sides(kind: str, shape: tuple[int, ...]) -> None:
    real, fake = scores(shape, 2), scores(shape, 3)
    loss = discriminator_adversarial(kind, torch.from_numpy(real), torch.from_numpy(fake))  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(DISCRIMINATOR[kind](real, fake), rel=1e-12)


def test_scores_of_different_sizes_weigh_the_same() -> None:
    # Real images and pooled ones of another size: each side is a mean of its own.
    real, fake = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 9, 9), 3.0)
    assert discriminator_adversarial("lsgan", real, fake).item() == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize("kind", GENERATOR)
def test_players_pull_in_opposite_directions(kind: str) -> None:
    fake = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(generator_adversarial(kind, fake), fake)  # type: ignore[arg-type]
    (fought,) = torch.autograd.grad(discriminator_adversarial(kind, fake.detach(), fake), fake)  # type: ignore[arg-type]
    assert wanted < 0 < fought


@pytest.mark.parametrize("kind", GENERATOR)
def test_losses_stay_finite_for_extreme_scores(kind: str) -> None:
    extreme = torch.tensor([-1e4, 1e4])
    assert torch.isfinite(generator_adversarial(kind, extreme))  # type: ignore[arg-type]
    assert torch.isfinite(discriminator_adversarial(kind, extreme, extreme))  # type: ignore[arg-type]


def test_l1_is_the_mean_absolute_difference() -> None:
    x, y = scores((2, 3, 8, 7), 4), scores((2, 3, 8, 7), 5)
    assert l1(torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(np.abs(x - y).mean(), rel=1e-12)


def test_gradients_of_the_losses_are_those_of_their_formulas() -> None:
    real = torch.from_numpy(scores((1, 1, 3, 3), 6)).requires_grad_()
    fake = torch.from_numpy(scores((1, 1, 3, 3), 7)).requires_grad_()
    for kind in ("lsgan", "cross_entropy", "hinge"):
        assert torch.autograd.gradcheck(lambda x, k=kind: generator_adversarial(k, x), (fake,))
        assert torch.autograd.gradcheck(lambda x, y, k=kind: discriminator_adversarial(k, x, y), (real, fake))
    assert torch.autograd.gradcheck(l1, (real, fake))


def test_the_total_is_the_sum_of_the_terms() -> None:
    terms = {"a": torch.tensor(1.5), "b": torch.tensor(-4.0), "c": torch.tensor(0.25)}
    assert total(terms).item() == -2.25
