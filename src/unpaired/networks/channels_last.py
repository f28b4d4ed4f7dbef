"""Accurate normalisation of channels_last images in float32 on a CPU.

torch's norms accumulate the pixels of such images sequentially in float32, and group norm computes the variance from
the sum of squares: for 4096 x 4096 pixels of N(3, 1) the standard deviation is 2.7. Here the moments of each strip of
rows are computed around its own mean in float32 and combined in float64 (Chan et al. 1979). The result does not depend
on the number of threads or on other images of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Values per strip, large enough to amortise the calls. Gradients use shorter strips because their terms cancel.
_OF_STATISTICS, _OF_GRADIENTS = 1 << 20, 1 << 17


def is_channels_last(x: Tensor) -> bool:
    """Return whether to use this module for x, n c h w: channels_last, on a CPU, of a dtype below float64.

    False while a graph is traced, compiled or exported, so that the graph contains torch's operator.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling() or type(x) not in (Tensor, nn.Parameter):
        return False
    if x.device.type != "cpu" or x.dtype == torch.float64 or x.ndim != 4 or x.numel() <= len(x) * x.shape[1]:
        return False
    # Not is_contiguous: it is true for both layouts if there is one channel, and torch decides by the strides.
    return x.stride(1) <= x.stride(3)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of each image of n c h w, both n c in float64."""
    with torch.no_grad():
        means, variances = zip(*(_moments(image) for image in x), strict=True)
        return torch.stack(means), torch.stack(variances)


def normalise(x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps) for n c h w.

    mean, variance: m c, m = n per image or m = 1 for the whole batch. Gradients assume that they are those of x.
    """
    made: Tensor = _Normalise.apply(x, mean.float(), variance.float(), eps)  # type: ignore[no-untyped-call]
    return made


class _Normalise(torch.autograd.Function):
    """Saves the input for the backward pass, like torch's norms. The double backward uses torch's operators."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
        """Return the normalised images n c h w."""
        ctx.save_for_backward(x, mean, variance)
        ctx.eps = eps
        if len(mean) == 1:
            return F.batch_norm(x, mean[0], variance[0], eps=eps)
        made = torch.empty_like(x)
        for image, center, spread, into in zip(torch.split(x, 1), mean, variance, made, strict=True):
            into.copy_(F.batch_norm(image, center, spread, eps=eps)[0])
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        """Return the gradient of the images."""
        x, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # double backward
            plain = _torch_norm(x.contiguous(), of_each=len(mean) == len(x), eps=ctx.eps)
            (made,) = torch.autograd.grad(plain, x, gradient, create_graph=True)
            return made, None, None, None
        scale = (variance + ctx.eps).rsqrt()
        return _gradient(x, mean, scale, gradient), None, None, None


def _torch_norm(x: Tensor, *, of_each: bool, eps: float) -> Tensor:
    """Return the normalised images n c h w, with statistics per image or of the whole batch."""
    return F.group_norm(x, x.shape[1], eps=eps) if of_each else F.batch_norm(x, None, None, training=True, eps=eps)


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of c h w, in float64."""
    means, squares, counts = [], [], []
    for strip, work in _strips(image, numbers=_OF_STATISTICS):
        values = strip if strip.dtype == torch.float32 else work.copy_(strip)
        counts.append(strip.shape[0] * strip.shape[1])
        # One row at a time: a float32 sum over many rows would round the mean of a bright image.
        means.append(values.sum(1).double().sum(0) / counts[-1])
        center = means[-1].float()
        squares.append(torch.sub(values, center, out=work).square_().sum(1).double().sum(0))
    count = torch.tensor(counts, dtype=torch.float64)[:, None]
    of_strips = torch.stack(means).double()
    mean = (of_strips * count).sum(0) / count.sum()
    between = (of_strips - mean).square() * count
    return mean, (torch.stack(squares).double() + between).sum(0) / count.sum()


def _gradient(x: Tensor, mean: Tensor, scale: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of n c h w from the gradient g of the normalised images.

    With y = (x - mean) scale it is scale (g - E[g] - y E[g y]); E is the mean over the values of one statistic.
    """
    means = torch.stack([_means(*each) for each in zip(x, gradient, *_per_image(x, mean, scale), strict=True)])
    if len(mean) < len(x):
        means = means.mean(0, keepdim=True).expand(len(x), -1, -1)
    made = torch.empty_like(x)
    for image, given, into, center, by, (of_gradient, of_product) in zip(
        x, gradient, made, *_per_image(x, mean, scale), means.float(), strict=True
    ):
        for strip, of_strip, part, work in _strips(image, given, into, numbers=_OF_GRADIENTS):
            torch.sub(strip, center, out=work).mul_(-by * of_product).add_(of_strip).sub_(of_gradient)
            part.copy_(work.mul_(by))
    return made


def _per_image(x: Tensor, *statistics: Tensor) -> list[Tensor]:
    """Expand statistics m c to one row per image, n c."""
    return [values.expand(len(x), -1) for values in statistics]


def _means(image: Tensor, gradient: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return the means of g and of g y for an image c h w, as 2 c in float64."""
    sums = [
        torch.stack(
            [given.sum((0, 1), dtype=torch.float32), torch.sub(strip, mean, out=work).mul_(given).sum((0, 1)) * scale]
        )
        for strip, given, work in _strips(image, gradient, numbers=_OF_GRADIENTS)
    ]
    return torch.stack(sums).double().sum(0) / (image.shape[1] * image.shape[2])


def _strips(*images: Tensor, numbers: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield strips of rows of equally sized images c h w, each rows w c, followed by a float32 buffer of that size.

    numbers: approximate number of values per strip.
    """
    channels, height, width = images[0].shape
    rows = min(max(numbers // (channels * width), 1), height)
    work = torch.empty(rows, width, channels, dtype=torch.float32)
    for strips in zip(*(torch.split(image.permute(1, 2, 0), rows) for image in images), strict=True):
        yield *strips, work[: len(strips[0])]
