"""Held-out images looked at again and again while a run trains: a cheap subset of the figures, the real side kept.

No truth is needed. The names are those of `evaluate.METRICS` with the direction behind them, as in
kernel_distance_AtoB, and each figure is what `unpaired evaluate` computes of the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unpaired.evaluate import METRICS, ImageMetric, Translated
from unpaired.evaluate.features import MIN_SIZE, RandomConvolutions, standardised
from unpaired.evaluate.intervals import Interval
from unpaired.evaluate.kernel import kernel_distance
from unpaired.images.tensors import as_files

LEAST = 8
"""Images a domain below which a set says nothing about a distribution."""

OF_IMAGES = ("cycle_error", "self_similarity_correlation", "gradient_correlation", "l1")
"""The metrics of images that are computed, as far as there are a way back and truth."""

Translate = Callable[[Tensor], Tensor]
_RESAMPLES = 200
_BATCH = 16  # images that are described together
_BACK = {"AtoB": "BtoA", "BtoA": "AtoB"}


class HeldOut:
    """Held-out images a and b, n c h w and m c h w in [-1, 1], and the features of the real ones, computed once.

    paired: whether image k of a and image k of b are each other's truth. batch: images that are translated together;
    1 for networks whose batch norm must see one image at a time. Memory: the images, and 960 numbers for each.

    Raises ValueError for fewer than 8 images a domain, or sides below 16 pixels.
    """

    def __init__(self, a: Tensor, b: Tensor, *, paired: bool = False, batch: int = 4) -> None:
        if min(len(a), len(b)) < LEAST or min(*a.shape[2:], *b.shape[2:]) < MIN_SIZE:
            raise ValueError(
                f"At least {LEAST} images of {MIN_SIZE} x {MIN_SIZE} pixels a domain are needed, not {(*a.shape,)} and "
                f"{(*b.shape,)}."
            )
        self._images, self._paired, self._batch = {"A": a, "B": b}, paired, batch
        self._features = {domain: _features(images) for domain, images in self._images.items()}

    @torch.no_grad()
    def figures(self, translators: Mapping[str, Translate]) -> dict[str, float]:
        """Return the figures of translators given by direction, which take and return n c h w in [-1, 1].

        kernel_distance_D of direction D, and kernel_interval_D, by how much the upper end of its 95 % interval is above
        it; cycle_error_D where there is a way back, self_similarity_correlation_D and
        gradient_correlation_D, and l1_D against truth for pairs. Translations are taken as 8-bit files would hold them,
        which leaves a cycle less room to hide in.
        """
        found = {}
        for direction in translators:
            for name, value in self._direction(direction, translators).items():
                found[f"{name}_{direction}"] = value
        return found

    def _direction(self, direction: str, translators: Mapping[str, Translate]) -> dict[str, float]:
        real, target = self._images[direction[0]], direction[-1]
        made = as_files(self._translated(translators[direction], real))
        distance = self._distance(made, target)
        figures = {"kernel_distance": distance.value, "kernel_interval": distance.high - distance.value}
        back = translators.get(_BACK[direction])
        images = Translated(
            real,
            made,
            self._images[target] if self._paired else None,
            as_files(self._translated(back, made)) if back is not None else None,
        )
        for kind in OF_IMAGES:
            metric = METRICS.get(kind)
            assert isinstance(metric, ImageMetric)
            if images.serve(metric):
                figures[kind] = float(metric.per_image(images).double().mean())
        return figures

    def _translated(self, translate: Translate, images: Tensor) -> Tensor:
        return torch.cat([translate(part).float() for part in torch.split(images, self._batch)])

    def _distance(self, made: Tensor, target: str) -> Interval:
        made_features, real_features = standardised(_features(made), self._features[target])
        return kernel_distance(made_features, real_features, resamples=_RESAMPLES)


def _features(images: Tensor) -> Tensor:
    look = RandomConvolutions(images.shape[1]).to(images.device)
    return torch.cat([look(as_files(part).float()) for part in torch.split(images, _BATCH)]).cpu()
