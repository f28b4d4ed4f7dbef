"""The form of a generator that translates fast: convolutions in bfloat16, written so that a processor is kept busy.

Published weights, other arithmetic. Results are some grey levels off, which `precision` measures before it is used.
Each image's result is the same in any batch.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.devices import processor_bf16
from unpaired.networks.layers import InstanceNorm
from unpaired.networks.winograd import KERNEL, PRODUCT, combine

M = TypeVar("M", bound=nn.Module)

_WIDE = 128  # channels from which fewer multiplications outweigh the transforms around them
_THIN = 4  # output channels up to which a convolution leaves most of a vector register empty


def fast_form(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a generator that takes and makes n c h w in bfloat16; the network itself is left as it is.

    Norms keep float32 weights and statistics. On a processor without matrix instructions (AMX), 3 x 3 convolutions of
    many channels are taken in Winograd's form.
    """
    winograd = device.type == "cpu" and "amx_bf16" not in processor_bf16()
    return _lowered(copy.deepcopy(network), winograd)


def _lowered(module: nn.Module, winograd: bool) -> nn.Module:
    if isinstance(module, InstanceNorm):
        return _NormEach(module)
    if isinstance(module, nn.Dropout):
        return _SameNoise(module)
    if isinstance(module, nn.Conv2d):
        plain = module.groups == 1 and module.dilation == (1, 1) and module.padding in (0, (0, 0), "valid")
        if plain and module.stride == (1, 1):
            if winograd and module.kernel_size == (3, 3) and min(module.in_channels, module.out_channels) >= _WIDE:
                return Winograd(module)
            if module.out_channels <= _THIN and min(module.kernel_size) > 1:
                return Interleaved(module)
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return _lower(module)
    if isinstance(module, nn.Linear):
        return module.to(torch.bfloat16)
    for name, child in module.named_children():
        setattr(module, name, _lowered(child, winograd))
    return module


def _lower(convolution: M) -> M:
    """Take the weights of a convolution into bfloat16, channels last as the images are."""
    convolution.to(torch.bfloat16)
    for weight in convolution.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return convolution


class _NormEach(nn.Module):
    """Instance norm of one image at a time: torch's own rounds otherwise in a batch than alone."""

    def __init__(self, norm: InstanceNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images n c h w."""
        return self.norm(x) if len(x) == 1 else torch.cat([self.norm(image) for image in torch.split(x, 1)])


class _SameNoise(nn.Module):
    """Dropout that switches off what it would in float32, where activations lie in another order in memory."""

    def __init__(self, dropout: nn.Dropout) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations n c h w, some of them 0 and the others larger."""
        if not self.training or self.dropout.p == 0:
            return x
        kept: Tensor = self.dropout(torch.ones(x.shape, device=x.device))
        return x * kept.to(x.dtype)


class Interleaved(nn.Module):
    """A convolution with few output channels, as one with four times as many and a stride of two.

    The four are the four pixels of a square, each with the same kernel, shifted; most of the larger kernel's border is
    zero. The same sums, in a form that fills vector registers.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.plain = _lower(convolution)
        kernel = self.plain.weight
        out, inside, height, width = kernel.shape
        shifted = kernel.new_zeros(out, 2, 2, inside, height + 1, width + 1)
        for row in (0, 1):
            for column in (0, 1):
                shifted[:, row, column, :, row : row + height, column : column + width] = kernel
        shifted = shifted.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(shifted, requires_grad=False)
        bias = None if self.plain.bias is None else self.plain.bias.repeat_interleave(4)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve n c h w without padding."""
        height, width = (side - kernel for side, kernel in zip(x.shape[-2:], self.plain.kernel_size, strict=True))
        if height % 2 == 0 or width % 2 == 0:  # an odd number of results
            plain: Tensor = self.plain(x)
            return plain
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, stride=2), 2)


_MIDDLE = 5  # of the 16 products of a tile, the one that each of its results counts once


class Winograd(nn.Module):
    """A 3 x 3 convolution by 16 products for 4 results instead of 36.

    As `unpaired.networks.winograd`, channels last. Products are summed over channels in float32 and rounded once, and
    so are the results.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        transform = torch.tensor(KERNEL, dtype=torch.float64)
        kernel = torch.einsum("ai,oxij,bj->abxo", transform, convolution.weight.double(), transform)
        self.kernel = nn.Parameter(kernel.flatten(0, 1).to(torch.bfloat16), requires_grad=False)
        product = torch.tensor(PRODUCT, dtype=torch.float64)
        self.product = nn.Parameter(torch.kron(product, product).to(torch.bfloat16), requires_grad=False)
        self.plain = _lower(convolution)
        bias = torch.zeros(16, 1, convolution.out_channels, dtype=torch.bfloat16)
        if self.plain.bias is not None:
            bias[_MIDDLE, 0] = self.plain.bias
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve n c h w without padding."""
        count, channels, height, width = x.shape
        if height % 2 or width % 2:  # no whole number of tiles
            plain: Tensor = self.plain(x)
            return plain
        rows, columns = height // 2 - 1, width // 2 - 1
        tiles = _transformed(x.permute(0, 2, 3, 1), rows, columns).view(16, -1, channels)
        products = torch.baddbmm(self.bias, tiles, self.kernel)
        made = (self.product @ products.flatten(1)).view(2, 2, count, rows, columns, -1)
        return made.permute(2, 3, 0, 4, 1, 5).reshape(count, 2 * rows, 2 * columns, -1).permute(0, 3, 1, 2)


def _transformed(image: Tensor, rows: int, columns: int) -> Tensor:
    """Return the tiles of images n h w c, transformed, as 4 4 n rows columns c; neighbours overlap by two pixels."""
    count, _, width, channels = image.shape
    by_rows = image.new_empty(4, count, rows, width, channels)
    combine([image[:, start : start + 2 * rows - 1 : 2] for start in range(4)], list(by_rows))
    made = image.new_empty(4, 4, count, rows, columns, channels)
    parts = [by_rows[:, :, :, start : start + 2 * columns - 1 : 2] for start in range(4)]
    combine(parts, list(made.unbind(1)))
    return made
