"""The precision of inference: float32, or bfloat16 if the hardware supports it and the results are close enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from torch import Tensor

from unpaired import ranks
from unpaired.config import require
from unpaired.suggestions import unknown

T = TypeVar("T")

Computed = Literal["fp32", "bf16"]
"""A precision of a forward pass."""

Precision = Literal["auto", "fp32", "bf16"]
"""A requested precision."""

AGREEMENT = 40.0
"""The PSNR to float32, in decibels, from which bfloat16 is close enough: an RMS error of 2.6 of 255 grey levels."""

AS_REQUESTED = "as requested"

_MOST_INSPECTED = 8  # images inspected at most, until one can decide
_WORTH_CHECKING = 3  # images from which bf16 saves more time than the comparison takes


@dataclass(frozen=True)
class Choice:
    """The precision in use.

    Args:
        precision: "fp32" or "bf16".
        reason: why, as a part of a sentence.
        decibels: the measured PSNR to float32; None without a measurement.
    """

    precision: Computed
    reason: str
    decibels: float | None = None

    def __str__(self) -> str:
        return f"{self.precision} ({self.reason})"


class PrecisionPolicy:
    """Resolves the requested precision, once for all 8-bit images of a direction.

    "fp32" and "bf16" are used as requested; under "auto" the first image decides. Images with results of more than 8
    bits are always translated in fp32. Raises ConfigError for another precision.
    """

    def __init__(self, requested: Precision, reason: str = AS_REQUESTED) -> None:
        """reason: why the precision is used, unless it is "auto"."""
        known = get_args(Precision)
        require(requested in known, unknown(repr(requested), known, "precision"))
        self.requested: Precision = requested
        self._reason = reason
        self._choices: dict[str, Choice] = {}

    @property
    def for_tensors(self) -> Computed:
        """The precision of tensors: bf16 only if it was requested."""
        return "bf16" if self.requested == "bf16" else "fp32"

    def decided(self, direction: str) -> Choice | None:
        """Return the choice for the 8-bit images of a direction; None if "auto" is not resolved yet."""
        return Choice(self.requested, self._reason) if self.requested != "auto" else self._choices.get(direction)

    def decide(self, direction: str, choice: Choice) -> Choice:
        """Resolve "auto" for the 8-bit images of a direction, and return the choice."""
        self._choices[direction] = choice
        return choice

    def for_image(self, direction: str, coarse: bool, compare: Callable[[], Choice]) -> Choice:
        """Return the choice for an image; resolves "auto" if that is still open and the result has 8 bits.

        Args:
            direction: that of the translation.
            coarse: whether the result has 8 bits.
            compare: translates the image in both precisions.
        """
        found = self.decided(direction)
        if found is None and not coarse:
            return Choice("fp32", "results of more than 8 bits keep their depth")
        return found or self.decide(direction, compare())

    def for_files(
        self, direction: str, pictures: Sequence[T], inspect: Callable[[T], Choice | None], *, stacks: bool
    ) -> Choice:
        """Return the choice for the 8-bit images among files, the same in every process that shares them.

        Few images are translated in fp32, as the comparison would take longer than it saves; so are all images if none
        of the first ones can decide.

        Args:
            direction: that of the translation.
            pictures: the files with a single picture.
            inspect: reads a picture and returns the choice that follows from it, None if it cannot decide.
            stacks: whether there are stacks of slices, which decide nothing.
        """
        found = Choice(self.requested, self._reason) if self.requested != "auto" else None
        if found is None and len(pictures) >= _WORTH_CHECKING:
            found = next(filter(None, map(inspect, pictures[:_MOST_INSPECTED])), None)
        if found is None:
            reason = f"comparing bf16 with it pays from {_WORTH_CHECKING} images on"
            if stacks and not pictures:
                reason = "always for slices of stacks"
            elif len(pictures) >= _WORTH_CHECKING:
                reason = f"no result of 8 bits among the first {_MOST_INSPECTED} images"
            found = self.decide(direction, Choice("fp32", reason))
        if ranks.all_reduce_max(int(found.precision == "fp32")) and found.precision == "bf16":
            found = self.decide(direction, Choice("fp32", "bf16 does not fit another process"))
        return found


def compared(exact: Tensor, made: Tensor) -> Choice:
    """Return the choice that follows from an image translated in fp32 and in bf16."""
    found = agreement(exact, made)
    if found >= AGREEMENT:
        return Choice("bf16", f"{found:.1f} dB from fp32 on the first image", found)
    return Choice(
        "fp32", f"bf16 is {found:.1f} dB from it on the first image, below the limit of {AGREEMENT:.0f}", found
    )


def agreement(exact: Tensor, made: Tensor) -> float:
    """Return the peak signal-to-noise ratio of two tensors in [-1, 1], in decibels.

    Infinite if they are equal, minus infinity if one holds NaN.
    """
    error = float((exact.double() - made.double()).square().mean())
    if not math.isfinite(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(4 / error)
