"""Differentiable augmentation (Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020).

A discriminator that sees a small set often enough learns its images by heart. Here it sees real and generated images
only after random changes, and the generator's gradient flows through them, so that the changes are not learnt.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.ranks import draw_for_own_images

Change = Callable[[Tensor], Tensor]

SHIFT = 1 / 8
"""Largest translation, as a part of the image's side."""

CUT_OUT = 1 / 2
"""Side of the square that is cut out, as a part of the image's side."""


def augmented(images: Tensor, names: tuple[str, ...], probability: float = 1.0) -> Tensor:
    """Return images (n c h w in [-1, 1]) after the named changes of CHANGES, each image with draws of its own.

    probability: with which an image goes through a change, as in Karras et al. ("Training generative adversarial
    networks with limited data", 2020); below 1 what is left as it is keeps colours from drifting. Colours may leave
    the range; what comes from outside an image is 0. The draws are torch's, and no value is read.
    """
    for name in names:
        changed = CHANGES[name](images)
        images = changed if probability == 1 else torch.where(_uniform(images) < probability, changed, images)
    return images


def colour(images: Tensor) -> Tensor:
    """Change brightness by up to a quarter of the range, saturation by 0 to 2 and contrast by .5 to 1.5."""
    images = images + (_uniform(images) - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * _uniform(images)) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_uniform(images) + 0.5) + mean


def translation(images: Tensor) -> Tensor:
    """Shift by whole pixels, up to SHIFT of the side either way."""
    count, channels, height, width = images.shape
    for dim, size in ((2, height), (3, width)):
        most = round(size * SHIFT)
        start = (_uniform(images) * (2 * most + 1)).long()
        # Each place is read at most once, so the gradient is exact and in no need of an order.
        places = start + torch.arange(size, device=images.device).view((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1))
        padded = F.pad(images, (0, 0, most, most) if dim == 2 else (most, most))
        images = padded.gather(dim, places.expand(count, channels, height, width))
    return images


def cutout(images: Tensor) -> Tensor:
    """Set a square of CUT_OUT of the sides to 0, its middle anywhere in the image."""
    inside = images.new_ones((), dtype=torch.bool)
    for dim, size in ((2, images.shape[2]), (3, images.shape[3])):
        middle = (_uniform(images) * size).floor()
        places = torch.arange(size, device=images.device).view((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1))
        inside = inside & ((places - middle).abs() < size * CUT_OUT / 2)
    return images * ~inside


def _uniform(images: Tensor) -> Tensor:
    """Return a number of [0, 1) for each image, n 1 1 1."""
    return draw_for_own_images(lambda count: torch.rand(count, 1, 1, 1, device=images.device), len(images))


CHANGES: dict[str, Change] = {"colour": colour, "translation": translation, "cutout": cutout}
"""The changes of the paper by name, in its order."""
