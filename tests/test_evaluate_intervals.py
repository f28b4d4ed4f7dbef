"""Intervals contain the truth as often as stated, and have the theoretical width."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unpaired.evaluation.intervals import Interval, around, draws, halves, mean_interval


def normal(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(count))


def test_each_resample_draws_as_many_images_as_there_are() -> None:
    counts = draws(17, 50, seed=3, purpose="x")
    assert counts.shape == (50, 17)
    assert counts.sum(dim=1).tolist() == [17] * 50
    assert (counts == counts.round()).all()
    assert torch.equal(counts, draws(17, 50, seed=3, purpose="x"))
    assert not torch.equal(counts, draws(17, 50, seed=3, purpose="y"))
    assert not torch.equal(counts, draws(17, 50, seed=4, purpose="x"))


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_one() -> None:
    values = normal(400, seed=0)
    found = mean_interval(values, resamples=4000)
    assert found.value == pytest.approx(values.mean().item())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std().item() / 20, rel=0.06)
    assert found.low < found.value < found.high


def test_the_interval_of_a_mean_holds_the_true_mean_in_95_of_100_cases() -> None:
    held = 0
    for seed in range(300):
        found = mean_interval(normal(60, seed), resamples=400, seed=seed)
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_equal_values_leave_no_doubt_and_infinite_ones_stay_infinite() -> None:
    assert mean_interval(torch.full((5,), 2.0)) == Interval(2, 2, 2)
    assert mean_interval(torch.full((5,), math.inf)) == Interval(math.inf, math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval(torch.empty(0))


def test_resamples_are_laid_around_the_value_and_cut_to_its_range() -> None:
    resampled = torch.linspace(0, 1, 1001).double() + 5
    found = around(3, resampled)
    assert (found.value, found.low, found.high) == (3, pytest.approx(2.525), pytest.approx(3.475))
    assert around(0.1, resampled, smallest=0, largest=0.3) == Interval(0.1, 0, 0.3)
    assert math.isnan(around(3, resampled[:0]).low)


def test_halves_are_disjoint_and_equally_large() -> None:
    one, other = halves(11, seed=2)
    assert len(one) == len(other) == 5
    assert not set(one.tolist()) & set(other.tolist())
    assert set(one.tolist()) | set(other.tolist()) <= set(range(11))
    assert torch.equal(one, halves(11, seed=2)[0])
    assert not torch.equal(one, halves(11, seed=3)[0])
