"""How unlike the training images an image is: the distance to the nearest of them, in features that nobody trained."""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.images.batches import as_files
from unpaired.networks.random_convolutions import MIN_SIZE, RandomConvolutions

NEIGHBOURS = 5
"""How many of the nearest training images an image is compared with."""

_BATCH = 16
_TINY = 1e-6


class Typicality:
    """The training images of a domain as points, and how far others are from them.

    Features of random convolutions at three scales, each in units of its spread over the training images. features:
    n d of the training images, all of `size` x `size`; a larger image is looked at in squares of that size.
    """

    def __init__(self, features: Tensor, size: int, channels: int) -> None:
        self.features, self.size = features, size
        self._look = RandomConvolutions(channels)
        spread = features.std(dim=0, correction=0)
        # A feature that never varied says as little about an image as about the training images.
        self._scale = torch.where(spread > _TINY, 1 / spread.clamp(min=_TINY), 0.0) / features.shape[1] ** 0.5
        self._points = features * self._scale

    @classmethod
    def of(cls, images: Tensor) -> Typicality:
        """Describe training images n c size size in [-1, 1], as 8-bit files would hold them."""
        _, channels, size, _ = images.shape
        return cls(_features(RandomConvolutions(channels), images), size, channels)

    def among_themselves(self) -> Tensor:
        """Return the distance of each training image from the others, n; it is not compared with itself."""
        return self._nearest(torch.cdist(self._points, self._points).fill_diagonal_(float("inf")))

    def distance(self, image: Tensor) -> float:
        """Return the mean distance of the squares of an image c h w from their nearest training images."""
        points = _features(self._look, squares(image.float().cpu(), self.size)) * self._scale
        return float(self._nearest(torch.cdist(points, self._points)).mean())

    def _nearest(self, distances: Tensor) -> Tensor:
        count = min(NEIGHBOURS, len(self.features) - 1)
        return distances.topk(count, dim=1, largest=False).values.mean(dim=1)


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
