"""Density and coverage: are the translations where real images are, and everywhere where real images are.

Naeem, Oh, Uh, Choi and Yoo, "Reliable fidelity and diversity metrics for generative models", ICML 2020: around
each real image lies a ball that reaches to its k-th nearest real neighbour, k = 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws

NEIGHBOURS = 5


@dataclass(frozen=True)
class DensityAndCoverage:
    """density: about 1 for real images and above it where they crowd, 0 for strangers. coverage: in [0, 1]."""

    density: Interval
    coverage: Interval


def density_and_coverage(
    made: Tensor, real: Tensor, *, neighbours: int = NEIGHBOURS, resamples: int = 500, seed: int = 0
) -> DensityAndCoverage:
    """Return both figures of features n d against features m d; more is better.

    density: in how many balls a translation lies, over k, on average. coverage: the share of balls in which at least
    one translation lies; for real images it is expected to be 1 - 2**-k = .97 at k = 5 and equal counts, less with
    fewer translations. The balls are fixed when images are resampled: drawn twice, an image would be its own
    neighbour.

    Holds two m x n matrices. Raises ValueError unless there are more than `neighbours` real images.
    """
    if made.ndim != 2 or real.ndim != 2 or made.shape[1] != real.shape[1] or len(real) <= neighbours or len(made) < 1:
        raise ValueError(
            f"Density and coverage need features n d of translations and of more than {neighbours} real images, "
            f"not {(*made.shape,)} and {(*real.shape,)}."
        )
    # The image itself is its nearest neighbour, at distance 0.
    radii = _distances(real, real).kthvalue(neighbours + 1, dim=1).values
    inside = (_distances(real, made) < radii[:, None]).float()
    drawn_real = draws(len(real), resamples, seed, "real").float()
    drawn_made = draws(len(made), resamples, seed, "made").float()
    crowds = drawn_real @ inside
    densities = (crowds * drawn_made).sum(dim=1) / (neighbours * len(made)) * (len(real) / drawn_real.sum(dim=1))
    covered = (inside @ (drawn_made > 0).float().T > 0).float().T
    coverages = (covered * drawn_real).mean(dim=1)
    density = float(inside.sum(dtype=torch.float64)) / (neighbours * len(made))
    coverage = float(inside.amax(dim=1).mean(dtype=torch.float64))
    return DensityAndCoverage(
        around(density, densities.double(), smallest=0), around(coverage, coverages.double(), smallest=0, largest=1)
    )


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances of all rows, n m, float32; a product of matrices in float64, since differences cancel."""
    x, y = x.double(), y.double()
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return squares.clamp_(min=0).sqrt_().float()
