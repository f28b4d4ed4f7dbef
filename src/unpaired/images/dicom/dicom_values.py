"""Conversion of the stored numbers of a DICOM file to values and back.

Stored numbers are inverted if low is white (polarity), then scaled by slope and intercept or looked up in a table, as
in the standard's Modality LUT. Integers stay integers; with a fractional slope or intercept, values are float32,
computed in float64 and rounded once. Declared padding becomes one value, `no_data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.dicom.dicom_codecs import Layout
from unpaired.images.image import HELD, Array

_INT32 = np.iinfo(np.int32)
_WHOLE = tuple(dtype for dtype in HELD if dtype.kind != "f")


@dataclass(frozen=True, eq=False)
class Table:
    """A lookup table: entries n or n x 3 from the stored number `first` on; numbers beyond are clamped."""

    first: int
    entries: Array

    def of(self, stored: Array) -> Array:
        """Return the entry of each stored number."""
        return self.entries[np.clip(stored.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


@dataclass(frozen=True, eq=False)
class Scale:
    """Conversion of the stored numbers of a frame to values: inverted within least..most, then looked up or scaled.

    With a table its output is inverted instead, within 0..`top`.
    """

    least: int
    most: int
    inverted: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None
    top: int = 0

    @property
    def identity(self) -> bool:
        """Whether values equal the stored numbers."""
        return not self.inverted and self.table is None and (self.slope, self.intercept) == (1, 0)

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number."""
        return self.slope == int(self.slope) and self.intercept == int(self.intercept)

    def values(self, stored: Array) -> Array:
        """Return the values of integer stored numbers as int64, or as float64 if they are not whole."""
        numbers = stored.astype(np.int64)
        if self.table is not None:
            found = self.table.of(numbers).astype(np.int64)
            return self.top - found if self.inverted else found
        if self.inverted:
            numbers = self.least + self.most - numbers
        if self.whole:
            return numbers * int(self.slope) + int(self.intercept)
        return numbers * self.slope + self.intercept

    def numbers(self, values: Array) -> Array | None:
        """Return the stored numbers of values, int64, rounded for floats; None if a value cannot be stored."""
        if self.table is not None:
            return self._looked_up(values)
        if self.whole and values.dtype.kind != "f":
            shifted = values.astype(np.int64) - int(self.intercept)
            numbers, rest = np.divmod(shifted, int(self.slope))
            if rest.any():
                return None
        else:
            exact = np.round((values.astype(np.float64) - self.intercept) / self.slope)
            if not np.isfinite(exact).all() or abs(exact).max() > 2**62:
                return None
            numbers = exact.astype(np.int64)
        if self.inverted:
            numbers = self.least + self.most - numbers
        return numbers if numbers.min() >= self.least and numbers.max() <= self.most else None

    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest possible value."""
        if self.table is not None:
            return 0.0, float(self.top)
        low, high = sorted(stored * self.slope + self.intercept for stored in (self.least, self.most))
        return low, high

    def _looked_up(self, values: Array) -> Array | None:
        """Return the indices of values in a table without repeated entries."""
        assert self.table is not None
        entries = self.table.entries.astype(np.int64)
        order = np.argsort(entries, kind="stable")
        known = entries[order]
        wanted = self.top - values.astype(np.int64) if self.inverted else values.astype(np.int64)
        places = np.searchsorted(known, wanted).clip(0, len(known) - 1)
        if (known[1:] == known[:-1]).any() or not (known[places] == wanted).all():
            return None
        numbers = self.table.first + order[places]
        return numbers if numbers.min() >= self.least and numbers.max() <= self.most else None


def dtype_of(scales: Sequence[Scale]) -> np.dtype[Any]:
    """Return the smallest type that holds every possible value.

    Integers beyond int32 are int32 if more than 24 bits are stored, which float32 would not hold: the values of a file
    may fit, and `held` refuses those that do not.
    """
    if all(scale.table is not None or scale.whole for scale in scales):
        low, high = min(scale.ends()[0] for scale in scales), max(scale.ends()[1] for scale in scales)
        for dtype in _WHOLE:
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return dtype
        if any(scale.most - scale.least >= 2**24 for scale in scales):
            return np.dtype(np.int32)
    return np.dtype(np.float32)


def held(values: Array, dtype: np.dtype[Any]) -> Array:
    """Convert values to the type of their file; raises ImageError for integers beyond it."""
    if dtype.kind != "f" and values.size and (values.min() < np.iinfo(dtype).min or values.max() > np.iinfo(dtype).max):
        worst = values.max() if values.max() > _INT32.max else values.min()
        raise ImageError(f"It holds the number {worst:,}, outside {_INT32.min:,} to {_INT32.max:,}; scale it down.")
    return values.astype(dtype, copy=False)


@dataclass(frozen=True)
class Padding:
    """The stored numbers low..high for no data. written: the one that results use."""

    low: float
    high: float
    written: float

    def among(self, numbers: Array) -> Array:
        """Return which numbers are padding."""
        if np.isnan(self.low):
            return np.isnan(numbers)
        return (numbers >= self.low) & (numbers <= self.high)


def no_data(scale: Scale, padding: Padding, dtype: np.dtype[Any]) -> tuple[float, np.dtype[Any]]:
    """Return the value for padding, and the type that holds it together with the other values.

    It is the value of the padding's stored number if no measurement can have that, else an end of the type or of a
    larger one.
    """
    inside = scale.least <= padding.written <= scale.most
    if inside and (scale.table is None or _is_alone(scale.table, int(padding.written))):
        value = scale.values(np.array([int(padding.written)]))[0]
        if dtype.kind == "f" or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            return float(dtype.type(value)), dtype
    low, high = scale.ends()
    for larger in (dtype, *(one for one in _WHOLE if np.can_cast(dtype, one)), np.dtype(np.float32)):
        ends = np.finfo(larger) if larger.kind == "f" else np.iinfo(larger)
        if float(ends.min) < low:
            return float(ends.min), larger
        if float(ends.max) > high:
            return float(ends.max), larger
    return float("nan"), np.dtype(np.float32)


def _is_alone(table: Table, number: int) -> bool:
    """Return whether no other stored number has the same entry."""
    place = number - table.first
    if not 0 <= place < len(table.entries):
        return False
    return int((table.entries == table.entries[place]).sum()) == 1


def stored_numbers(cells: Array, layout: Layout, *, clipped: bool = False) -> Array:
    """Return the numbers in the cells of a frame: their bits, with their sign.

    cells: unsigned as stored, or in the type of the codec.
    clipped: clip numbers beyond the stored bits, which lossy codecs create, instead of cutting their bits.
    """
    if clipped and (cells.dtype.kind == "i") == layout.signed:
        return np.clip(cells, layout.least, layout.most)
    numbers = cells.astype(np.int64) >> (layout.high + 1 - layout.bits)
    numbers &= (1 << layout.bits) - 1
    if layout.signed:
        numbers -= (numbers >> (layout.bits - 1)) << layout.bits
    return numbers


def whole_cells(cells: Array, layout: Layout) -> Array:
    """Return all bits of the cells as numbers: padding may be beyond the bits of the image."""
    signed = replace(layout, bits=max(layout.allocated, 1), high=max(layout.allocated, 1) - 1)
    return stored_numbers(cells, signed)
