"""Metrics of repeated validation: a cheap subset of those of `unpaired evaluate`, with real features computed once.

No ground truth is needed. The names are those of `evaluation.METRICS` followed by the direction, as in
kernel_distance_AtoB, and each value equals that of `unpaired evaluate` on the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unpaired.evaluation import METRICS, ImageMetric, Translated
from unpaired.evaluation.faithful import SelfSimilarity
from unpaired.evaluation.features import MIN_SIZE, RandomConvolutions, standardised
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.kernel import kernel_distance
from unpaired.headway import Headway
from unpaired.images.tensors import as_files

LEAST = 8
"""Least number of images of a domain for statistics of its distribution."""

OF_IMAGES = ("cycle_error", "self_similarity_correlation", "gradient_correlation", "l1")
"""The metrics of images to compute; some need a generator of the other direction, or ground truth."""

Translate = Callable[[Tensor], Tensor]
_RESAMPLES = 200
_BATCH = 16  # images in a forward pass of the feature network
_BACK = {"AtoB": "BtoA", "BtoA": "AtoB"}


class ValidationMetrics:
    """Validation images a and b, n c h w and m c h w in [-1, 1], and the features of the real ones, computed once.

    paired: whether image k of a and image k of b are a pair.
    batch: images in a forward pass; 1 for networks whose batch norm takes statistics of each image.
    Memory: the images, and for each 960 numbers of 4 bytes and 32,640 of 8.

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
        self._layouts = {domain: SelfSimilarity(images) for domain, images in self._images.items()}

    @torch.no_grad()
    def figures(self, translators: Mapping[str, Translate]) -> dict[str, float]:
        """Return the metrics of translators given by direction, which take and return n c h w in [-1, 1].

        For each direction D: kernel_distance_D; kernel_interval_D, the distance from it to the upper end of its 95 %
        interval; cycle_error_D if there is a generator of the other direction; self_similarity_correlation_D and
        gradient_correlation_D; l1_D for pairs. Translations are rounded to 8 bits, as in files, so that a cycle
        cannot pass information in the low bits.
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
                layout = kind == "self_similarity_correlation"
                values = self._layouts[direction[0]].correlation(made) if layout else metric.per_image(images)
                figures[kind] = float(values.double().mean())
        return figures

    def _translated(self, translate: Translate, images: Tensor) -> Tensor:
        parts, headway = [], Headway("Validation", len(images))
        for part in torch.split(images, self._batch):
            parts.append(translate(part).float())
            headway.advance(len(part))
        return torch.cat(parts)

    def _distance(self, made: Tensor, target: str) -> Interval:
        made_features, real_features = standardised(_features(made), self._features[target])
        return kernel_distance(made_features, real_features, resamples=_RESAMPLES)


def _features(images: Tensor) -> Tensor:
    evaluation = RandomConvolutions(images.shape[1]).to(images.device)
    return torch.cat([evaluation(as_files(part).float()) for part in torch.split(images, _BATCH)]).cpu()
