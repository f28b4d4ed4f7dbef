"""Every draw is a function of (seed, purpose, counters), and of nothing that happened before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unpaired.randomness import reseed, rng, torch_seeded


def draws(*key: object) -> list[int]:
    return rng(*key).integers(2**32, size=8).tolist()  # type: ignore[arg-type]


def test_the_same_key_draws_the_same_numbers_whatever_was_drawn_before() -> None:
    first = draws(1, "crop a", 5)
    np.random.seed(0)  # the global generator must not matter
    np.random.rand(10)
    draws(1, "crop b", 5)
    assert draws(1, "crop a", 5) == first


def test_seed_purpose_and_every_counter_change_the_draw() -> None:
    keys = [(seed, purpose, i, j) for seed in (0, 1) for purpose in ("a", "b") for i in range(3) for j in range(3)]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_draws_of_neighbouring_counters_are_independent() -> None:
    values = np.array([rng(0, "flip", sample).random() for sample in range(4000)])
    assert abs(values.mean() - 0.5) < 4 * (1 / 12 / len(values)) ** 0.5
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / len(values) ** 0.5


def test_the_draws_of_this_version_stay_those_of_the_next() -> None:
    # A change here changes every run, and no checkpoint could be continued bit for bit.
    assert draws(0, "crop a", 0)[:3] == [2533162102, 1296060476, 1031594727]


def test_torch_seeded_draws_the_same_inside_whatever_the_state_outside() -> None:
    torch.manual_seed(0)
    with torch_seeded(3, "weights"):
        first = torch.randn(4)
    torch.manual_seed(99)
    torch.randn(7)
    with torch_seeded(3, "weights"):
        assert torch.equal(torch.randn(4), first)
    with torch_seeded(3, "dropout"):
        assert not torch.equal(torch.randn(4), first)


def test_torch_seeded_gives_the_state_outside_back_even_after_an_error() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    with pytest.raises(RuntimeError, match="shape"), torch_seeded(1, "weights"):
        torch.randn(100).view(3, 3)
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.parametrize("available", [False, True])
def test_reseeding_draws_what_torch_draws_after_its_manual_seed(
    available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    for seed in (0, 7, 2**63 - 1):
        torch.manual_seed(seed)
        expected = torch.randn(3), torch.initial_seed()
        reseed(seed)
        assert torch.equal(torch.randn(3), expected[0])
        assert torch.initial_seed() == expected[1]
