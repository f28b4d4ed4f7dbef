"""Differentiable augmentation (Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020).

A discriminator overfits a small training set. Here it receives real and generated images only after random,
differentiable augmentations. The generator's gradient flows through them, so that it does not learn to reproduce them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.ranks import draw_for_own_images

Change = Callable[[Tensor], Tensor]

SHIFT = 1 / 8
"""Maximum translation, as a fraction of the image's side."""

CUT_OUT = 1 / 2
"""Side of the cutout square, as a fraction of the image's side."""


def augmented(images: Tensor, names: tuple[str, ...], probability: float | Tensor = 1.0) -> Tensor:
    """Apply the named augmentations of CHANGES to images n c h w in [-1, 1], with random numbers per image.

    probability: probability of applying an augmentation to an image (Karras et al., "Training generative adversarial
    networks with limited data", 2020); below 1 the unchanged images prevent a colour drift. It may be a
    tensor of one value, which is not read.

    Colours may leave the range; padding is 0. Uses torch's global generator, without synchronising with the device.
    """
    for name in names:
        changed = CHANGES[name](images)
        images = (
            changed
            if isinstance(probability, float) and probability == 1
            else torch.where(_uniform(images) < probability, changed, images)
        )
    return images


def colour(images: Tensor) -> Tensor:
    """Change brightness by up to a quarter of the range, scale saturation by 0 to 2 and contrast by 0.5 to 1.5."""
    images = images + (_uniform(images) - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * _uniform(images)) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_uniform(images) + 0.5) + mean


def translation(images: Tensor) -> Tensor:
    """Translate by whole pixels, up to SHIFT of the side in either direction."""
    count, channels, height, width = images.shape
    for dim, size in ((2, height), (3, width)):
        most = round(size * SHIFT)
        start = (_uniform(images) * (2 * most + 1)).long()
        # Each pixel is read at most once, so the gradient is exact and independent of the order of summation.
        places = start + torch.arange(size, device=images.device).view((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1))
        padded = F.pad(images, (0, 0, most, most) if dim == 2 else (most, most))
        images = padded.gather(dim, places.expand(count, channels, height, width))
    return images


def cutout(images: Tensor) -> Tensor:
    """Set a square of CUT_OUT of the sides to 0, with a random centre in the image."""
    inside = images.new_ones((), dtype=torch.bool)
    for dim, size in ((2, images.shape[2]), (3, images.shape[3])):
        middle = (_uniform(images) * size).floor()
        places = torch.arange(size, device=images.device).view((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1))
        inside = inside & ((places - middle).abs() < size * CUT_OUT / 2)
    return images * ~inside


def _uniform(images: Tensor) -> Tensor:
    """Return a uniform random number in [0, 1) per image, n 1 1 1."""
    return draw_for_own_images(lambda count: torch.rand(count, 1, 1, 1, device=images.device), len(images))


CHANGES: dict[str, Change] = {"colour": colour, "translation": translation, "cutout": cutout}
"""The augmentations of the paper by name, in its order."""
