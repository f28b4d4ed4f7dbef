"""What model.json says of how the step of its weights was chosen, and of training images that hold a pair each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from unpaired.config import require


@dataclass(frozen=True, kw_only=True)
class ChoiceInfo:
    """How the step of a model was chosen among those of its run.

    run_step: where the run was. looks: how many steps were looked at until then. rule: in words. held_out: which images
    were looked at, in words. images_a, images_b: what they are known again by, the beginning of their files' SHA-256.
    """

    run_step: int
    looks: int
    rule: str
    held_out: str
    images_a: tuple[str, ...]
    images_b: tuple[str, ...]

    def among(self, domain: str, digests: Iterable[str]) -> list[bool]:
        """Return for each of these images of a domain whether it took part in the choice."""
        took_part = set(self.images_a if domain == "A" else self.images_b)
        return [digest in took_part for digest in digests]


@dataclass(frozen=True, kw_only=True)
class SheetInfo:
    """Training images that hold A and B side by side: the smallest and the largest ratio of their width to height."""

    narrowest: float
    widest: float

    def __post_init__(self) -> None:
        ok = 0 < self.narrowest <= self.widest < math.inf
        require(ok, f"side_by_side {self.narrowest} to {self.widest} are no ratios of width to height.")
