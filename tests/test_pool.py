"""The image pool behaves like the official code's, and returns only images that it was given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unpaired.objectives.pool import ImagePool

QUERIES = 30_000
SIZE = 50


def image(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), float(value))


def held(pool: ImagePool) -> list[float]:
    return [stored.item() for stored in pool.state()]


@dataclass(frozen=True)
class History:
    """What became of images 0, 1, 2, ...: ages and slots of those that came back later."""

    hits: int
    ages: np.ndarray
    slots: np.ndarray


@pytest.fixture(scope="module")
def history() -> History:
    pool = ImagePool(SIZE, seed=0, name="A")
    slot_of = {number: number for number in range(SIZE)}
    pool.query(torch.arange(SIZE).view(-1, 1, 1, 1))
    ages, slots = [], []
    later = torch.arange(SIZE, QUERIES).view(-1, 1, 1, 1)
    shown = torch.cat([pool.query(batch) for batch in later.split(100)])
    for number, returned in zip(later.flatten().tolist(), shown.flatten().tolist(), strict=True):
        if returned != number:
            ages.append(number - returned)
            slots.append(slot_of.pop(returned))
            slot_of[number] = slots[-1]
    return History(hits=len(ages), ages=np.array(ages), slots=np.array(slots))


def test_a_full_pool_returns_a_stored_image_half_of_the_time(history: History) -> None:
    n = QUERIES - SIZE
    assert abs(history.hits / n - 0.5) < 4 * 0.5 / n**0.5


def test_every_slot_is_as_likely(history: History) -> None:
    counts = np.bincount(history.slots, minlength=SIZE)
    expected = history.hits / SIZE
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # 49 degrees of freedom: mean 49, standard deviation 9.9; above 97 only once in 20,000 draws
    assert 18 < chi_square < 97


def test_returned_images_are_on_average_two_pool_sizes_old(history: History) -> None:
    # An image leaves with probability 1/2 * 1/50 a query: geometric with mean 100 and deviation 99.5
    assert abs(history.ages.mean() - 2 * SIZE) < 4 * 99.5 / history.hits**0.5
    assert abs((history.ages > 100).mean() - 0.99**100) < 4 * 0.5 / history.hits**0.5


def test_the_first_images_are_returned_as_they_are_and_kept_in_order() -> None:
    pool = ImagePool(5, seed=0, name="A")
    for number in range(5):
        assert pool.query(image(number)).item() == number
    assert held(pool) == [0, 1, 2, 3, 4]


def test_pools_of_two_domains_draw_differently_and_the_same_one_again_the_same() -> None:
    def returned(seed: int, name: str) -> list[float]:
        pool = ImagePool(2, seed=seed, name=name)
        return [pool.query(image(number)).item() for number in range(40)]

    assert returned(0, "A") == returned(0, "A")
    assert returned(0, "A") != returned(0, "B")
    assert returned(0, "A") != returned(1, "A")


def test_every_image_of_a_batch_is_drawn_for_on_its_own() -> None:
    numbers = torch.arange(24.0).view(24, 1, 1, 1)
    one, many = ImagePool(3, seed=4, name="A"), ImagePool(3, seed=4, name="A")
    singly = torch.cat([one.query(number[None]) for number in numbers])
    batched = torch.cat([many.query(batch) for batch in numbers.split(4)])
    assert torch.equal(singly, batched)
    assert held(one) == held(many)
    new = (batched == numbers).view(6, 4)  # some batch holds new images and stored ones
    assert any(row.any() and not row.all() for row in new)


def test_an_alternating_pool_shows_one_stored_image_in_every_two() -> None:
    pool = ImagePool(4, seed=0, name="A", alternating=True)
    numbers = torch.arange(64.0).view(64, 1, 1, 1)
    shown = torch.cat([pool.query(batch) for batch in numbers.split(4)])
    new = (shown == numbers).flatten().tolist()
    assert all(new[:4])  # the pool fills first
    assert new[4:] == [True, False] * 30
    singly = ImagePool(4, seed=0, name="A", alternating=True)
    assert torch.equal(torch.cat([singly.query(number[None]) for number in numbers]), shown)


def test_what_is_stored_shares_no_memory_with_what_comes_and_goes() -> None:
    pool = ImagePool(2, seed=1, name="A")
    for number in range(30):
        new = image(number)
        shown = pool.query(new)
        after = held(pool)
        new.fill_(-1)
        shown.fill_(-2)
        assert held(pool) == after
        for stored in pool.state():
            stored.fill_(-3)
        assert held(pool) == after


def test_what_is_returned_is_detached() -> None:
    for size in (0, 1):
        pool = ImagePool(size, seed=0, name="A")
        made = (torch.ones(1, 3, 4, 4, requires_grad=True) * 2).clone()
        for _ in range(6):
            shown = pool.query(made)
            assert not shown.requires_grad
            assert shown.grad_fn is None
        assert not any(stored.requires_grad for stored in pool.state())


def test_size_nought_returns_every_image_and_keeps_none() -> None:
    pool = ImagePool(0, seed=0, name="A")
    for number in range(20):
        assert pool.query(image(number)).item() == number
    assert held(pool) == []


@given(size=st.integers(0, 4), before=st.integers(0, 12), after=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_restored_pool_goes_on_as_the_first_one_does(size: int, before: int, after: int, seed: int) -> None:
    first = ImagePool(size, seed=seed, name="A")
    for number in range(before):
        first.query(image(number))
    second = ImagePool(size, seed=seed, name="A")
    second.query(image(-1))  # its former content is discarded
    second.restore(first.state(), first.num_seen)
    for number in range(before, before + after):
        assert torch.equal(first.query(image(number)), second.query(image(number)))
    assert held(first) == held(second)
    assert first.num_seen == second.num_seen


def test_a_restored_pool_owns_its_images() -> None:
    images = [image(0)[0], image(1)[0]]
    pool = ImagePool(2, seed=0, name="A")
    pool.restore(images, 2)
    images[0].fill_(9)
    assert held(pool) == [0, 1]


@given(size=st.integers(0, 5), batches=st.lists(st.integers(1, 4), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_a_pool_returns_only_what_it_was_given_and_nothing_twice(size: int, batches: list[int], seed: int) -> None:
    pool, given_so_far, returned, number = ImagePool(size, seed=seed, name="A"), set(), [], 0
    for count in batches:
        batch = torch.arange(number, number + count, dtype=torch.float32).view(count, 1, 1, 1)
        given_so_far.update(batch.flatten().tolist())
        number += count
        shown = pool.query(batch)
        assert shown.shape == batch.shape
        returned += shown.flatten().tolist()
        assert set(returned) <= given_so_far
        assert len(pool.images) <= size
    # The first `size` images are shown when they come and once more when they leave, every other one once at most.
    assert all(returned.count(value) <= (2 if value < size else 1) for value in set(returned))
