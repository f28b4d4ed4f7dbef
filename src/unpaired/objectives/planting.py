"""Objects of random shape and texture, planted into training images so that generators learn to keep unknown content.

No training image shows content outside of both domains. Here some of them contain synthetic objects, and the
translation has to show them unchanged. The idea is that of outlier exposure (Hendrycks et al. 2019,
"Deep Anomaly Detection with Outlier Exposure"): random objects stand for all content outside the training domain. Both
domains receive objects of the same distribution, so that a discriminator cannot recognise translations by them.

The mask of a generator is trained to be closed on objects and open elsewhere, and by nothing else: a mask that is
closed everywhere has no cycle and identity loss, and training ends there (benchmarks/2026-12-01-attention.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.protocols import HasMask
from unpaired.ranks import draw_for_own_images

SHARE = 0.5
"""Probability of each of the `OBJECTS` to be planted into an image."""

OBJECTS = 3
"""Largest number of objects in an image."""

RADII = (0.05, 0.22)
"""Smallest and largest half axis of an object, as a fraction of the image's side."""

OPEN_WEIGHT = 0.1
"""Weight of the cross-entropy of masks outside of planted objects, relative to that on them."""

_LEAST = 1e-6  # of a probability in a logarithm

Uniform = Callable[[float, float], Tensor]


@dataclass(frozen=True)
class Planted:
    """Images with planted objects, n c h w in [-1, 1], and maps of their pixels, n 1 h w: 0 or 1.

    objects: 1 for the pixels of objects. elsewhere: 1 for the other pixels, except edges, which are blends of both.
    """

    images: Tensor
    objects: Tensor
    elsewhere: Tensor


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
    objects, elsewhere = torch.zeros_like(images[:, :1]), torch.ones_like(images[:, :1])
    for _ in range(OBJECTS):
        cover, texture = _object(images)
        images = images + cover * (texture - images)
        objects = torch.maximum(objects * (cover == 0), (cover == 1).to(objects))
        elsewhere = elsewhere * (cover == 0)
    return Planted(images, objects, elsewhere)


def with_mask(network: nn.Module, planted: object) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a generator, with its mask as one more channel if objects are planted and it has one.

    `separated` takes the result apart. The mask is then trained by its cross-entropy alone: cycle and identity losses,
    which a closed mask minimises, do not reach it.
    """
    return network.with_mask if planted and isinstance(network, HasMask) else network


def separated(made: Tensor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return translations n c h w, and their masks n 1 h w or None, from the result of `with_mask` for n c h w."""
    channels = images.shape[1]
    return (made, None) if made.shape[1] == channels else (made[:, :channels], made[:, channels:])


def planted_loss(made: Tensor, mask: Tensor | None, planted: Planted) -> Tensor:
    """Return the loss of translations on planted objects: L1 to the input, and the cross-entropy of the masks."""
    loss = kept_l1(made, planted)
    return loss if mask is None else loss + mask_cross_entropy(mask, planted)


def mask_cross_entropy(mask: Tensor, planted: Planted) -> Tensor:
    """Return the cross-entropy of masks n 1 h w, whose truth is 0 on planted objects and 1 elsewhere.

    Edges do not count. Elsewhere the weight is `OPEN_WEIGHT`, because most pixels are there.
    """
    mask = mask.float().clamp(_LEAST, 1 - _LEAST)
    closed, opened = planted.objects, planted.elsewhere
    return -(closed * torch.log(1 - mask) + OPEN_WEIGHT * opened * torch.log(mask)).mean()


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
