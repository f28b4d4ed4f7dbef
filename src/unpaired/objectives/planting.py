"""Objects of random shape and texture, planted into training images so that masks learn to close on unknown content.

No training image shows content outside of both domains. Here copies of them contain synthetic objects, and the mask of
a generator learns to be closed on these and open elsewhere. The idea is that of outlier exposure (Hendrycks et al.
2019, "Deep Anomaly Detection with Outlier Exposure"): random objects stand for all content outside the training domain.

Nothing else trains the mask then: the method's losses train the translation T without the gate. A mask that these
train instead stayed half open and did not recognise unknown content (benchmarks/2026-12-01-attention.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.data.datasets import Batch
from unpaired.networks.protocols import HasMask
from unpaired.objectives.base import Objective
from unpaired.ranks import draw_for_own_images

OBJECTS = 6
"""Largest number of objects in an image."""

RADII = (0.05, 0.22)
"""Smallest and largest half axis of an object, as a fraction of the image's side."""

COPIES = 2
"""Copies of each training image in a step, with different objects."""

OPEN_WEIGHT = 0.6
"""Weight of a mask's cross-entropy outside of planted objects, relative to that on them."""

Uniform = Callable[[float, float], Tensor]


@dataclass(frozen=True)
class Planted:
    """Images with planted objects, n c h w in [-1, 1], and maps of their pixels, n 1 h w: 0 or 1.

    objects: 1 for the pixels of objects. elsewhere: 1 for the other pixels, except edges, which are blends of both.
    """

    images: Tensor
    objects: Tensor
    elsewhere: Tensor


def plant(images: Tensor) -> Planted:
    """Plant up to `OBJECTS` objects into each image n c h w in [-1, 1], of any number of channels.

    Uses torch's global generator with random numbers per image, without synchronising with the device.
    """
    objects, elsewhere = torch.zeros_like(images[:, :1]), torch.ones_like(images[:, :1])
    share = _uniform(images, 0, 1)  # of the objects, so that a seventh of the images has none
    for _ in range(OBJECTS):
        cover, texture = _object(images, share)
        images = images + cover * (texture - images)
        objects = torch.maximum(objects * (cover == 0), (cover == 1).to(objects))
        elsewhere = elsewhere * (cover == 0)
    return Planted(images, objects, elsewhere)


@contextmanager
def open_gates(objective: Objective[Any]) -> Iterator[None]:
    """Let generators whose masks have a loss of their own translate all pixels in the block."""
    gated = [network for network in objective.generators().values() if _has_mask_loss(network)]
    for network in gated:
        network.open = True
    try:
        yield
    finally:
        for network in gated:
            network.open = False


def mask_terms(objective: Objective[Any], batch: Batch) -> dict[str, Tensor]:
    """Return the weighted losses of the generators' masks, "mask_a" for the one that translates A; {} without masks.

    `COPIES` of each training image are planted.
    """
    terms = {}
    for direction, network in objective.generators().items():
        if _has_mask_loss(network):
            images = batch.a if direction == "AtoB" else batch.b
            # Planted one after the other, so that the objects of an image do not depend on the number of ranks.
            copies = [plant(images) for _ in range(COPIES)]
            together = Planted(
                *(torch.cat([getattr(copy, field.name) for copy in copies]) for field in fields(Planted))
            )
            terms[f"mask_{direction[0].lower()}"] = network.mask_weight * mask_loss(network, together)
    return terms


def _has_mask_loss(network: nn.Module) -> TypeGuard[HasMask]:
    return isinstance(network, HasMask) and network.mask_weight > 0


def mask_loss(network: HasMask, planted: Planted) -> Tensor:
    """Return the cross-entropy of a generator's mask, whose truth is 0 on planted objects and 1 elsewhere.

    Edges do not count. Elsewhere the weight is `OPEN_WEIGHT`, because most pixels are there.
    """
    logits = network.mask_logits(planted.images)
    weight = planted.objects + OPEN_WEIGHT * planted.elsewhere
    return F.binary_cross_entropy_with_logits(logits, planted.elsewhere.to(logits), weight.to(logits))


def _uniform(images: Tensor, low: float, high: float, *, numbers: int = 1) -> Tensor:
    """Return uniform random numbers for each image, n numbers 1 1."""
    drawn = draw_for_own_images(lambda count: torch.rand(count, numbers, 1, 1, device=images.device), len(images))
    return low + (high - low) * drawn.to(images.dtype)


def _object(images: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return an object for each image: its cover n 1 h w in [0, 1] and its texture n c h w.

    share: the probability of the object for each image, n 1 1 1; the cover is 0 otherwise.
    """
    uniform = partial(_uniform, images)
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).add(0.5).div(height).view(1, 1, -1, 1).to(images.dtype)
    columns = torch.arange(width, device=images.device).add(0.5).div(width).view(1, 1, 1, -1).to(images.dtype)
    x, y = _turned(columns - uniform(0, 1), rows - uniform(0, 1), uniform(0, math.pi))
    cover = _cover(x, y, uniform, min(height, width)) * (uniform(0, 1) < share)
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
