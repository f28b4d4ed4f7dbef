"""What a model folder says about its step: which held-out images it was chosen by, so that nobody reports on these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
