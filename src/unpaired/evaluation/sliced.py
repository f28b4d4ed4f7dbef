"""Sliced Wasserstein distance of image patches of two sets, on each level of the Laplacian pyramid.

Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs", ICLR 2018, section 5 (pyramid: Burt and Adelson 1983;
slices: Rabin et al. 2011): the finest level responds to texture and noise, the coarsest, which is the small image
itself, to colours and large shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws
from unpaired.images.tensors import floats
from unpaired.randomness import rng

PATCH = 7
PATCHES = 64
"""Patches per image and level."""

DIRECTIONS = 128
_SMALLEST = 16
_BLOCK = 16


def pyramid(images: Tensor) -> list[Tensor]:
    """Return the levels of the Laplacian pyramid of n c h w, finest first; the last is an image of 16 to 31 pixels.

    Each level but the last is the image minus the upsampled next one; the image is the sum of all upsampled levels.
    Sides may be odd. Raises ValueError if a side is below 16 pixels.
    """
    images = floats(images).float()
    if min(images.shape[-2:]) < _SMALLEST:
        h, w = images.shape[-2:]
        raise ValueError(f"Sliced distances need images of at least {_SMALLEST}x{_SMALLEST} pixels, not {h}x{w}.")
    levels = []
    while min(images.shape[-2:]) >= 2 * _SMALLEST:
        smaller = _blur(images)[:, :, ::2, ::2]
        levels.append(images - enlarged(smaller, images.shape[-2:]))
        images = smaller
    return [*levels, images.contiguous()]


def enlarged(images: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Return images upsampled by 2; h and w are given, as either may be odd."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[:, :, ::2, ::2] = 4 * images
    return _blur(spread)


def patches(level: Tensor, indices: list[int], *, count: int = PATCHES, seed: int = 0) -> Tensor:
    """Return `count` random patches of 7 x 7 of each image: n count c 49. `indices`: those of the images in their set.

    Their places depend only on the seed and the index, so batches may be of any size.
    """
    n, _, h, w = level.shape
    places = torch.empty(2, n, count, dtype=torch.int64)
    for row, index in enumerate(indices):
        generator = rng(seed, f"patches {h}x{w}", index)
        for axis, side in enumerate((h, w)):
            places[axis, row] = torch.from_numpy(generator.integers(0, side - PATCH + 1, count))
    places = places.to(level.device)
    windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
    cut = windows[torch.arange(n, device=level.device)[:, None], :, places[0], places[1]]
    return cut.flatten(3)


def sliced_distance(
    made: Tensor,
    real: Tensor,
    *,
    directions: int = DIRECTIONS,
    normalise_each: bool = False,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Return the distance of patches n p c 49 and m q c 49 of one level, times 1000; 0 is best, no upper end.

    Patches are projected on random unit vectors. For each, the Wasserstein-1 distance is the area between the
    distribution functions of the projections; the result is the mean over directions.

    Each channel is first standardised with its mean and variance over the real patches. With `normalise_each` each set
    is scaled by its own, as published, which hides errors of brightness, contrast and mostly of colour. The distance of
    two finite samples is above 0 even for sets of one distribution: compare with the floor. The interval is that of the
    first 16 directions, resampled by images, around the value.

    Raises ValueError if the patches do not fit each other.
    """
    if made.ndim != 4 or real.ndim != 4 or made.shape[2:] != real.shape[2:]:
        raise ValueError(f"Patches n p c 49 of one level are needed, not {(*made.shape,)} and {(*real.shape,)}.")
    x, y = _normalised(made, made if normalise_each else real), _normalised(real, real)
    counts = draws(len(x), resamples, seed, "x"), draws(len(y), resamples, seed, "y")
    per_direction: list[Tensor] = []
    resampled = torch.zeros(resamples)
    for number, slices in enumerate(_slices(x.shape[-1], directions, seed)):
        merged = _Merged.of(x @ slices, y @ slices)
        ones = torch.ones(1, len(x)).double(), torch.ones(1, len(y)).double()
        per_direction.append(merged.distances(ones[0][0], ones[1][0]))
        if number == 0:
            rows = [merged.distances(u, v).mean() for u, v in zip(counts[0].float(), counts[1].float(), strict=True)]
            resampled = torch.stack(rows) if rows else resampled
    return around(1000 * float(torch.cat(per_direction).mean()), 1000 * resampled.double(), smallest=0)


class _Merged:
    """The sorted projections of both sets, directions x values; weights change without a new sort."""

    def __init__(self, gaps: Tensor, owner: Tensor, num_x: int, num_y: int) -> None:
        self.gaps, self.owner, self.num_x, self.num_y = gaps, owner, num_x, num_y

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> _Merged:
        """Sort projections n p directions and m q directions."""
        (n, p, count), (m, q, _) = x.shape, y.shape
        values, order = torch.cat([x.reshape(n * p, count), y.reshape(m * q, count)]).T.sort(dim=1)
        owners = torch.cat([torch.arange(n).repeat_interleave(p), n + torch.arange(m).repeat_interleave(q)])
        return cls(values.diff(dim=1), owners[order[:, :-1]], n * p, m * q)

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the area between both distribution functions in each direction, for numbers of draws of each image."""
        steps = torch.cat([x * (1 / self.num_x), y * (-1 / self.num_y)])
        difference: Tensor = steps[self.owner].cumsum_(dim=1)
        return difference.abs_().mul_(self.gaps).sum(dim=1)


def _slices(size: int, directions: int, seed: int) -> Iterator[Tensor]:
    """Yield random unit vectors, size x 16 at a time: memory does not grow with the number of directions."""
    for start in range(0, directions, _BLOCK):
        normal = rng(seed, "directions", start).standard_normal((size, min(_BLOCK, directions - start)))
        yield F.normalize(torch.from_numpy(normal), dim=0).float()


def _normalised(patches: Tensor, reference: Tensor) -> Tensor:
    """Return patches as n p (c 49), each channel standardised with its mean and deviation in the reference."""
    axes = (0, 1, 3)
    mean = reference.mean(dim=axes, keepdim=True, dtype=torch.float64).to(reference)
    deviation = (reference - mean).square_().mean(dim=axes, keepdim=True, dtype=torch.float64).sqrt().to(reference)
    # A constant channel of the reference is not scaled, rather than amplified.
    scale = torch.where(deviation < 1e-6, torch.ones_like(deviation), deviation)
    return patches.sub(mean).div_(scale).flatten(2).float().cpu()


def _blur(images: Tensor) -> Tensor:
    """Apply the 5 x 5 binomial filter, reflected at the borders."""
    weights = torch.tensor([math.comb(4, k) / 16 for k in range(5)], dtype=images.dtype, device=images.device)
    n, c, h, w = images.shape
    padded = F.pad(images.reshape(n * c, 1, h, w), (2, 2, 2, 2), mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :])
    return blurred.reshape(n, c, h, w)
