"""In which numbers images are translated: float32, or bfloat16 where that is fast and near enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Precision = Literal["auto", "fp32", "bf16"]

AGREEMENT = 40.0
"""Decibels of peak signal-to-noise ratio to float32 from which bfloat16 is near enough: 2.6 of 255 grey levels rms."""

ASKED_FOR = "as asked for"


@dataclass(frozen=True)
class Choice:
    """A precision, the reason for it as a part of a sentence, and what was measured: decibels to float32, or None."""

    precision: Literal["fp32", "bf16"]
    reason: str
    decibels: float | None = None

    def __str__(self) -> str:
        return f"{self.precision} ({self.reason})"


def agreement(exact: Tensor, made: Tensor) -> float:
    """Return the peak signal-to-noise ratio of one tensor in [-1, 1] to another, in decibels.

    Infinite where they are equal, minus infinity where one holds NaN.
    """
    error = float((exact.double() - made.double()).square().mean())
    if not math.isfinite(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(4 / error)
