"""A baseline without understanding of the content: one polynomial colour map for all pixels of all images.

It is fitted with ground truth, which no unpaired method may use, so a translation that does not beat it has only
changed colours. It is a reference, not a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

__all__ = ["ColourTransform"]

_DEGREE = 4
_RIDGE = 1e-9

# Each monomial is its factors' channels: () is 1, (0, 0, 2) is r² b.
_MONOMIALS = tuple(
    factors for degree in range(_DEGREE + 1) for factors in combinations_with_replacement(range(3), degree)
)


@dataclass(frozen=True, eq=False)
class ColourTransform:
    """Each output channel is a polynomial of degree 4 in (r, g, b), all on the [-1, 1] scale.

        out_k = sum over i + j + l <= 4 of coefficients[m(i, j, l), k] r^i g^j b^l

    `coefficients` is 35 x 3 in float64: 35 monomials in graded lexicographic order (1, r, g, b, r², r g, …).
    """

    coefficients: Tensor

    @classmethod
    def fit(cls, pairs: Iterable[tuple[Tensor, Tensor]]) -> ColourTransform:
        """Fit by least squares over all pixels of all pairs (image, truth), each n 3 h w in [-1, 1].

        Pairs are read once, one at a time; the normal equations are accumulated in float64. A ridge of 1e-9 times the
        number of pixels keeps them solvable if only few colours occur. The ridge pulls towards the identity, so no fit
        has a larger squared error on its pairs than the unchanged images.

        Raises ValueError if the shapes of a pair differ or are not n 3 h w, or if there is no pair.
        """
        size = len(_MONOMIALS)
        gram = torch.zeros(size, size, dtype=torch.float64)
        moment = torch.zeros(size, 3, dtype=torch.float64)
        count = 0
        for image, truth in pairs:
            if image.shape != truth.shape:
                raise ValueError(f"An image {(*image.shape,)} and its truth {(*truth.shape,)} differ in shape.")
            source, target = _pixels(image), _pixels(truth)
            features = _features(source)
            gram += (features.T @ features).cpu()
            moment += (features.T @ (target - source)).cpu()
            count += len(source)
        if count == 0:
            raise ValueError("A colour transform is fitted to at least one pair of images.")
        gram += _RIDGE * count * torch.eye(size, dtype=torch.float64)
        change: Tensor = torch.linalg.solve(gram, moment)
        return cls(_identity() + change)

    def __call__(self, images: Tensor) -> Tensor:
        """Recolour images n 3 h w in [-1, 1]; same shape, dtype and device, clipped to [-1, 1].

        Raises ValueError if the shape is not n 3 h w.
        """
        coloured = _features(_pixels(images)) @ self.coefficients.to(images.device)
        n, _, h, w = images.shape
        return coloured.clamp(-1, 1).reshape(n, h, w, 3).permute(0, 3, 1, 2).contiguous().to(images.dtype)


def _identity() -> Tensor:
    coefficients = torch.zeros(len(_MONOMIALS), 3, dtype=torch.float64)
    for channel in range(3):
        coefficients[_MONOMIALS.index((channel,)), channel] = 1
    return coefficients


def _pixels(images: Tensor) -> Tensor:
    """Return all pixels of n 3 h w as rows of (r, g, b), float64."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"A colour transform needs images n 3 h w, not {(*images.shape,)}.")
    return images.permute(0, 2, 3, 1).reshape(-1, 3).double()


def _features(pixels: Tensor) -> Tensor:
    """Return the monomials of each pixel, pixels x 35."""
    columns: dict[tuple[int, ...], Tensor] = {(): torch.ones_like(pixels[:, 0])}
    for factors in _MONOMIALS[1:]:
        columns[factors] = columns[factors[:-1]] * pixels[:, factors[-1]]
    return torch.stack([columns[factors] for factors in _MONOMIALS], dim=1)
