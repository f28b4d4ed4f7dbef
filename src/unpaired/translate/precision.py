"""In which numbers images are translated: float32, or bfloat16 where that is fast and near enough."""

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
"""A precision that is computed in."""

Precision = Literal["auto", "fp32", "bf16"]
"""A precision that is asked for."""

AGREEMENT = 40.0
"""Decibels of peak signal-to-noise ratio to float32 from which bfloat16 is near enough: 2.6 of 255 grey levels rms."""

ASKED_FOR = "as asked for"

_LOOKED_AT = 8  # images at the beginning among which one is looked for that says whether bf16 is near enough
_WORTH_CHECKING = 3  # images from which bf16 saves more time than comparing it with fp32 takes


@dataclass(frozen=True)
class Choice:
    """A precision, the reason for it as a part of a sentence, and what was measured: decibels to float32, or None."""

    precision: Computed
    reason: str
    decibels: float | None = None

    def __str__(self) -> str:
        return f"{self.precision} ({self.reason})"


class PrecisionPolicy:
    """Decides the precision in which images are translated, once for all 8-bit images of a direction.

    asked: "fp32" and "bf16" stand as they are; under "auto" the first image decides. Images whose results have more
    than 8 bits are always translated in fp32. Raises ConfigError for another precision.
    """

    def __init__(self, asked: Precision) -> None:
        known = get_args(Precision)
        require(asked in known, unknown(repr(asked), known, "precision"))
        self.asked: Precision = asked
        self._choices: dict[str, Choice] = {}

    @property
    def of_tensors(self) -> Computed:
        """The precision of tensors, which are translated in bf16 only if that is asked for."""
        return "bf16" if self.asked == "bf16" else "fp32"

    def decided(self, direction: str) -> Choice | None:
        """Return the choice for the 8-bit images of a direction; None while "auto" has not decided."""
        return Choice(self.asked, ASKED_FOR) if self.asked != "auto" else self._choices.get(direction)

    def decide(self, direction: str, choice: Choice) -> Choice:
        """Decide what "auto" means for the 8-bit images of a direction, and return it."""
        self._choices[direction] = choice
        return choice

    def of_image(self, direction: str, coarse: bool, compare: Callable[[], Choice]) -> Choice:
        """Return the choice for an image, which decides "auto" if nothing has before and its result has 8 bits.

        coarse: whether it has. compare: translates it in both precisions.
        """
        found = self.decided(direction)
        if found is None and not coarse:
            return Choice("fp32", "results of more than 8 bits keep their depth")
        return found or self.decide(direction, compare())

    def of_files(
        self, direction: str, pictures: Sequence[T], look: Callable[[T], Choice | None], *, stacks: bool
    ) -> Choice:
        """Return the choice for the 8-bit images among files, the same in every process that shares them.

        look: reads one of the pictures and returns what it decides, None if it cannot. Few images are translated in
        fp32, as comparing would take longer; so are all if none of the first can decide. stacks: whether there are
        stacks of slices, too, which decide nothing.
        """
        found = Choice(self.asked, ASKED_FOR) if self.asked != "auto" else None
        if found is None and len(pictures) >= _WORTH_CHECKING:
            found = next(filter(None, map(look, pictures[:_LOOKED_AT])), None)
        if found is None:
            reason = f"comparing bf16 with it pays from {_WORTH_CHECKING} images on"
            if stacks and not pictures:
                reason = "as all slices of stacks"
            elif len(pictures) >= _WORTH_CHECKING:
                reason = f"no result of 8 bits among the first {_LOOKED_AT} images"
            found = self.decide(direction, Choice("fp32", reason))
        if ranks.all_reduce_max(int(found.precision == "fp32")) and found.precision == "bf16":
            found = self.decide(direction, Choice("fp32", "bf16 does not fit another process"))
        return found


def compared(exact: Tensor, made: Tensor) -> Choice:
    """Return the precision that follows from an image translated in fp32 and in bf16."""
    found = agreement(exact, made)
    if found >= AGREEMENT:
        return Choice("bf16", f"{found:.1f} dB from fp32 on the first image", found)
    return Choice("fp32", f"bf16 is {found:.1f} dB from it on the first image, and {AGREEMENT:.0f} are wanted", found)


def agreement(exact: Tensor, made: Tensor) -> float:
    """Return the peak signal-to-noise ratio of one tensor in [-1, 1] to another, in decibels.

    Infinite where they are equal, minus infinity where one holds NaN.
    """
    error = float((exact.double() - made.double()).square().mean())
    if not math.isfinite(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(4 / error)
