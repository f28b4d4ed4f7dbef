"""Figures against ground truth: pure functions of two batches of images, one figure per image.

Every function takes two tensors n c h w of one shape, in [-1, 1] or uint8, and returns n values. L1, PSNR and SSIM are
defined on the [0, 1] scale, the images x/2 + 1/2, without rounding to 8 bits or clipping. Average over images, not over
pixels: PSNR is the mean of the decibels of the images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.images.tensors import floats, levels

__all__ = ["l1", "pixel_accuracy", "psnr", "ssim"]

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # (K1 L)² and (K2 L)² with L = 1


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference, n values in [0, 1] for images within their range; 0 is best.

    Raises ValueError if the shapes differ or are not n c h w.
    """
    x, y = _unit_scale(x, y)
    return (x - y).abs().mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, n values: -10 log10(mean squared difference), for a peak of 1.

    More is better; two identical images have infinity. Raises ValueError if the shapes differ or are not n c h w.
    """
    x, y = _unit_scale(x, y)
    return -10 * (x - y).square().mean(dim=(1, 2, 3)).log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the structural similarity, n values in [-1, 1]; 1 for identical images.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
    TIP 2004: an 11x11 Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, dynamic range 1, biased local variances;
    each channel separately, only at positions with the whole window inside the image, then the mean over positions and
    channels.

    Raises ValueError if the shapes differ, are not n c h w, or h or w is below 11.
    """
    x, y = _unit_scale(x, y)
    n, c, h, w = x.shape
    if min(h, w) < _WINDOW:
        raise ValueError(f"SSIM needs images of at least {_WINDOW}x{_WINDOW} pixels, not {h}x{w}.")
    # In double precision, since a variance is a small difference of two larger numbers.
    u, v = x.double(), y.double()
    moments = torch.stack((u, v, u * u, v * v, u * v)).reshape(5 * n * c, 1, h, w)
    kernel = _gaussian(moments)
    blurred = F.conv2d(F.conv2d(moments, kernel[None, None, :, None]), kernel[None, None, None, :])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = blurred.reshape(5, n, c, *blurred.shape[-2:])
    var_x, var_y = mean_xx - mean_x.square(), mean_yy - mean_y.square()
    covariance = mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    similarity: Tensor = (luminance * structure).mean(dim=(1, 2, 3))
    return similarity.to(x.dtype)


def pixel_accuracy(x: Tensor, y: Tensor, within: int) -> Tensor:
    """Return the share of pixels with all channels within `within` 8-bit levels of the other image, n values in [0, 1].

    Images are rounded to 8 bits first. The usual figure for aerial photographs to maps, which have few colours: Liu,
    Breuel and Kautz, "Unsupervised image-to-image translation networks", NIPS 2017, within 16; Fu et al.,
    "Geometry-consistent generative adversarial networks", CVPR 2019, for 5 and 10, but with a strict inequality, which
    for 8-bit images is within 4 and 9 here.

    Raises ValueError if the shapes differ or are not n c h w.
    """
    _same_shape(x, y)
    farthest = (levels(x) - levels(y)).abs().amax(dim=1)
    return (farthest <= within).to(farthest.dtype).mean(dim=(1, 2))


def _gaussian(like: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=like.dtype, device=like.device) - _WINDOW // 2
    return torch.softmax(-0.5 * (offsets / _SIGMA).square(), dim=0)


def _unit_scale(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both images on the [0, 1] scale, in float32 or better."""
    _same_shape(x, y)
    x, y = floats(x), floats(y)
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype) * 0.5 + 0.5, y.to(dtype) * 0.5 + 0.5


def _same_shape(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"Two batches n c h w of one shape are needed, not {(*x.shape,)} and {(*y.shape,)}.")
