"""Faithfulness: how much of an input is kept in its translation. Pure functions of two batches, one figure per image.

They need no ground truth, and none of them alone indicates a good translation: an untranslated input keeps everything.
Read them together with a distance to the target domain.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.evaluation.features import RandomConvolutions
from unpaired.evaluation.metrics import l1
from unpaired.images.tensors import floats

_GRID = 16
_BATCH = 16


def cycle_error(real: Tensor, reconstructed: Tensor) -> Tensor:
    """Return the mean absolute difference of images and their reconstructions, n values in [0, 1]; 0 is best.

    Chu, Zhmoginov and Sandler, "CycleGAN, a master of steganography", 2017: the error may be small because the input is
    encoded in an invisible pattern. Reconstruct from 8-bit images, not floats, to leave less room for it. Raises
    ValueError if the shapes differ or are not n c h w.
    """
    return l1(real, reconstructed)


def gradient_correlation(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the correlation of edge locations, n values in [-1, 1]: 1 for edges in the same places.

    It is Pearson's correlation, over pixels, of the gradient magnitude (Sobel) of the mean of the channels, whichever
    side of an edge is lighter. Inputs and outputs may differ in channels, not in size. An image without edges counts as
    0. Raises ValueError if counts or sizes differ.
    """
    _check(inputs, outputs)
    return _correlation(_gradient(inputs).flatten(1), _gradient(outputs).flatten(1))


def self_similarity_correlation(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the correlation of self-similarities, n values in [-1, 1]: 1 if the same parts are similar.

    Each image is cut into 16 x 16 cells, each cell described by its mean responses to random convolutions
    (`features.RandomConvolutions.maps`), each response with mean 0 and variance 1 over the image. The similarity of two
    cells at squared distance d is exp(-d / m), m the median of all d in the image. The figure is Pearson's correlation,
    over all pairs of cells, of their similarity in the input and in the output. After Shechtman and Irani, CVPR 2007,
    and, for translations, Zheng, Cham and Cai, "The spatially-correlative loss for various image translation tasks",
    CVPR 2021, whose features are trained. Channels may differ. A flat image counts as 0.

    Raises ValueError if counts or sizes differ or a side is below 16 pixels.
    """
    _check(inputs, outputs)
    return SelfSimilarity(inputs, keep=False).correlation(outputs)


class SelfSimilarity:
    """Images n c h w whose self-similarity is compared with that of several sets of outputs.

    keep: whether to compute that of the images once and hold it, 261 kB an image on the CPU.
    """

    def __init__(self, inputs: Tensor, *, keep: bool = True) -> None:
        # A few images at a time: each takes some 2 MB.
        self._inputs = torch.split(inputs, _BATCH)
        self._kept = [_self_similarity(part).cpu() for part in self._inputs] if keep else []

    def correlation(self, outputs: Tensor) -> Tensor:
        """Return `self_similarity_correlation` of the images and their outputs, n values."""
        found = []
        for number, (part, made) in enumerate(zip(self._inputs, torch.split(outputs, _BATCH), strict=True)):
            inputs = self._kept[number].to(made.device) if self._kept else _self_similarity(part)
            found.append(_correlation(inputs, _self_similarity(made)))
        return torch.cat(found)


def _self_similarity(images: Tensor) -> Tensor:
    """Return the similarity of every two cells of each image, n 32640, float64 in [0, 1]."""
    images = floats(images)
    cells = _extractor(images.shape[1]).to(images.device).maps(images, _GRID).flatten(2).double()
    cells = cells - cells.mean(dim=2, keepdim=True)
    deviation = cells.std(dim=2, keepdim=True, correction=0)
    # Variation by rounding alone must not be amplified.
    cells = torch.where(deviation < 1e-4, 0.0, cells / deviation.clamp(min=1e-4))
    squares = cells.square().sum(dim=1)
    row, column = torch.triu_indices(_GRID**2, _GRID**2, offset=1, device=images.device)
    products = (cells.transpose(1, 2) @ cells)[:, row, column]
    distances = (squares[:, row] + squares[:, column] - 2 * products).clamp(min=0)
    return torch.exp(-distances / distances.median(dim=1, keepdim=True).values.clamp(min=1e-6))


@lru_cache(maxsize=4)
def _extractor(channels: int) -> RandomConvolutions:
    return RandomConvolutions(channels)


def _gradient(images: Tensor) -> Tensor:
    grey = F.pad(floats(images).double().mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    smooth = torch.tensor([1, 2, 1], dtype=grey.dtype, device=grey.device) / 4
    slope = torch.tensor([-1, 0, 1], dtype=grey.dtype, device=grey.device) / 2
    across = F.conv2d(grey, (smooth[:, None] * slope)[None, None])
    down = F.conv2d(grey, (slope[:, None] * smooth)[None, None])
    return torch.hypot(across, down)


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return Pearson's correlation of each row; 0 if one of them is constant."""
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    scale = x.norm(dim=1) * y.norm(dim=1)
    flat = scale <= 1e-9
    return torch.where(flat, 0.0, (x * y).sum(dim=1) / scale.masked_fill(flat, 1)).clamp(-1, 1).float()


def _check(inputs: Tensor, outputs: Tensor) -> None:
    fits = inputs.ndim == outputs.ndim == 4 and len(inputs) == len(outputs) and inputs.shape[2:] == outputs.shape[2:]
    if not fits:
        raise ValueError(
            f"As many outputs as inputs, n c h w of one size, are needed, not {(*inputs.shape,)}, {(*outputs.shape,)}."
        )
