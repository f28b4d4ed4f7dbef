"""Density and coverage: whether the translations are near real images, and near all of them.

Naeem, Oh, Uh, Choi and Yoo, "Reliable fidelity and diversity metrics for generative models", ICML 2020: each real image
has a ball whose radius is the distance to its k-th nearest real neighbour, k = 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws

NEIGHBOURS = 5


@dataclass(frozen=True)
class DensityAndCoverage:
    """density: about 1 for real images, higher in dense regions, 0 far from all of them. coverage: in [0, 1]."""

    density: Interval
    coverage: Interval


def density_and_coverage(
    made: Tensor, real: Tensor, *, neighbours: int = NEIGHBOURS, resamples: int = 500, seed: int = 0
) -> DensityAndCoverage:
    """Return both figures of features n d against features m d; more is better.

    density: the mean number of balls that contain a translation, divided by k. coverage: the share of balls that
    contain at least one translation; for real images its expectation is 1 - 2**-k = .97 at k = 5 and equal counts, less
    with fewer translations. The balls are the same in all resamples: an image drawn twice would be its own neighbour.

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
    """Return the Euclidean distances of all rows, n m, float32; the matrix product is in float64, as differences
    cancel.
    """
    x, y = x.double(), y.double()
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return squares.clamp_(min=0).sqrt_().float()
