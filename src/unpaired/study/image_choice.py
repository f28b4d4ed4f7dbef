"""The test images of a study: which are translated and which are shown as real, with no image used twice."""

from __future__ import annotations

from dataclasses import dataclass

from unpaired.config import require
from unpaired.errors import DataError
from unpaired.evaluation.test_set import TestSet
from unpaired.randomness import rng


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of trials of a participant. Raises ConfigError for negative ones, or without a scored trial."""

    practice: int = 10
    scored: int = 40
    checks: int = 6

    def __post_init__(self) -> None:
        require(self.scored >= 1, f"--trials must be at least 1, not {self.scored}.")
        for name, count in (("practice", self.practice), ("checks", self.checks)):
            require(count >= 0, f"--{name} must be at least 0, not {count}.")

    @property
    def judged(self) -> int:
        """Trials with translations of a real-or-fake study: practice and scored ones."""
        return self.practice + self.scored

    @property
    def all(self) -> int:
        """All trials."""
        return self.judged + self.checks


def real_or_fake_images(
    tests: TestSet, direction: str, counts: Counts, num_models: int, seed: int, salt: int
) -> tuple[list[int], list[list[int]]]:
    """Return the indices of the images to translate, the same for each model, and those of the real images by model.

    Each model has its own real images: one that appeared in the trials of two models would be recognised as real by
    anyone who compares their files. The two images of a trial are from different scenes, also in paired data (pix2pix,
    section 4.1). Raises DataError if there are too few images.
    """
    num_inputs, num_real = len(tests.side(direction[0])), len(tests.side(direction[-1]))
    needed = num_models * counts.all
    _require_images(num_inputs, counts.judged, direction[0])
    _require_images(num_real, needed, direction[-1])
    inputs = rng(seed, "study inputs", salt).permutation(num_inputs)
    order, first = rng(seed, "study real", salt).permutation(num_real), 0
    if tests.truth:
        # Trial j shows the translation of scene j and real scene j + first, or a later one for further models.
        order, first = inputs, counts.judged if counts.checks or num_real > needed else 1
    real = [int(order[(first + index) % num_real]) for index in range(needed)]
    per_model = [real[start : start + counts.all] for start in range(0, needed, counts.all)]
    return [int(index) for index in inputs[: counts.judged]], per_model


def input_images(tests: TestSet, direction: str, count: int, seed: int, salt: int) -> list[int]:
    """Return the indices of `count` different images to translate. Raises DataError if there are too few."""
    total = len(tests.side(direction[0]))
    _require_images(total, count, direction[0])
    return [int(index) for index in rng(seed, "study inputs", salt).permutation(total)[:count]]


def _require_images(have: int, need: int, domain: str) -> None:
    if have < need:
        raise DataError(
            f"The study needs {need} test images of domain {domain}, as no image is shown twice, and there are {have}; "
            "add images, lower --trials, --practice or --checks, or make a study for each model."
        )
