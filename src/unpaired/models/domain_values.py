"""Value range and data type of a domain's images, and their representation in model.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unpaired.config import require
from unpaired.images import DTYPE, HELD, Resampling, ValueRange, parse_fill, parse_range
from unpaired.images.input_spec import InputSpec
from unpaired.images.nodata import LOW


@dataclass(frozen=True, kw_only=True)
class DomainValues:
    """Value range and data type of a domain's images.

    range: the values that are mapped to [-1, 1].
    dtype: the data type; "" if it was not recorded, then results have the type of the input image.
    nodata_fill: replacement of no-data values, None for the low end of the range.
    resize: interpolation for resizing in training and evaluation; translation does not resize.

    Raises ConfigError if the type cannot represent the range.
    """

    range: ValueRange = DTYPE
    dtype: str = ""
    nodata_fill: float | None = None
    resize: Resampling = "bicubic"

    def __post_init__(self) -> None:
        require(
            not self.dtype or self.range.fits(np.dtype(self.dtype)),
            f"the recorded type {self.dtype} cannot represent the range {self.range}; replace it by one that can, such "
            f"as {self.range.smallest_type([])}, and results will have that type",
        )

    @classmethod
    def of(cls, spec: InputSpec, dtype: str) -> DomainValues:
        """Return the values of a domain with the conversion `spec` to tensors and the data type `dtype`."""
        return cls(range=spec.range, dtype=dtype, nodata_fill=spec.nodata_fill, resize=spec.resize)


def values_from_json(data: Any) -> dict[str, DomainValues]:
    """Return the values of both domains; "dtype", used by older models, means the full range of any type."""
    if data == "dtype":
        return {"A": DomainValues(), "B": DomainValues()}
    require(isinstance(data, dict) and set(data) == {"A", "B"}, f"value_range {data!r} is unknown")
    values = {}
    for name, entry in data.items():
        found = parse_range(str(entry["range"]), "value_range")
        known = ("", *map(str, HELD))
        require(isinstance(found, ValueRange) and entry["dtype"] in known, f"value_range {entry!r} is unknown")
        assert isinstance(found, ValueRange)
        fill = parse_fill(str(entry.get("nodata_fill", LOW)), "value_range.nodata_fill")
        how = entry.get("resize", "bicubic")
        require(how in ("bicubic", "nearest"), f"value_range {entry!r} is unknown")
        values[name] = DomainValues(range=found, dtype=entry["dtype"], nodata_fill=fill, resize=how)
    return values


def values_to_json(own: DomainValues) -> dict[str, Any]:
    """Return the values of a domain for model.json; defaults are omitted."""
    unusual = {} if own.nodata_fill is None else {"nodata_fill": own.nodata_fill}
    how = {} if own.resize == "bicubic" else {"resize": own.resize}
    return {"range": str(own.range), "dtype": own.dtype, **unusual, **how}
