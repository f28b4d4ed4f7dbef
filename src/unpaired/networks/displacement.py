"""A generator's input displaced by a learnt field, so that shapes change by moving pixels instead of drawing new ones.

Spatial transformers (Jaderberg et al. 2015, section 3.3) with a field instead of a parametric transform, as Shi et al.
2019 ("WarpGAN") use for faces. The generator adds what it draws to the displaced input. On a GPU the gradient of the
sampling adds in no fixed order, so that runs there are not bit-reproducible; on a CPU they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LARGEST = 0.97
"""Absolute value that an input is clamped to before atanh, which is infinite at 1."""


class Displacement(nn.Module):
    """Displaces an image by a field that a convolution predicts from the generator's features.

    The weights of the convolution start at 0, and the displacement with them.

    width: channels of the features.
    scale: sides of the image, in sides of the features.
    """

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        # Not an nn.Conv2d, because the initial weights of those are drawn from N(0, 0.02).
        self.weight = nn.Parameter(torch.zeros(2, width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """Return the displaced image, n c h w in [-1, 1], before its tanh: atanh of values clamped to 0.97.

        features: n width h/scale w/scale, the resolution of the field, which is (down, right) in its own pixels and
        interpolated. Beyond the border of the image lies its nearest pixel.
        """
        padded = F.pad(features, (1, 1, 1, 1), mode="replicate")
        field = F.conv2d(padded, self.weight, self.bias) * self.scale
        if self.scale > 1:
            field = F.interpolate(field, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return torch.atanh(displaced(image, field).clamp(-_LARGEST, _LARGEST))


def displaced(image: Tensor, field: Tensor) -> Tensor:
    """Return the image n c h w whose place p shows the input at p + field(p), bilinear; field n 2 h w in pixels, as
    (down, right).
    """
    height, width = image.shape[2:]
    # At least float32: in half precision the places of large images would be whole pixels.
    field = field.float() if field.dtype.itemsize < 4 else field
    down = (torch.arange(height, device=image.device)[:, None] + field[:, 0]) * (2 / max(height - 1, 1)) - 1
    right = (torch.arange(width, device=image.device) + field[:, 1]) * (2 / max(width - 1, 1)) - 1
    grid = torch.stack((right, down), dim=-1)
    read = F.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return read.to(image.dtype)
