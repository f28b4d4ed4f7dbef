"""Progress of slow loops: a line every 30 seconds, and none of fast ones."""

from __future__ import annotations

import logging

import pytest

from unpaired import headway
from unpaired.headway import Headway


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(headway.time, "monotonic", lambda: now[0])
    return now


def lines(total: int | None, seconds: float, clock: list[float], caplog: pytest.LogCaptureFixture) -> list[str]:
    progress = Headway("Translating AtoB", total)
    with caplog.at_level(logging.INFO, logger="unpaired"):
        for _ in range(6):
            clock[0] += seconds
            progress.advance(2)
    return [record.getMessage() for record in caplog.records]


def test_a_slow_loop_is_reported_every_30_seconds(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(12, 15, clock, caplog) == ["Translating AtoB: 4 of 12 images.", "Translating AtoB: 8 of 12 images."]


def test_a_loop_of_unknown_length_counts_its_images(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(None, 20, clock, caplog) == [f"Translating AtoB: {count} images." for count in (4, 8, 12)]


def test_a_fast_loop_is_silent(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(12, 4.9, clock, caplog) == []
