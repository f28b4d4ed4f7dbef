"""Fast forms of a generator for inference: its convolutions rewritten to use the vector units of the hardware.

Weights are unchanged. In bfloat16 results differ by some grey levels, which `precision` measures before the form is
used; each image's result is independent of the batch. In float32 rounding differs in the fifth digit, which rarely
changes an 8-bit result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.compat.torch_private import NormBase
from unpaired.devices import processor_bf16
from unpaired.networks.layers import InstanceNorm
from unpaired.networks.winograd import KERNEL, PRODUCT, combine, scratch, squared

M = TypeVar("M", bound=nn.Module)

_WIDE = 128  # channels from which Winograd convolution pays for its transforms
_THIN = 4  # output channels up to which a convolution leaves most of a vector register empty
_LEAST_PIXELS = 128 * 128  # of an image; from this size `LargeTiles` was measured to be faster,
_INSTRUCTIONS = "AVX2"  # on processors with no better instructions


def fast_type(
    network: nn.Module, device: torch.device, precision: Literal["fp32", "bf16"], pixels: int
) -> torch.dtype | None:
    """Return the dtype of the fastest form of a generator for an 8-bit result of an image with this many pixels.

    None if that is the network itself: in fp32 on most processors, and on GPUs.
    """
    if precision == "bf16":
        return torch.bfloat16
    gains = (
        device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() == _INSTRUCTIONS
        and pixels >= _LEAST_PIXELS
        and any(_is_wide(module) for module in network.modules())
    )
    return torch.float32 if gains else None


def fast_form(network: nn.Module, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """Return a copy of a generator with input and output n c h w in the given dtype; the network itself is unchanged.

    In bfloat16 norms keep float32 weights and statistics. On a processor without matrix instructions (AMX), 3 x 3
    convolutions of many channels use Winograd's algorithm; in float32 they always do.
    """
    made = copy.deepcopy(network)
    if dtype == torch.float32:
        return _with_large_tiles(made)
    return _lowered(made, winograd=device.type == "cpu" and "amx_bf16" not in processor_bf16())


def _replaced(module: nn.Module, form: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Return the form of a module if it has one, else the module with the forms of its children."""
    made = form(module)
    if made is not None:
        return made
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, form))
    return module


def _lowered(network: nn.Module, winograd: bool) -> nn.Module:
    def form(module: nn.Module) -> nn.Module | None:
        if isinstance(module, InstanceNorm):
            return _NormEach(module)
        if isinstance(module, nn.Dropout):
            return _SameNoise(module)
        if winograd and _is_wide(module):
            return Winograd(module)
        if _is_plain(module) and module.out_channels <= _THIN and min(module.kernel_size) > 1:
            return Interleaved(module)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            return _lower(module)
        if not isinstance(module, (NormBase, nn.GroupNorm, nn.LayerNorm)):
            _lower_own_weights(module)
        return None

    return _replaced(network, form)


def _lower_own_weights(module: nn.Module) -> None:
    """Convert the parameters that a module holds directly, such as a learnt gain, to bfloat16.

    In float32 they would promote their results to float32, which a following convolution in bfloat16 refuses.
    """
    for weight in module.parameters(recurse=False):
        if weight.is_floating_point():
            weight.data = weight.data.to(torch.bfloat16)


def _with_large_tiles(network: nn.Module) -> nn.Module:
    def form(module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.Dropout):
            return _SameNoise(module)
        if _is_wide(module):
            return LargeTiles(module)
        return _channels_last(module) if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) else None

    return _replaced(network, form)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a convolution with stride 1, one group and no dilation or padding."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.dilation == module.stride == (1, 1)
        and module.padding in (0, (0, 0), "valid")
    )


def _is_wide(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a plain 3 x 3 convolution of many channels."""
    return _is_plain(module) and module.kernel_size == (3, 3) and min(module.in_channels, module.out_channels) >= _WIDE


def _lower(module: M) -> M:
    """Convert the weights of a module to bfloat16, those of a convolution in channels-last layout like the images."""
    return _channels_last(module.to(torch.bfloat16))


def _channels_last(module: M) -> M:
    for weight in module.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module


class _NormEach(nn.Module):
    """Instance norm of one image at a time: torch's own rounds differently in a batch than alone."""

    def __init__(self, norm: InstanceNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images n c h w."""
        return self.norm(x) if len(x) == 1 else torch.cat([self.norm(image) for image in torch.split(x, 1)])


class _SameNoise(nn.Module):
    """Dropout with the mask of float32, although the activations have another memory layout."""

    def __init__(self, dropout: nn.Dropout) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations n c h w, some set to 0 and the others scaled up."""
        if not self.training or self.dropout.p == 0:
            return x
        kept: Tensor = self.dropout(torch.ones(x.shape, device=x.device))
        return x * kept.to(x.dtype)


class Interleaved(nn.Module):
    """A convolution with few output channels, computed as one with four times as many and a stride of 2.

    The four are the pixels of a 2 x 2 square, each with the same kernel, shifted; most of the larger kernel's border is
    zero. The sums are the same, in a form that fills vector registers.
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


_MIDDLE = 5  # of the 16 products of a tile, the one that enters each result once: the bias is added to it


class Winograd(nn.Module):
    """Winograd convolution F(2 x 2, 3 x 3): 16 multiplications for 4 results instead of 36.

    Like `unpaired.networks.winograd`, channels last. Products are summed over channels in float32 and rounded once, and
    so are the results.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        transform = torch.tensor(KERNEL, dtype=torch.float64)
        kernel = torch.einsum("ai,oxij,bj->abxo", transform, convolution.weight.double(), transform)
        self.kernel = nn.Parameter(kernel.flatten(0, 1).to(torch.bfloat16), requires_grad=False)
        self.product = nn.Parameter(torch.tensor(squared(PRODUCT), dtype=torch.bfloat16), requires_grad=False)
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
    """Return the transformed tiles of images n h w c, as 4 4 n rows columns c; neighbours overlap by two pixels."""
    count, _, width, channels = image.shape
    by_rows = image.new_empty(4, count, rows, width, channels)
    combine([image[:, start : start + 2 * rows - 1 : 2] for start in range(4)], list(by_rows))
    made = image.new_empty(4, 4, count, rows, columns, channels)
    parts = [by_rows[:, :, :, start : start + 2 * columns - 1 : 2] for start in range(4)]
    combine(parts, list(made.unbind(1)))
    return made


_TILE = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_KERNEL = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_PRODUCT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)
_AT_ONCE = 256  # tiles per matrix product, whatever the size of the image


class LargeTiles(nn.Module):
    """Winograd convolution F(4 x 4, 3 x 3) in float32: 36 multiplications for 16 results instead of 144, channels last.

    Source: Lavin and Gray 2016, section 4.3; the constants are their B^T, G and A^T. Factors of up to 8 cost digits:
    the largest error to float64 is about five times that of direct convolution.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel = convolution.weight.detach()
        made = (torch.tensor(squared(_KERNEL)) @ kernel.reshape(-1, 9).t()).view(36, *kernel.shape[:2])
        self.kernel = nn.Parameter(made.transpose(1, 2), requires_grad=False)  # 36 c c'
        self.tile = nn.Parameter(torch.tensor(_TILE), requires_grad=False)
        self.product = nn.Parameter(torch.tensor(_PRODUCT), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        """Convolve n c h w without padding. Each image's result is independent of the batch."""
        height, width = x.shape[2] - 2, x.shape[3] - 2
        rows, columns = -(-height // 4), -(-width // 4)
        if height % 4 or width % 4:  # tiles across the border are padded, and their surplus results cropped
            x = F.pad(x, (0, 4 * columns - width, 0, 4 * rows - height))
        images = x.permute(0, 2, 3, 1).contiguous()
        made = x.new_empty(len(x), 4 * rows, 4 * columns, self.kernel.shape[2])
        step = max(_AT_ONCE // columns, 1)
        for image, results in zip(images, made, strict=True):
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                self._convolve(image[4 * start : 4 * stop + 2], results[4 * start : 4 * stop])
        if self.bias is not None:
            made += self.bias
        return made[:, :height, :width].permute(0, 3, 1, 2)

    def _convolve(self, image: Tensor, results: Tensor) -> None:
        """Write the convolution of an image h+2 w+2 c, h and w multiples of the tile, into results h w c'."""
        cut = image.unfold(0, 6, 4).unfold(1, 6, 4).permute(3, 4, 0, 1, 2)
        rows, columns, channels = cut.shape[2:]
        # Buffers are reused: allocating this much page by page takes as long as the convolution.
        tiles = scratch("tiles", image, *cut.shape).copy_(cut).view(6, 6, -1)
        transformed = _along_both(self.tile, tiles, scratch("transformed", image, *tiles.shape))
        products = scratch("tiles", image, 36, rows * columns, self.kernel.shape[2])
        torch.bmm(transformed.view(36, -1, channels), self.kernel, out=products)
        by_pixel = scratch("transformed", image, 4, 4, rows * columns * self.kernel.shape[2])
        by_tile = _along_both(self.product, products.view(6, 6, -1), by_pixel).view(4, 4, rows, columns, -1)
        results.view(rows, 4, columns, 4, -1).copy_(by_tile.permute(2, 0, 3, 1, 4))


def _along_both(transform: Tensor, tiles: Tensor, made: Tensor) -> Tensor:
    """Write T t T^T of tiles 6 6 n for a transform T, k 6, into `made`, k k n, and return it."""
    count = len(transform)
    by_rows = scratch("rows", tiles, count, *tiles.shape[1:])
    torch.mm(transform, tiles.flatten(1), out=by_rows.flatten(1))
    return torch.bmm(transform.expand(count, -1, -1), by_rows, out=made)
