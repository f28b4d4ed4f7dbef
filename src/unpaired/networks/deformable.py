"""Deformable 3 x 3 convolution: each tap of the kernel reads at a learnt offset (Dai et al. 2017, section 2.1).

Written with torch's bilinear sampling alone. On a GPU the gradient of the sampling adds in no fixed order, so that runs
there are not bit-reproducible; on a CPU they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableConvolution3x3(nn.Module):
    """Deformable convolution without stride: n c h+2 w+2 (padded) to n c' h w.

    y(p) = sum over taps k of w_k x(p + k + o_k(p)) (eq. 2 of Dai et al. 2017); bilinear x, and a convolution of the
    input predicts the offsets o, in pixels. Its weights start at 0 (section 2.1), so that the layer starts as an
    ordinary convolution. Places beyond the padded input read its nearest pixel.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, bias=bias)
        # Not an nn.Conv2d, because the initial weights of those are drawn from N(0, 0.02).
        self.offset_weight = nn.Parameter(torch.zeros(18, in_channels, 3, 3))
        self.offset_bias = nn.Parameter(torch.zeros(18))

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, n c' h w, of x, n c h+2 w+2."""
        offsets = F.conv2d(x, self.offset_weight, self.offset_bias)
        taps = _sampled(x.float() if x.dtype.itemsize < 4 else x, offsets).to(x.dtype)
        weight = self.conv.weight.flatten(1)[..., None, None]  # c' (c 9) 1 1
        return F.conv2d(taps, weight, self.conv.bias)


def _sampled(x: Tensor, offsets: Tensor) -> Tensor:
    """Return the values that each tap reads, n (c 9) h w; x is n c h+2 w+2, offsets n (9 2) h w as (down, right)."""
    count, channels, height, width = x.shape
    rows, columns = height - 2, width - 2
    by_tap = offsets.to(x.dtype).reshape(count, 9, 2, rows, columns)
    tap = torch.arange(9, device=x.device)
    row = torch.arange(rows, device=x.device)[:, None] + (tap // 3)[:, None, None]
    column = torch.arange(columns, device=x.device)[None, :] + (tap % 3)[:, None, None]
    # grid_sample takes (right, down) from -1 to 1, the centres of the corner pixels.
    right = (column + by_tap[:, :, 1]) * (2 / (width - 1)) - 1
    down = (row + by_tap[:, :, 0]) * (2 / (height - 1)) - 1
    grid = torch.stack((right, down), dim=-1).reshape(count, 9 * rows, columns, 2)
    read = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return read.reshape(count, channels * 9, rows, columns)
