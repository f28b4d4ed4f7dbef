"""Objects of random shape and texture, planted into training images so that generators learn to keep unknown content.

The training images never show a generator anything foreign to both domains. Here some of them contain synthetic
objects, and the translation has to show them unchanged. The idea is that of outlier exposure (Hendrycks et al. 2019,
"Deep Anomaly Detection with Outlier Exposure"): random objects stand for all content outside the training domain. Both
domains receive objects of the same distribution, so that a discriminator cannot recognise translations by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.ranks import draw_for_own_images

SHARE = 0.5
"""Probability of each of the `OBJECTS` to be planted into an image."""

OBJECTS = 2
"""Largest number of objects in an image."""

RADII = (0.05, 0.2)
"""Smallest and largest half axis of an object, as a fraction of the image's side."""

Uniform = Callable[[float, float], Tensor]


@dataclass(frozen=True)
class Planted:
    """Images with planted objects, n c h w in [-1, 1], and a map of the objects, n 1 h w: 1 for their pixels, else 0.

    The edge of an object is blended with the image and belongs to neither.
    """

    images: Tensor
    objects: Tensor


@dataclass(frozen=True)
class PlantedBatch:
    """Both domains of a batch with planted objects."""

    a: Planted
    b: Planted

    @property
    def batch(self) -> Batch:
        """The images alone."""
        return Batch(a=self.a.images, b=self.b.images)


def plant_into(batch: Batch, weight: float) -> PlantedBatch | None:
    """Return the batch with planted objects if their term has a weight above 0, else None."""
    return PlantedBatch(plant(batch.a), plant(batch.b)) if weight > 0 else None


def require_equal_channels(weight: float, channels_a: int, channels_b: int) -> None:
    """Raise ConfigError for a weight above 0 if a translation cannot show the pixels of its input."""
    require(
        weight == 0 or channels_a == channels_b,
        f"objective.planted_weight must be 0 if the domains differ in channels ({channels_a} and {channels_b}): a "
        "translation cannot contain pixels of its input then.",
    )


def plant(images: Tensor) -> Planted:
    """Plant up to `OBJECTS` objects into each image n c h w in [-1, 1], of any number of channels.

    Uses torch's global generator with random numbers per image, without synchronising with the device.
    """
    whole = torch.zeros_like(images[:, :1])
    for _ in range(OBJECTS):
        cover, texture = _object(images)
        images = images + cover * (texture - images)
        whole = torch.maximum(whole * (cover == 0), (cover == 1).to(whole))
    return Planted(images, whole)


def kept_l1(made: Tensor, planted: Planted) -> Tensor:
    """Return the L1 distance between translations and their inputs on planted objects, averaged over all pixels.

    made: translations of `planted.images`, n c h w. The average is over all pixels, like that of cycle consistency, so
    that a small object counts less than a large one.
    """
    return ((made - planted.images).abs() * planted.objects).mean()


def _object(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return an object for each image: its cover n 1 h w in [0, 1], 0 everywhere for some, and its texture n c h w."""

    def uniform(low: float, high: float, *, numbers: int = 1) -> Tensor:
        drawn = draw_for_own_images(lambda count: torch.rand(count, numbers, 1, 1, device=images.device), len(images))
        return low + (high - low) * drawn.to(images.dtype)

    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).add(0.5).div(height).view(1, 1, -1, 1).to(images.dtype)
    columns = torch.arange(width, device=images.device).add(0.5).div(width).view(1, 1, 1, -1).to(images.dtype)
    x, y = _turned(columns - uniform(0, 1), rows - uniform(0, 1), uniform(0, math.pi))
    cover = _cover(x, y, uniform, min(height, width)) * (uniform(0, 1) < SHARE)
    weight = _pattern(x, y, uniform)
    channels = images.shape[1]
    first, second = uniform(-1, 1, numbers=channels), uniform(-1, 1, numbers=channels)
    return cover, first + weight * (second - first)


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return cosine * x + sine * y, cosine * y - sine * x


def _cover(x: Tensor, y: Tensor, uniform: Uniform, side: int) -> Tensor:
    """Return a superellipse, from a diamond to a box, with lobes; its edge is one pixel wide."""
    smallest, largest = map(math.log, RADII)
    radius_x, radius_y = torch.exp(uniform(smallest, largest)), torch.exp(uniform(smallest, largest))
    exponent = torch.exp2(uniform(0, 3))
    lobes = 1 + uniform(0, 0.4) * torch.cos(uniform(2, 7).floor() * torch.atan2(y, x) + uniform(0, 2 * math.pi))
    distance = ((x / radius_x).abs() ** exponent + (y / radius_y).abs() ** exponent) ** (1 / exponent) / lobes
    return ((1 - distance) * torch.minimum(radius_x, radius_y) * side + 0.5).clamp(0, 1)


def _pattern(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """Return the share of the second colour in [0, 1]: none, a gradient, stripes or checks, soft or sharp."""
    across, along = _turned(x, y, uniform(0, math.pi))
    waves = torch.sin(2 * math.pi * torch.exp(uniform(-1, 2.5)) * across + uniform(0, 2 * math.pi))
    checks = torch.sin(2 * math.pi * torch.exp(uniform(0.5, 2.5)) * along)
    waves = torch.where(uniform(0, 1) < 0.3, waves * checks, waves)
    share = (0.5 + torch.exp(uniform(-0.7, 2)) * waves / 2).clamp(0, 1)
    return share * (uniform(0, 1) < 0.7)
