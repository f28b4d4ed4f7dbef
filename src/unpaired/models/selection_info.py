"""The entries of model.json about checkpoint selection and about side-by-side training images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from unpaired.config import require


@dataclass(frozen=True, kw_only=True)
class ChoiceInfo:
    """Checkpoint selection: how the step of a model was selected among those of its run.

    run_step: step of the run at the selection.
    looks: number of evaluations until then.
    rule: the selection rule, in words.
    held_out: the validation images, in words.
    images_a, images_b: identities of these images, prefixes of their files' SHA-256.
    """

    run_step: int
    looks: int
    rule: str
    held_out: str
    images_a: tuple[str, ...]
    images_b: tuple[str, ...]

    def among(self, domain: str, digests: Iterable[str]) -> list[bool]:
        """Return for each image of a domain whether it was used for checkpoint selection."""
        took_part = set(self.images_a if domain == "A" else self.images_b)
        return [digest in took_part for digest in digests]


@dataclass(frozen=True, kw_only=True)
class SheetInfo:
    """Training images with A and B side by side: the smallest and the largest aspect ratio (width to height)."""

    narrowest: float
    widest: float

    def __post_init__(self) -> None:
        ok = 0 < self.narrowest <= self.widest < math.inf
        require(ok, f"side_by_side {self.narrowest} to {self.widest} are not aspect ratios.")
