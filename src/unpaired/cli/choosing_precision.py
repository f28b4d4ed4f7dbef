"""The part of `unpaired translate` that chooses a precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unpaired.translate.jobs import Job
    from unpaired.translate.precision import Choice
    from unpaired.translate.translator import Translator


def settle(translator: Translator, jobs: Sequence[Job], direction: str, keep_icc: bool) -> Choice:
    """Let the translator choose the precision that its first image asks for, the same in every process; return it."""
    from unpaired import ranks
    from unpaired.translate.precision import Choice
    from unpaired.translate.translating import choose_precision

    chosen = choose_precision(translator, jobs, direction=direction, keep_icc=keep_icc)
    if ranks.agreed(int(chosen.precision == "fp32")) and chosen.precision == "bf16":
        chosen = Choice("fp32", "bf16 does not fit another process")
        translator.settle(direction, chosen)
    return chosen
