"""The entry "scale" of model.json: how training resized its images, and how far another image is from that scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unpaired.config import require
from unpaired.models.bounds import MAX_SIDE
from unpaired.training_size import Preprocess, training_size

FAR = 1.5
"""Ratio of sides from which an image is far from the scale of training, in either direction.

Published recipes resize to 286 for crops of 256, a ratio of 1.12, and generators tolerate that; at 1.5 an object has
more than twice as many pixels as in training.
"""


@dataclass(frozen=True, kw_only=True)
class ScaleInfo:
    """The resizing of the training images; models of earlier versions do not record it.

    load_size, crop_size: in pixels.
    size_a, size_b: median width and height of the training images of A and B before resizing, in pixels; () if unknown,
        and for noise.
    """

    preprocess: Preprocess
    load_size: int
    crop_size: int
    size_a: tuple[int, ...] = ()
    size_b: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for sides in (self.size_a, self.size_b):
            require(len(sides) in (0, 2), f"scale has {list(sides)}, which is not a width and a height")
        for side in (self.load_size, self.crop_size, *self.size_a, *self.size_b):
            require(1 <= side <= MAX_SIDE, f"scale has a side of {side}, but it must be 1 to {MAX_SIDE}")

    @property
    def resizes(self) -> bool:
        """Whether training brought its images to another size."""
        return self.preprocess not in ("crop", "none")

    def trained(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (h, w) to which training would have resized an image of this size."""
        return training_size(
            height, width, preprocess=self.preprocess, load_size=self.load_size, crop_size=self.crop_size
        )

    def ratio(self, height: int, width: int) -> float:
        """Return how many times as large an image is as training would have made it: the root of the ratio of areas."""
        high, wide = self.trained(height, width)
        return math.sqrt(height * width / (high * wide))

    def is_far(self, height: int, width: int) -> bool:
        """Return whether an image is at least `FAR` times as large as in training, or as small."""
        ratio = self.ratio(height, width)
        return self.resizes and max(ratio, 1 / ratio) >= FAR

    def words(self, domain: str) -> str:
        """Return the resizing of the images of domain "A" or "B" in words: "from 256 x 256 (median) to 70 x 70"."""
        median = self.size_a if domain == "A" else self.size_b
        before = f" from {median[0]} x {median[1]} (median)" if median else ""
        if self.preprocess == "resize_and_crop":
            return f"resized{before} to {self.load_size} x {self.load_size}"
        return f"resized{before} to a width of {self.load_size}" if self.resizes else f"not resized{before[5:]}"
