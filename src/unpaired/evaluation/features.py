"""Features for distances between two sets of images, and their common scale."""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.networks.random_convolutions import MIN_SIZE, RandomConvolutions

__all__ = ["MIN_SIZE", "RandomConvolutions", "standardised"]


def standardised(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two sets of features n d and m d, each column with mean 0 and variance 1 over both sets together.

    Statistics of both sets keep the comparison symmetric. A constant column becomes 0.
    """
    both = torch.cat([x, y]).double()
    mean, deviation = both.mean(dim=0), both.std(dim=0, correction=0)
    constant = deviation <= 1e-7 * (mean.abs() + 1e-6)
    scale = torch.where(constant, torch.zeros_like(deviation), 1 / deviation.where(~constant, deviation.new_ones(())))
    return ((x - mean) * scale).float(), ((y - mean) * scale).float()
