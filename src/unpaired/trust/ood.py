"""How unlike the training images an image is: the distance to the nearest of them, in features that nobody trained."""

from __future__ import annotations

import math
from functools import cached_property
from statistics import NormalDist

import torch
from torch import Tensor

from unpaired.images.tensors import as_files
from unpaired.networks.random_convolutions import MIN_SIZE, RandomConvolutions

NEIGHBOURS = 5
"""How many of the nearest training images an image is compared with."""

LEAST = 20
"""Training images, with a distance of their own from the others, below which nothing is said about their spread."""

FALSE_ALARMS = 0.01
"""The share of images of the same kind that are called out of distribution, if log distances are normal."""

_BATCH = 16
_FLOOR = 0.3  # of the median spread, below which the spread of no feature counts
_TINY = 1e-6


class Typicality:
    """The training images of a domain as points, and how far others are from them.

    Features of random convolutions at three scales, each in units of its spread over the training images. features:
    n d of the training images, all of `size` x `size`; a larger image is looked at in squares of that size.
    """

    def __init__(self, features: Tensor, size: int, channels: int) -> None:
        self.features, self.size = features, size
        self._look = RandomConvolutions(channels)
        self._scale = _scale(features.std(dim=0, correction=0))
        self._points = features * self._scale

    @classmethod
    def of(cls, images: Tensor) -> Typicality:
        """Describe training images n c size size in [-1, 1], as 8-bit files would hold them."""
        _, channels, size, _ = images.shape
        return cls(_features(RandomConvolutions(channels), images), size, channels)

    def among_themselves(self) -> Tensor:
        """Return the distance of each training image from the others, n, as if it had not been among them.

        The spread of the features is that of the others, too. With its own share in it, each of 20 images would be so
        much nearer than a new one that a quarter of new ones of the same kind were beyond the farthest.
        """
        features = self.features.double()
        count = len(features)
        mean, variance = features.mean(dim=0), features.var(dim=0, correction=0)
        found = []
        for index in range(count):
            own = (features[index] - mean) ** 2 / (count - 1)
            scale = _scale(((variance - own).clamp(min=0) * count / (count - 1)).sqrt().float())
            points = self.features * scale
            distances = torch.cdist(points[index : index + 1], points)
            distances[0, index] = float("inf")
            found.append(self._nearest(distances))
        return torch.cat(found)

    def distance(self, image: Tensor) -> float:
        """Return the mean distance of the squares of an image c h w from their nearest training images."""
        return float(self.distances(_features(self._look, squares(image.float().cpu(), self.size))).mean())

    def distances(self, features: Tensor) -> Tensor:
        """Return the distance of images, described by features n d, from their nearest training images, n."""
        return self._nearest(torch.cdist(features * self._scale, self._points))

    def _nearest(self, distances: Tensor) -> Tensor:
        count = min(NEIGHBOURS, len(self.features) - 1)
        return distances.topk(count, dim=1, largest=False).values.mean(dim=1)


class Spread:
    """How far apart the images of a domain are, so that one from elsewhere can be recognised though they are few.

    A share of n training images is never below 1 / (n + 1). The logarithms of their distances are close to normal, and
    the tail of a normal distribution goes on beyond the farthest of them. distances: of n images from the others.
    """

    def __init__(self, distances: Tensor) -> None:
        # An image that is there six times has the distance 0, which says nothing about that of other images.
        apart = distances[distances > _TINY].double().log()
        self.count = len(apart)
        self._mean = float(apart.mean()) if self.count else 0.0
        self._deviation = float(apart.std()) if self.count > 1 else 0.0

    @property
    def known(self) -> bool:
        """Whether there are images enough, and they differ enough, to say anything."""
        return self.count >= LEAST and self._deviation > _TINY

    @cached_property
    def limit(self) -> float:
        """The spreads beyond which an image is out of distribution: 2.60 for 20 images, 2.35 for 256.

        The upper end of a prediction interval, from Student's t distribution with n - 1 degrees of freedom, as the
        mean and the deviation are estimates themselves.
        """
        return _student(1 - FALSE_ALARMS, self.count - 1) * math.sqrt(1 + 1 / self.count)

    def spreads(self, distance: float) -> float | None:
        """Return how many standard deviations the log of a distance is above the mean; None if it cannot be told."""
        if not self.known:
            return None
        return (math.log(max(distance, _TINY)) - self._mean) / self._deviation

    def outside(self, distance: float) -> bool | None:
        """Return whether an image at a distance is out of distribution; None if it cannot be told."""
        found = self.spreads(distance)
        return None if found is None else found > self.limit


def _student(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t distribution; exact to four digits from 19 degrees of freedom on.

    Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / math.pow(freedom, power) for power, term in enumerate(terms))


def _scale(spread: Tensor) -> Tensor:
    """Return what to multiply each of d features by, given their spread over the training images.

    A feature that hardly varies would outweigh all others together in an image in which it does.
    """
    floor = max(_FLOOR * float(spread.median()), _TINY)
    return (spread.square() + floor**2).mul(spread.shape[0]).rsqrt()


def can_look(size: int) -> bool:
    """Return whether images of a side are large enough to be described."""
    return size >= MIN_SIZE


def squares(image: Tensor, size: int) -> Tensor:
    """Return an image c h w as the fewest squares n c size size that cover it, evenly spread.

    One that is too small is mirrored, as it is for the generator.
    """
    for axis in (-2, -1):
        length = image.shape[axis]
        if length < size:
            period = max(2 * length - 2, 1)
            index = torch.arange(size) % period
            image = image.index_select(axis, torch.where(index < length, index, period - index))
    rows, columns = (_starts(length, size) for length in image.shape[-2:])
    return torch.stack([image[:, top : top + size, left : left + size] for top in rows for left in columns])


def _starts(length: int, size: int) -> list[int]:
    count = -(-length // size)
    return [round(number * (length - size) / max(count - 1, 1)) for number in range(count)]


def _features(look: RandomConvolutions, images: Tensor) -> Tensor:
    parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    return torch.cat([look(as_files(part).float()) for part in parts])
