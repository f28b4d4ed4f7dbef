"""Synthetic faults, to test the sensitivity of figures: blur, noise, colour, checkerboards and collapse.

Every function takes images n c h w in [-1, 1] and returns as many of the same shape, clipped to [-1, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.randomness import rng


def blur(images: Tensor, sigma: float = 1.0) -> Tensor:
    """Apply a Gaussian blur, sigma in pixels."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.softmax(-0.5 * (offsets / sigma).square(), dim=0)
    n, c, h, w = images.shape
    padded = F.pad(images.reshape(n * c, 1, h, w), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :]).reshape(n, c, h, w)


def noise(images: Tensor, levels: float, seed: int = 0) -> Tensor:
    """Add Gaussian noise, its standard deviation in 8-bit levels."""
    drawn = torch.from_numpy(rng(seed, "noise fault").standard_normal(tuple(images.shape))).to(images)
    return (images + drawn * (levels / 127.5)).clamp(-1, 1)


def hue_shift(images: Tensor, degrees: float = 30) -> Tensor:
    """Rotate the hues of RGB images about the grey axis; the mean of the channels is unchanged."""
    angle = math.radians(degrees)
    straight, side = (1 + 2 * math.cos(angle)) / 3, (1 - math.cos(angle)) / 3
    turn = math.sin(angle) / math.sqrt(3)
    rows = [
        [straight, side - turn, side + turn],
        [side + turn, straight, side - turn],
        [side - turn, side + turn, straight],
    ]
    return torch.einsum("ij,njhw->nihw", torch.tensor(rows).to(images), images).clamp(-1, 1)


def checkerboard(images: Tensor, levels: float = 8) -> Tensor:
    """Add and subtract a number of 8-bit levels at alternate pixels, as transposed convolutions may."""
    h, w = images.shape[-2:]
    sign = 1 - 2 * ((torch.arange(h)[:, None] + torch.arange(w)) % 2)
    return (images + sign.to(images) * (levels / 127.5)).clamp(-1, 1)


def collapse(images: Tensor, modes: int = 10) -> Tensor:
    """Repeat the first `modes` images until there are as many as before."""
    return images[torch.arange(len(images)) % min(modes, len(images))]
