"""Out-of-distribution score: the distance of an image to its nearest training images, in random features."""

from __future__ import annotations

import math
from functools import cached_property
from statistics import NormalDist

import torch
from torch import Tensor

from unpaired.images.tensors import as_files
from unpaired.networks.random_convolutions import MIN_SIZE, RandomConvolutions

NEIGHBOURS = 5
"""The number of nearest training images whose distances are averaged."""

LEAST = 20
"""The least number of distinct training images for an out-of-distribution decision."""

FALSE_ALARMS = 0.01
"""The share of in-distribution images flagged as out of distribution, if log distances are normal."""

_BATCH = 16
_FLOOR = 0.3  # the least spread of a feature, relative to the median spread
_TINY = 1e-6


class OODScore:
    """The out-of-distribution score of a domain: a k-nearest-neighbour distance to its training images.

    Features are those of random convolutions at three scales, each in units of its spread over the training images.
    features: n d, of training images `size` x `size`; a larger image is covered with squares of that size.
    """

    def __init__(self, features: Tensor, size: int, channels: int) -> None:
        self.features, self.size = features, size
        self._extractor = RandomConvolutions(channels)
        self._scale = _scale(features.std(dim=0, correction=0))
        self._points = features * self._scale

    @classmethod
    def of(cls, images: Tensor) -> OODScore:
        """Return the score for training images n c size size in [-1, 1], rounded as in 8-bit files."""
        _, channels, size, _ = images.shape
        return cls(_features(RandomConvolutions(channels), images), size, channels)

    def among_themselves(self) -> Tensor:
        """Return the leave-one-out distance of each training image from the others, n.

        The spread of the features is computed without the image, too. Otherwise each of 20 images would be so much
        nearer than a new one that a quarter of new images of the same kind would be beyond the farthest.
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
        return float(self.distances(_features(self._extractor, squares(image.float().cpu(), self.size))).mean())

    def distances(self, features: Tensor) -> Tensor:
        """Return the distance of images with features n d from their nearest training images, n."""
        return self._nearest(torch.cdist(features * self._scale, self._points))

    def _nearest(self, distances: Tensor) -> Tensor:
        count = min(NEIGHBOURS, len(self.features) - 1)
        return distances.topk(count, dim=1, largest=False).values.mean(dim=1)


class DistanceDistribution:
    """A log-normal fit to leave-one-out distances, for decisions with few training images.

    A share of n training images is never below 1 / (n + 1). Log distances are close to normal, and the tail of a normal
    distribution extends beyond the largest of them. distances: of n images from the others.
    """

    def __init__(self, distances: Tensor) -> None:
        # Duplicates have the distance 0, which is no evidence about other images.
        apart = distances[distances > _TINY].double().log()
        self.count = len(apart)
        self._mean = float(apart.mean()) if self.count else 0.0
        self._deviation = float(apart.std()) if self.count > 1 else 0.0

    @property
    def known(self) -> bool:
        """Whether there are enough images with enough variation for a decision."""
        return self.count >= LEAST and self._deviation > _TINY

    @cached_property
    def limit(self) -> float:
        """The spreads beyond which an image is out of distribution: 2.60 for 20 images, 2.35 for 256.

        The upper end of a prediction interval of Student's t distribution with n - 1 degrees of freedom, as mean and
        deviation are estimates.
        """
        return _student(1 - FALSE_ALARMS, self.count - 1) * math.sqrt(1 + 1 / self.count)

    def spreads(self, distance: float) -> float | None:
        """Return by how many standard deviations the log of a distance exceeds the mean; None if unknown."""
        if not self.known:
            return None
        return (math.log(max(distance, _TINY)) - self._mean) / self._deviation

    def out_of_distribution(self, distance: float) -> bool | None:
        """Return whether an image at this distance is out of distribution; None if unknown."""
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
    """Return the factor of each of d features, given their spread over the training images.

    A feature with almost no spread would dominate all others in an image in which it varies.
    """
    floor = max(_FLOOR * float(spread.median()), _TINY)
    return (spread.square() + floor**2).mul(spread.shape[0]).rsqrt()


def large_enough(size: int) -> bool:
    """Return whether images with sides of this length have features."""
    return size >= MIN_SIZE


def squares(image: Tensor, size: int) -> Tensor:
    """Return the fewest squares n c size size that cover an image c h w, evenly spaced.

    An image that is too small is reflected, as for the generator.
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


def _features(extractor: RandomConvolutions, images: Tensor) -> Tensor:
    parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    return torch.cat([extractor(as_files(part).float()) for part in parts])
