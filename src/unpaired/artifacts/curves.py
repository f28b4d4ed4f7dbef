"""Running sums of the curves of a report, in memory that does not grow with the number of logged steps.

Steps fall into cells of equal width, at most `MAX_CELLS` of them; the width doubles whenever a longer run needs more.
A curve is drawn in `NUM_BUCKETS` points, so a cell is a 34th of a point or less. As long as no cell holds two records
the points are those of all single values; that is so for 246,800 steps, of which every 20th is logged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unpaired.selection.validation import read_evaluation

Floats = npt.NDArray[np.float64]
Record = Mapping[str, object]

NUM_BUCKETS = 240
"""Largest number of points of a curve."""

MAX_CELLS = 1 << 14
"""Largest number of cells of a series."""

SMOOTHING = 5.0
"""Standard deviation of the Gaussian that smooths a curve, in points."""

UNSMOOTHED = 0.01
"""The same for a curve of few points or without noise."""

RATES = ("learning_rate", "images_per_second")
"""The numbers of a log line that are drawn besides the losses."""

_PENDING = 1024  # rows that are added in one call of NumPy


@dataclass(frozen=True)
class Curve:
    """One series in at most `NUM_BUCKETS` points, each for the records of one interval of steps.

    steps: the mean step of each interval. low, high, smooth: extremes and smoothed mean of its finite values, NaN
    without any. bad: whether the interval has non-finite values. num_bad: their number in the whole series. first_bad:
    step of the first. last: the last step of all series of the same steps, where the axis ends.
    """

    name: str
    steps: Floats
    low: Floats
    high: Floats
    smooth: Floats
    bad: npt.NDArray[np.bool_]
    num_bad: int
    first_bad: float
    last: float


class CurveSums:
    """The sums of several series over the same steps, by name."""

    def __init__(self) -> None:
        self.last = 0.0
        self._width = 1
        self._series: dict[str, _Series] = {}
        self._pending: list[tuple[float, Record]] = []

    @classmethod
    def of(cls, rows: Iterable[tuple[int, Record]]) -> CurveSums:
        """Return the sums of rows of a step and its values by name."""
        sums = cls()
        for step, values in rows:
            sums.add(step, values)
        return sums

    def add(self, step: float, values: Record) -> None:
        """Add the values of a step, at least 0, by name. Values that are not numbers count as non-finite."""
        self.last = max(self.last, step)
        self._pending.append((step, values))
        if len(self._pending) >= _PENDING:
            self._settle()

    def curves(self, smoothing: float | Mapping[str, float]) -> list[Curve]:
        """Return all series, sorted by name and smoothed by a Gaussian; the axis goes from step 0 to `last`.

        smoothing: the standard deviation in points, of all series or by name.
        """
        self._settle()
        widths = smoothing if isinstance(smoothing, Mapping) else dict.fromkeys(self._series, smoothing)
        return [self._curve(name, self._series[name], widths[name]) for name in sorted(self._series)]

    def _curve(self, name: str, series: _Series, smoothing: float) -> Curve:
        last = self.last or 1.0
        used = series.total > 0
        in_cells = [array[used] for array in (series.total, series.count, series.sums, series.steps)]
        bucket = np.clip(in_cells[3] / in_cells[0] / last * NUM_BUCKETS, 0, NUM_BUCKETS - 1).astype(np.intp)
        low, high = np.full(NUM_BUCKETS, np.inf), np.full(NUM_BUCKETS, -np.inf)
        np.minimum.at(low, bucket, series.low[used])
        np.maximum.at(high, bucket, series.high[used])
        total, count, sums, where = (
            np.bincount(bucket, weights=array, minlength=NUM_BUCKETS).astype(float) for array in in_cells
        )
        kernel = np.exp(-0.5 * (np.arange(-20, 21) / smoothing) ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):  # the mean of an empty bucket is NaN
            smooth = np.convolve(sums, kernel, "same") / np.convolve(count, kernel, "same")
            where /= total
        low[count == 0] = high[count == 0] = smooth[count == 0] = np.nan
        found = total > 0
        points = where[found], low[found], high[found], smooth[found], (total > count)[found]
        return Curve(name, *points, series.num_bad, series.first_bad, last)

    def _settle(self) -> None:
        """Add the pending rows to the cells."""
        while self.last >= self._width * MAX_CELLS:
            self._width *= 2
            for series in self._series.values():
                series.join()
        for name in {name for _, values in self._pending for name in values}:
            found = [(step, values[name]) for step, values in self._pending if name in values]
            steps, numbers = np.array([step for step, _ in found], float), _numbers([value for _, value in found])
            self._series.setdefault(name, _Series()).add(steps, numbers, self._width)
        self._pending.clear()


@dataclass
class _Series:
    """The sums of one series in each cell of steps. total: number of values; count, sums, low, high: of finite ones."""

    total: Floats = field(default_factory=lambda: np.zeros(0))
    count: Floats = field(default_factory=lambda: np.zeros(0))
    sums: Floats = field(default_factory=lambda: np.zeros(0))
    steps: Floats = field(default_factory=lambda: np.zeros(0))
    low: Floats = field(default_factory=lambda: np.zeros(0))
    high: Floats = field(default_factory=lambda: np.zeros(0))
    num_bad: int = 0
    first_bad: float = math.inf

    def add(self, steps: Floats, values: Floats, width: int) -> None:
        """Add values to the cells, which are `width` steps wide."""
        cells = (steps // width).astype(np.intp)
        self._grow(int(cells.max()) + 1)
        finite = np.abs(values) < 1e30  # false for NaN, and for what would overflow a sum
        good, numbers = cells[finite], values[finite]
        np.add.at(self.total, cells, 1)
        np.add.at(self.steps, cells, steps)
        np.add.at(self.count, good, 1)
        np.add.at(self.sums, good, numbers)
        np.minimum.at(self.low, good, numbers)
        np.maximum.at(self.high, good, numbers)
        self.num_bad += int((~finite).sum())
        self.first_bad = min(self.first_bad, float(steps[~finite].min(initial=math.inf)))

    def join(self) -> None:
        """Join each two neighbouring cells."""
        self._grow(len(self.total) + len(self.total) % 2)
        for name in ("total", "count", "sums", "steps"):
            setattr(self, name, getattr(self, name).reshape(-1, 2).sum(axis=1))
        self.low, self.high = self.low.reshape(-1, 2).min(axis=1), self.high.reshape(-1, 2).max(axis=1)

    def _grow(self, size: int) -> None:
        more = size - len(self.total)
        if more > 0:
            more = max(more, min(len(self.total), MAX_CELLS - len(self.total)))  # double, so that growing is rare
            for name, fill in (("total", 0), ("count", 0), ("sums", 0), ("steps", 0), ("low", math.inf)):
                setattr(self, name, np.append(getattr(self, name), np.full(more, float(fill))))
            self.high = np.append(self.high, np.full(more, -math.inf))


def _numbers(values: list[object]) -> Floats:
    """Return the values of a log, with NaN for missing or non-numeric ones."""
    try:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError):
        return np.array([value if isinstance(value, (int, float)) else math.nan for value in values])


@dataclass(frozen=True)
class LogCurves:
    """The curves of log.jsonl so far: losses by name, learning rate and speed.

    last: the last step. num_records: number of lines. written: the time in the last of them.
    """

    last: float
    losses: list[Curve]
    rates: list[Curve]
    num_records: int
    written: str


class LogSums:
    """The sums of the records of log.jsonl."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._losses, self._rates = CurveSums(), CurveSums()
        self._num_records, self._written = 0, ""
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Add a record, which is later than those before; one without a step is passed over."""
        step, losses = record.get("step"), record.get("losses")
        if not isinstance(step, int) or not 0 <= step < 2**53:
            return
        self._num_records += 1
        self._written = str(record.get("time", ""))
        self._losses.add(step, losses if isinstance(losses, Mapping) else {})
        self._rates.add(step, {name: record[name] for name in RATES if name in record})

    def curves(self) -> LogCurves:
        """Return the curves so far, which later records do not change."""
        last = self._losses.last or 1.0
        return LogCurves(
            last,
            self._losses.curves(SMOOTHING),
            # The schedule has corners and no noise.
            self._rates.curves({"learning_rate": UNSMOOTHED, "images_per_second": SMOOTHING}),
            self._num_records,
            self._written,
        )


class EvaluationSums:
    """The sums of a file of evaluations, such as guardian.jsonl, of which only new lines are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sums, self._place, self._inode = CurveSums(), 0, 0

    def curves(self) -> list[Curve]:
        """Return the curves of all complete lines. A file that was replaced is read from its beginning."""
        if self._path.exists():
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._place:
                    self._sums, self._place, self._inode = CurveSums(), 0, found.st_ino
                file.seek(self._place)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._place += len(line)
                    evaluation = read_evaluation(line)
                    if evaluation is not None:
                        self._sums.add(evaluation.step, evaluation.figures)
        return self._sums.curves(SMOOTHING)
