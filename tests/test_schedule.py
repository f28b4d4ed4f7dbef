"""The learning rate of every epoch is the published one, and a function of the step alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unpaired.errors import ConfigError
from unpaired.training.schedule import Schedule, ScheduleConfig, decayed

PUBLISHED = [1.0 - max(0, epoch - 100) / 101 for epoch in range(1, 201)]


@pytest.mark.parametrize("length", [1, 7])
def test_all_two_hundred_epochs_have_the_published_rate(length: int) -> None:
    schedule = Schedule(ScheduleConfig(), epoch_length=length, batch_size=1)
    assert schedule.num_steps == 200 * length
    for epoch, expected in enumerate(PUBLISHED, start=1):
        first, last = (epoch - 1) * length + 1, epoch * length
        assert schedule.multiplier(first) == schedule.multiplier(last) == expected


def test_the_last_epoch_has_a_hundredth_of_the_rate_and_not_none() -> None:
    assert decayed(200, 100, 100) == pytest.approx(0.00990099, abs=1e-8)
    assert decayed(100, 100, 100) == 1.0
    assert decayed(101, 100, 100) == pytest.approx(100 / 101)


def test_a_schedule_made_in_the_middle_of_a_run_goes_on_as_the_first_did() -> None:
    whole = Schedule(ScheduleConfig(), epoch_length=3, batch_size=1)
    rates = [whole.multiplier(step) for step in range(1, 601)]
    for epoch in range(200):
        resumed = Schedule(ScheduleConfig(), epoch_length=3, batch_size=1)
        assert [resumed.multiplier(epoch * 3 + i) for i in (1, 2, 3)] == rates[epoch * 3 : epoch * 3 + 3]


@given(
    constant=st.integers(0, 50),
    decay=st.integers(0, 50),
    num_steps=st.none() | st.integers(1, 300),
    length=st.integers(1, 9),
    batch=st.integers(1, 4),
)
def test_the_rate_never_rises_and_never_reaches_zero(
    constant: int, decay: int, num_steps: int | None, length: int, batch: int
) -> None:
    if constant + decay == 0:
        constant = 1
    config = ScheduleConfig(num_epochs_constant=constant, num_epochs_decay=decay, num_steps=num_steps)
    schedule = Schedule(config, epoch_length=length, batch_size=batch)
    rates = [schedule.multiplier(step) for step in range(1, schedule.num_steps + 1)]
    assert rates == sorted(rates, reverse=True)
    assert all(0 < rate <= 1 for rate in rates)


def test_a_number_of_steps_shares_itself_between_the_phases_and_falls_every_step() -> None:
    schedule = Schedule(ScheduleConfig(num_steps=10), epoch_length=1000, batch_size=1)
    assert schedule.num_steps == 10
    expected = [1.0] * 5 + [1 - i / 6 for i in range(1, 6)]
    assert [schedule.multiplier(step) for step in range(1, 11)] == pytest.approx(expected, rel=1e-12)
    mostly = ScheduleConfig(num_epochs_constant=150, num_epochs_decay=50, num_steps=8)
    constant = Schedule(mostly, epoch_length=1, batch_size=1)
    assert [constant.multiplier(step) == 1 for step in range(1, 9)] == [True] * 6 + [False] * 2


def test_the_epoch_of_a_step_is_that_of_its_first_sample() -> None:
    schedule = Schedule(ScheduleConfig(), epoch_length=5, batch_size=2)
    # samples 0-1, 2-3, 4-5, 6-7, 8-9, 10-11: the third batch reaches into the second epoch
    assert [schedule.epoch(step) for step in range(1, 7)] == [1, 1, 1, 2, 2, 3]
    assert schedule.num_steps == 500
    assert Schedule(ScheduleConfig(num_epochs_decay=1), epoch_length=5, batch_size=2).num_steps == 253  # 505 / 2


@pytest.mark.parametrize(
    "wrong", [{"num_epochs_constant": -1}, {"num_epochs_constant": 0, "num_epochs_decay": 0}, {"num_steps": 0}]
)
def test_a_run_of_no_length_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least"):
        ScheduleConfig(**wrong)
