"""Gram matrices and the distances of neural style transfer (Gatys, Ecker, Bethge, CVPR 2016), on maps of any network.

The published terms are normalised by their number of entries, and the published VGG is rescaled to activations of mean
1. Here each layer's term is divided by the energy of its target, which does both for networks of any scale: 0 is equal,
1 is as far as a constant 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_EPSILON = 1e-12


def gram(maps: Tensor) -> Tensor:
    """Return the Gram matrices n c c, float32 at least, of maps n c h w: mean products over positions (eq. 3).

    The mean makes images of different sizes comparable.
    """
    with torch.autocast(maps.device.type, enabled=False):
        vectors = maps.flatten(2)
        vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
        return vectors @ vectors.transpose(1, 2) / vectors.shape[2]


def style_distance(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Return the squared distance of Gram matrices (eq. 4 and 5), averaged over images and over the layers of both.

    maps: n c h w by layer. targets: Gram matrices n c c or 1 c c by layer.
    """
    return _mean({name: _relative(gram(maps[name]), targets[name]) for name in targets if name in maps})


def content_distance(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Return the squared distance of maps n c h w at each position (eq. 1), averaged over images and layers."""
    return _mean({name: _relative(maps[name], targets[name]) for name in targets if name in maps})


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels of n c h w, along both axes."""
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def _relative(found: Tensor, target: Tensor) -> Tensor:
    """Return |found - target|^2 / |target|^2 of each image, averaged over images; the target is a constant."""
    target = target.detach()
    error = (found - target).flatten(1).square().mean(dim=1)
    return (error / (target.flatten(1).square().mean(dim=1) + _EPSILON)).mean()


def _mean(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).mean()
