"""The curves of a report from running sums are those of all single values, in memory that does not grow."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from unpaired.artifacts.curves import MAX_CELLS, NUM_BUCKETS, SMOOTHING, Curve, CurveSums, EvaluationSums, LogSums
from unpaired.selection.validation import StepEvaluation, append_evaluation, truncate_evaluations


def of_all_values(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return step, low, high and smoothed mean of each interval, from the values themselves."""
    bucket = np.clip(steps / steps.max() * NUM_BUCKETS, 0, NUM_BUCKETS - 1).astype(int)
    finite = np.isfinite(values)
    rows = [values[(bucket == n) & finite] for n in range(NUM_BUCKETS)]
    sums, counts = np.array([row.sum() for row in rows]), np.array([len(row) for row in rows])
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / SMOOTHING) ** 2)
    with np.errstate(invalid="ignore"):
        smooth = np.convolve(sums, kernel, "same") / np.convolve(counts, kernel, "same")
    used = [n for n in range(NUM_BUCKETS) if (bucket == n).any()]
    where = np.array([steps[bucket == n].mean() for n in used])
    low = np.array([rows[n].min() if len(rows[n]) else math.nan for n in used])
    high = np.array([rows[n].max() if len(rows[n]) else math.nan for n in used])
    return where, low, high, np.where(np.isnan(low), math.nan, smooth[used])


def noisy(num: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=num) + 1000 / (np.arange(num) + 300)


def curve_of(steps: np.ndarray, values: np.ndarray) -> Curve:
    sums = CurveSums.of((int(step), {"x": float(value)}) for step, value in zip(steps, values, strict=True))
    return sums.curves(SMOOTHING)[0]


@pytest.mark.parametrize(("num", "every"), [(1, 1), (50, 7), (239, 1), (3000, 20)])
def test_points_are_those_of_all_single_values(num: int, every: int) -> None:
    steps, values = every * np.arange(1, num + 1), noisy(num)
    if num > 50:
        values[[7, 90]] = math.nan, math.inf
    curve = curve_of(steps, values)
    for found, expected in zip(
        (curve.steps, curve.low, curve.high, curve.smooth), of_all_values(steps, values), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (curve.num_bad, curve.first_bad) == ((2, 8.0 * every) if num > 50 else (0, math.inf))
    assert curve.bad.sum() == curve.num_bad


def test_a_run_with_more_steps_than_cells_keeps_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unpaired.artifacts.curves.MAX_CELLS", 34 * NUM_BUCKETS)  # cells of 2, then 4 steps
    steps, values = np.arange(1, 20_001), noisy(20_000)
    values[0] = 50.0
    curve = curve_of(steps, values)
    where, low, high, smooth = of_all_values(steps, values)
    assert np.abs(curve.steps - where).max() < 20_000 / NUM_BUCKETS / 30
    assert np.abs(curve.smooth - smooth).max() < 0.02
    assert (curve.low != low).mean() < 0.05  # an extreme next to the border of an interval
    assert curve.high.max() == high.max() == 50


def test_memory_does_not_grow_with_the_log() -> None:
    sums = LogSums()
    tracemalloc.start()
    for number in range(1, 8001):
        step = number * 1000 if number < 4000 else number * 10**6
        sums.add({"step": step, "losses": {"cycle_a": 1.0}, "learning_rate": 0.1, "time": "noon"})
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2 * 6 * 8 * MAX_CELLS + 600_000
    found = sums.curves()
    assert (found.num_records, found.written, found.last) == (8000, "noon", 8e9)


def test_only_new_lines_of_a_file_are_read_and_a_replaced_one_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "guardian.jsonl", []
    from unpaired.artifacts import curves as module

    parse = module.read_evaluation
    monkeypatch.setattr(module, "read_evaluation", lambda line: read.append(line) or parse(line))
    sums = EvaluationSums(path)
    assert sums.curves() == []
    for step in (1, 2):
        append_evaluation(path, StepEvaluation(step, {"flat": 1.0 * step}))
        assert sums.curves()[0].high.tolist() == [1.0 * each for each in range(1, step + 1)]
    assert len(read) == 2
    with path.open("a") as file:
        file.write('{"step": 3, "fl')  # being written
    assert sums.curves()[0].last == 2
    truncate_evaluations(path, 1)
    append_evaluation(path, StepEvaluation(2, {"flat": 9.0}))
    append_evaluation(path, StepEvaluation(3, {"flat": 4.0}))
    assert sums.curves()[0].high.tolist() == [1.0, 9.0, 4.0]
    assert len(read) == 5
