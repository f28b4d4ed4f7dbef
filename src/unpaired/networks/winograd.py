"""Winograd convolution with 3 x 3 kernels: 16 multiplications per 4 outputs instead of 36.

Source: F(2 x 2, 3 x 3) of Lavin and Gray 2016, section 4.1. Outputs are transformed products of transformed tiles and
kernels, Y = A^T [(G g G^T) * (B^T d B)] A. All factors are 0, 1 and 1/2, so float32 results are as accurate as those of
direct convolution. The backward pass uses the transposed transforms.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILE = ((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, 1.0, 0.0, -1.0))
KERNEL = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
PRODUCT = ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0))
"""B^T, G and A^T of F(2, 3): the transforms of input tiles, of the kernel, and of the products."""

Matrix = tuple[tuple[float, ...], ...]


def squared(transform: Matrix) -> Matrix:
    """Return the Kronecker square of a transform: it transforms flattened rows and columns at once."""
    return tuple(tuple(a * b for a in row for b in column) for row in transform for column in transform)


_TILE_SQUARED, _KERNEL_SQUARED, _PRODUCT_SQUARED = squared(TILE), squared(KERNEL), squared(PRODUCT)

LEAST_CHANNELS = 256
LEAST_PIXELS = 32 * 32
INSTRUCTIONS = "AVX2"
"""Limits above which training is faster with Winograd convolution, measured with 128 and 256 channels on 16 x 16 to
64 x 64 pixels, and only on processors with these instructions."""

_AT_ONCE = 512  # tiles in memory at once: enough for efficient matrix products, few enough for the caches


class Convolution3x3(nn.Conv2d):
    """A 3 x 3 convolution without padding or stride, as Winograd convolution if that is faster."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution n c' h-2 w-2 of x, n c h w."""
        if not is_faster(x, self.weight):
            return super().forward(x)
        y = winograd(x, self.weight)
        return y if self.bias is None else y.add_(self.bias[:, None, None])


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Return whether Winograd convolution of x, n c h w, is faster, and direct convolution is not required."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or _direct.get():
        return False
    height, width = x.shape[2] - 2, x.shape[3] - 2
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and height % 2 == width % 2 == 0
        and height * width >= LEAST_PIXELS
        and x.is_contiguous()
        and torch.backends.cpu.get_cpu_capability() == INSTRUCTIONS
    )


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """Return the Winograd convolution n c' h-2 w-2 of x, n c h w with even sides, with a weight c' c 3 3.

    The result for an image does not depend on the batch. Differentiable once, without double backward.
    """
    made: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    return made


@contextmanager
def direct_convolutions() -> Iterator[None]:
    """Use direct convolution in the block, in this thread, such that its operations can be counted."""
    before = _direct.set(True)
    try:
        yield
    finally:
        _direct.reset(before)


_direct = ContextVar("direct", default=False)


class _Winograd(torch.autograd.Function):
    """Saves the input and the weight for the backward pass, like a convolution, and transforms them again there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of n c h w with c' c 3 3."""
        ctx.save_for_backward(x, weight)
        count, _, height, width = x.shape
        kernel = transformed_kernel(weight)
        made = x.new_empty(count, len(weight), height - 2, width - 2)
        for image, part in zip(x, made, strict=True):
            for rows in _strips(made):
                tiles = transformed_tiles(image[:, 2 * rows.start : 2 * rows.stop + 2])
                products = scratch("products", x, 16, len(weight), tiles.shape[2])
                torch.bmm(kernel, tiles, out=products)
                _write_results(products, part[:, 2 * rows.start : 2 * rows.stop])
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the images and of the weight, each None if not required."""
        x, weight = ctx.saved_tensors
        of_input, of_weight = ctx.needs_input_grad
        kernel = transformed_kernel(weight).transpose(1, 2) if of_input else None
        of_kernel = scratch("of kernel", x, 16, *weight.shape[:2]).zero_() if of_weight else None
        of_images = torch.empty_like(x) if of_input else None
        # Each scratch tensor has been consumed before its name is requested again.
        for number, image in enumerate(x):
            planes = scratch("planes", x, 2, 2, len(image), image.shape[1] // 2, image.shape[2] // 2).zero_()
            for rows in _strips(gradient):
                products = _gradient_of_products(gradient[number, :, 2 * rows.start : 2 * rows.stop])
                tiles = scratch("tiles", x, 16, len(image), products.shape[2])
                if of_kernel is not None:
                    transformed_tiles(image[:, 2 * rows.start : 2 * rows.stop + 2])
                    of_kernel.baddbmm_(products, tiles.transpose(1, 2))
                if kernel is not None:
                    torch.bmm(kernel, products, out=tiles)
                    _add_tiles(tiles, planes[..., rows.start : rows.stop + 1, :])
            if of_images is not None:
                by_pixel = planes.permute(2, 3, 0, 4, 1)
                of_images[number].view(by_pixel.shape).copy_(by_pixel)
        return of_images, None if of_kernel is None else _gradient_of_kernel(of_kernel)


def _strips(results: Tensor) -> Iterator[range]:
    """Yield ranges of rows of tiles of n c h w, each with about `_AT_ONCE` tiles."""
    rows, columns = results.shape[2] // 2, results.shape[3] // 2
    size = max(_AT_ONCE // columns, 1)
    return (range(start, min(start + size, rows)) for start in range(0, rows, size))


def transformed_kernel(weight: Tensor) -> Tensor:
    """Return G g G^T for a weight c' c 3 3, as 16 c' c."""
    made = scratch("kernel", weight, 16, *weight.shape[:2])
    torch.mm(weight.new_tensor(_KERNEL_SQUARED), weight.reshape(-1, 9).t(), out=made.flatten(1))
    return made


def _gradient_of_kernel(gradient: Tensor) -> Tensor:
    """Return the gradient of a weight c' c 3 3 from the gradient of its transform, 16 c' c."""
    flat = gradient.new_tensor(_KERNEL_SQUARED).t() @ gradient.flatten(1)
    return flat.t().reshape(*gradient.shape[1:], 3, 3)


def transformed_tiles(image: Tensor) -> Tensor:
    """Return B^T d B for the tiles of an image c h w with even sides, as 16 c tiles; tiles overlap by two pixels."""
    channels, rows, columns = len(image), image.shape[1] // 2 - 1, image.shape[2] // 2 - 1
    made = scratch("tiles", image, 4, 4, channels, rows, columns)
    by_rows = scratch("rows", image, 4, channels, rows, image.shape[2])
    combine([image[:, start : start + 2 * rows : 2] for start in range(4)], list(by_rows))
    for parts, into in zip(by_rows, made, strict=True):
        combine([parts[..., start : start + 2 * columns : 2] for start in range(4)], list(into))
    return made.view(16, channels, -1)


def combine(parts: list[Tensor], made: list[Tensor]) -> None:
    """Apply the transform `TILE` to four tensors and write the results into four tensors."""
    first, second, third, fourth = parts
    torch.sub(first, third, out=made[0])
    torch.add(second, third, out=made[1])
    torch.sub(third, second, out=made[2])
    torch.sub(second, fourth, out=made[3])


def _add_tiles(gradient: Tensor, planes: Tensor) -> None:
    """Add the gradients of tiles to the gradients of their pixels.

    gradient: gradients of the transformed tiles, 16 c tiles.
    planes: gradients of the pixels by parity of row and column, 2 2 c rows+1 columns+1; a tile has two of each.
    """
    channels, rows, columns = len(gradient[0]), planes.shape[3] - 1, planes.shape[4] - 1
    of_tiles = scratch("products", gradient, 2, 2, 2, 2, channels, rows, columns)
    torch.mm(gradient.new_tensor(_TILE_SQUARED).t(), gradient.flatten(1), out=of_tiles.view(16, -1))
    for down in (0, 1):
        for right in (0, 1):
            planes[..., down : down + rows, right : right + columns] += of_tiles[down, :, right]


def _write_results(products: Tensor, into: Tensor) -> None:
    """Write A^T m A of the products of tiles, 16 c tiles, into results c h w."""
    by_tile = products.view(4, 4, len(into), into.shape[1] // 2, into.shape[2] // 2)
    for row, parts in enumerate((by_tile[0] + by_tile[1] + by_tile[2], by_tile[1] - by_tile[2] - by_tile[3])):
        torch.add(parts[0] + parts[1], parts[2], out=into[:, row::2, 0::2])
        torch.sub(parts[1] - parts[2], parts[3], out=into[:, row::2, 1::2])


def _gradient_of_products(gradient: Tensor) -> Tensor:
    """Return the gradient of the products, 16 c tiles, from the gradient of the results c h w."""
    channels, height, width = gradient.shape
    squares = scratch("rows", gradient, 2, 2, channels, height // 2, width // 2)
    squares.copy_(gradient.view(channels, height // 2, 2, width // 2, 2).permute(2, 4, 0, 1, 3))
    made = scratch("products", gradient, 16, channels, height * width // 4)
    torch.mm(gradient.new_tensor(_PRODUCT_SQUARED).t(), squares.view(4, -1), out=made.flatten(1))
    return made


def scratch(name: str, like: Tensor, *shape: int) -> Tensor:
    """Return an uninitialised buffer; a thread gets the same memory for the same name every time.

    Allocating such buffers for each call would fragment the memory between tensors saved for the backward pass.
    """
    if type(like.new_empty(0)) is not Tensor:  # a fake tensor, while memory is estimated
        return like.new_empty(shape)
    size = math.prod(shape)
    kept = _scratch.__dict__.get(name)
    if kept is None or kept.dtype != like.dtype or kept.numel() < size:
        with torch.inference_mode(False):  # inference tensors cannot be written to outside of it
            kept = _scratch.__dict__[name] = like.new_empty(size)
    return kept[:size].view(shape)


_scratch = threading.local()
