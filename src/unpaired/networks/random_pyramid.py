"""Features from random convolutions for losses on images: textures and colours in their Gram matrices, and structure.

A few layers of random filters with ReLU, at several scales, are sufficient for textures (Ustyuzhaninov, Brendel, Gatys,
Bethge, "What does it take to generate natural textures?", ICLR 2017). They contain no semantics. Unlike
`random_convolutions`, whose statistics compare sets of images, the maps are spatial, deeper, and have gradients.

The weights are a constant, bit-identical on every machine and in every version, like those of `random_convolutions`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.networks.layers import InstanceNorm
from unpaired.networks.perceptual import FeatureNetwork

_FILTERS = 64
_DEPTH = 3
_SCALES = (1, 2, 4)
_MIN_SIZE = 16
_KEY = 0x756E7062

# Neighbouring pixels of photographs are nearly equal, so filters that sum to zero respond weakly. Without this factor
# colours dominate the Gram matrices, and fine noise costs nothing.
_TEXTURE_GAIN = 8.0

Array = np.ndarray[Any, np.dtype[np.float64]]


class RandomPyramid(FeatureNetwork):
    """Three layers of fixed random convolutions at full, half and quarter size; any number of channels.

    Layer 1: half of its 64 filters are 5 x 5 and sum to zero in each channel, so they respond to texture only; a
    quarter is 5 x 5 without this constraint, a quarter 1 x 1, with biases: colours. Layers 2 and 3: 2 x 2 average
    pooling, 3 x 3 filters that sum to zero. Each ends with ReLU. Scales below 16 pixels are omitted.

    Maps, for scale s of 1, 2 and 4 and layer k: xS.layerK as described, and xS.structureK for k >= 2: the same after
    instance norm, which removes the palette and contrast of the whole image and retains the arrangement.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            title="random convolutions",
            sha256="",
            layers=tuple(
                f"x{scale}.{name}{layer}"
                for scale in _SCALES
                for name in ("layer", "structure")
                for layer in range(2 if name == "structure" else 1, _DEPTH + 1)
            ),
            content=("x1.structure2", "x1.structure3"),
            style=tuple(f"x{scale}.layer{layer}" for scale in _SCALES for layer in range(1, _DEPTH + 1)),
            min_size=_MIN_SIZE,
        )
        self.channels = channels
        self.norm = InstanceNorm(_FILTERS)
        digest = hashlib.sha256()
        for name, values in _weights(channels).items():
            self.register_buffer(name, torch.tensor(values.astype(np.float32)), persistent=False)
            digest.update(values.astype("<f4").tobytes())
        self.sha256 = digest.hexdigest()

    def maps(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the named maps, n 64 h' w', of images n c h w with c the channels of this network."""
        found: dict[str, Tensor] = {}
        for scale in _SCALES:
            if min(images.shape[-2:]) // scale < _MIN_SIZE:
                break
            x = F.avg_pool2d(images, scale) if scale > 1 else images
            for layer in range(1, _DEPTH + 1):
                weight, bias = self.get_buffer(f"weight{layer}"), self.get_buffer("bias") if layer == 1 else None
                x = F.avg_pool2d(x, 2) if layer > 1 else x
                margin = weight.shape[-1] // 2
                x = F.relu(F.conv2d(F.pad(x, (margin,) * 4, mode="reflect"), weight, bias))
                found[f"x{scale}.layer{layer}"] = x
                if f"x{scale}.structure{layer}" in layers:
                    found[f"x{scale}.structure{layer}"] = self.norm(x)
        return {name: found[name] for name in self.layers if name in found and name in layers}


def _weights(channels: int) -> dict[str, Array]:
    """Return the filters of each layer and the biases of the first."""
    first = _uniform(channels, 0, (_FILTERS, channels, 5, 5))
    first[::2] = (first[::2] - first[::2].sum(axis=(2, 3), keepdims=True) / 25) * _TEXTURE_GAIN
    centre = first[1::4, :, 2, 2].copy() * 5  # one pixel instead of 25, at equal variance
    first[1::4] = 0
    first[1::4, :, 2, 2] = centre
    bias = _uniform(channels, 1, (_FILTERS,)) * 0.5
    bias[::2] = 0
    # Uniform numbers in [-1, 1) have variance 1/3; the factors keep the variance near that of the input.
    weights = {"weight1": first * math.sqrt(3 / (channels * 25)), "bias": bias}
    for layer in range(2, _DEPTH + 1):
        deeper = _uniform(channels, layer, (_FILTERS, _FILTERS, 3, 3))
        deeper -= deeper.sum(axis=(1, 2, 3), keepdims=True) / (_FILTERS * 9)
        weights[f"weight{layer}"] = deeper * math.sqrt(6 / (_FILTERS * 9))
    return weights


def _uniform(channels: int, stream: int, shape: tuple[int, ...]) -> Array:
    """Return multiples of 2**-23 in [-1, 1); their sums are exact in float64 in any order."""
    raw = np.random.Philox(key=np.array([_KEY, 8 * channels + stream], np.uint64)).random_raw(math.prod(shape))
    return ((np.asarray(raw, np.uint64) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1).reshape(shape)
