"""Features from random convolutions, for distances between image sets without downloaded weights.

Random filters followed by ReLU distinguish textures, edges and colours well enough to compare two sets of images
(Saxe et al., "On random weights and unsupervised feature learning", ICML 2011). They contain no semantics; distances
based on them are comparable with each other only, not with FID or KID.

The weights are a constant: 24-bit integers from the raw output of the Philox counter generator, which NumPy guarantees
to be stable, scaled by powers and roots. The weights are therefore bit-identical on every machine and in every version;
features agree up to float32 rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.images.tensors import floats

MIN_SIZE = 16
"""Smallest side of an image, and of its smallest scale, in pixels."""

_FILTERS = 32
_SCALES = (1, 2, 4)
_KEY = 0x756E7061
_GRID = 2


def num_features(size: int) -> int:
    """Return the number of features of an image of size x size pixels; it does not depend on the channels."""
    layers, numbers = 2, _GRID**2 + 1
    return layers * numbers * _FILTERS * sum(size // scale >= MIN_SIZE for scale in _SCALES)


class RandomConvolutions(nn.Module):
    """Two layers of fixed random convolutions, at full, half and quarter size.

    Per scale: 5 x 5 convolution to 32 channels, bias, ReLU; 2 x 2 average pooling; 3 x 3 convolution to 32 channels,
    ReLU. Half of the 5 x 5 filters sum to zero in each channel and respond to texture only, the others to colour, too.
    Features of each layer: the mean of each quarter of the image, and the standard deviation over the whole image.
    Scales below 16 pixels are omitted.

    channels: number of channels of the images.
    """

    first: Tensor
    bias: Tensor
    second: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = _uniform(channels, "first", (_FILTERS, channels, 5, 5))
        first[::2] -= first[::2].sum(axis=(2, 3), keepdims=True) / 25
        second = _uniform(channels, "second", (_FILTERS, _FILTERS, 3, 3))
        # Uniform numbers in [-1, 1) have variance 1/3; the factor keeps the variance of the output near the input's.
        self.register_buffer("first", _tensor(first * math.sqrt(3 / (channels * 25))))
        self.register_buffer("bias", _tensor(_uniform(channels, "bias", (_FILTERS,)) * 0.5))
        self.register_buffer("second", _tensor(second * math.sqrt(3 / (_FILTERS * 9))))
        self.channels = channels

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return n d features, float32, of images n c h w in [-1, 1] or uint8; d is 320 per scale, 960 from 64 x 64 on.

        Raises ValueError if the number of channels differs or a side is below 16 pixels.
        """
        images = self._checked(images)
        features = []
        for scale in _SCALES:
            if min(images.shape[-2:]) // scale < MIN_SIZE:
                break
            smaller = F.avg_pool2d(images, scale) if scale > 1 else images
            features += [_summary(layer) for layer in self._layers(smaller)]
        return torch.cat(features, dim=1)

    @torch.no_grad()
    def maps(self, images: Tensor, grid: int) -> Tensor:
        """Return spatial features n 64 grid grid: the means of both full-size layers in each cell of a grid.

        Raises ValueError like `forward`.
        """
        layers = self._layers(self._checked(images))
        return torch.cat([F.adaptive_avg_pool2d(layer, grid) for layer in layers], dim=1)

    def _layers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
        one = F.conv2d(padded, self.first, self.bias).relu_()
        padded = F.pad(F.avg_pool2d(one, 2), (1, 1, 1, 1), mode="reflect")
        return one, F.conv2d(padded, self.second).relu_()

    def _checked(self, images: Tensor) -> Tensor:
        images = floats(images).to(self.first)
        _, c, h, w = images.shape
        if c != self.channels:
            raise ValueError(f"The features need images with {self.channels} channels, not {c}.")
        if min(h, w) < MIN_SIZE:
            raise ValueError(f"Features need images of at least {MIN_SIZE}x{MIN_SIZE} pixels, not {h}x{w}.")
        return images


def _summary(layer: Tensor) -> Tensor:
    means = F.adaptive_avg_pool2d(layer, _GRID).flatten(1)
    return torch.cat([means, layer.std(dim=(2, 3), correction=0)], dim=1)


def _uniform(channels: int, purpose: str, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return multiples of 2**-23 in [-1, 1); their sums are exact in float64 in any order."""
    stream = ("first", "bias", "second").index(purpose)
    raw = np.random.Philox(key=np.array([_KEY, 3 * channels + stream], np.uint64)).random_raw(math.prod(shape))
    return ((np.asarray(raw, np.uint64) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1).reshape(shape)


def _tensor(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
