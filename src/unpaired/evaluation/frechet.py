"""The Fréchet distance of two sets of features with Gaussian fits: FID, if Inception computed the features.

Dowson and Landau 1982; Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", NIPS 2017: |m - n|² + tr(A + B - 2 (A B)^(1/2)) for means m, n and covariances A, B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws


class Moments:
    """Running mean and covariance of batches of features, in float64: d + d² numbers for any number of images."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._mean = torch.zeros(size, dtype=torch.float64)
        self._scatter = torch.zeros(size, size, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add features n d; the means of batches are merged without cancellation of large numbers."""
        if len(features) == 0:
            return
        batch = features.double().cpu()
        mean = batch.mean(dim=0)
        centred = batch - mean
        count = self.count + len(batch)
        step = mean - self._mean
        self._scatter += centred.T @ centred + torch.outer(step, step) * (self.count * len(batch) / count)
        self._mean += step * (len(batch) / count)
        self.count = count

    @property
    def mean(self) -> Tensor:
        """The mean, d."""
        return self._mean.clone()

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, d d. Raises ValueError for fewer than 2 images."""
        if self.count < 2:
            raise ValueError(f"A covariance needs at least 2 images, not {self.count}.")
        return self._scatter / (self.count - 1)


def frechet_distance(x: Moments, y: Moments) -> float:
    """Return the Fréchet distance of two Gaussians with these moments; 0 is best, no upper end.

    The trace of the root is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric: neither
    the root of an asymmetric matrix nor a small multiple of the identity is needed. d³ work, a few d² matrices. Raises
    ValueError for fewer than 2 images.
    """
    a, b = x.covariance, y.covariance
    values, vectors = torch.linalg.eigh(a)
    # The root of a rounded eigenvalue 0 would be far larger than rounding.
    real = values > _rounding(values)
    root = vectors[:, real] * values[real].sqrt()
    common = torch.linalg.eigvalsh(root.T @ b @ root) if bool(real.any()) else values[:0]
    trace = common[common > _rounding(common)].sqrt().sum()
    distance = (x.mean - y.mean).square().sum() + a.trace() + b.trace() - 2 * trace
    return max(0.0, float(distance))


def frechet_interval(x: Tensor, y: Tensor, *, resamples: int = 100, seed: int = 0) -> Interval:
    """Return the Fréchet distance of features n d and m d with its interval.

    The trace of the root is the sum of the singular values of the n x m products of the centred features. For fewer
    images than features this is cheaper than the covariances: n m min(n, m) for each resample. The estimate is biased
    upwards, and more so for few images: only compare equal counts, together with the floor. Raises ValueError for fewer
    than 2 images.
    """
    if min(len(x), len(y)) < 2 or x.ndim != 2 or x.shape[1:] != y.shape[1:]:
        raise ValueError(f"Features n d and m d of at least 2 images are needed, not {(*x.shape,)}, {(*y.shape,)}.")
    origin = torch.cat([x, y]).double().mean(dim=0)
    u, v = x.double() - origin, y.double() - origin
    products = u @ u.T, u @ v.T, v @ v.T
    value = _from_products(products, torch.ones(len(x)).double(), torch.ones(len(y)).double())
    counts = draws(len(x), resamples, seed, "x"), draws(len(y), resamples, seed, "y")
    resampled = [_from_products(products, p, q) for p, q in zip(*counts, strict=True)]
    return around(value, torch.tensor(resampled, dtype=torch.float64), smallest=0)


def _rounding(values: Tensor) -> Tensor:
    """Return the largest eigenvalue that rounding alone may cause."""
    largest = values.abs().max() if len(values) else values.sum()
    return largest * len(values) * torch.finfo(values.dtype).eps


def _from_products(products: tuple[Tensor, Tensor, Tensor], p: Tensor, q: Tensor) -> float:
    """Return the distance from the inner products of all features, each image weighted by its number of draws."""
    xx, xy, yy = products
    n, m = p.sum(), q.sum()
    p_mean, q_mean = p / n, q / m
    means = p_mean @ xx @ p_mean - 2 * (p_mean @ xy @ q_mean) + q_mean @ yy @ q_mean
    traces = (p @ xx.diagonal() - n * (p_mean @ xx @ p_mean)) / (n - 1)
    traces = traces + (q @ yy.diagonal() - m * (q_mean @ yy @ q_mean)) / (m - 1)
    # Inner products of features less their means, then each row and column by the root of its count.
    centred = xy - (p_mean @ xy)[None, :] - (xy @ q_mean)[:, None] + p_mean @ xy @ q_mean
    weighted = p.sqrt()[:, None] * centred * q.sqrt()
    common = torch.linalg.svdvals(weighted).sum() / ((n - 1) * (m - 1)).sqrt()
    return max(0.0, float(means + traces - 2 * common))
