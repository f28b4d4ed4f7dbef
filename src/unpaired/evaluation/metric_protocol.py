"""The Metric protocols, of a figure for each image and of a figure for a set, and their inputs.

An installed package or a user's file adds a metric to `unpaired.evaluation.METRICS`; `examples/metric_edges.py` is a
template.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from unpaired.evaluation.describe import Description
from unpaired.evaluation.features import standardised
from unpaired.evaluation.intervals import Interval, draws
from unpaired.evaluation.manifold import DensityAndCoverage, density_and_coverage
from unpaired.evaluation.two_sample import TwoSampleTest, two_sample_test

Need = Literal["truth", "cycle"]
"""Data that not every evaluation has: the true images, and translations back to the source domain."""

NEEDS: tuple[Need, ...] = ("truth", "cycle")


@dataclass(frozen=True)
class Translated:
    """A batch of n translations; every tensor is n c h w in [-1, 1], float32, of one size.

    real and reconstructed have the channels of the source domain, fake and truth those of the target domain.

    Args:
        real: the inputs.
        fake: their translations, rounded as in 8-bit files.
        truth: the ground truth of the translations, None unless the test set has it.
        reconstructed: `fake` translated back and rounded, None unless the model has the other direction.
    """

    real: Tensor
    fake: Tensor
    truth: Tensor | None = None
    reconstructed: Tensor | None = None

    def serve(self, metric: Metric) -> bool:
        """Return whether all inputs of a metric are available."""
        have = {"truth": self.truth is not None, "cycle": self.reconstructed is not None}
        return all(have[need] for need in option(metric, "needs"))


class Sets:
    """Translations and real images of the target domain, as two sets.

    Args:
        made, real: their descriptions (features of random convolutions, patches, the metrics' own features).
        seed: that of every random draw.
        resamples: those of the bootstrap.
    """

    def __init__(self, made: Description, real: Description, *, seed: int = 0, resamples: int = 500) -> None:
        self.made, self.real, self.seed, self.resamples = made, real, seed, resamples

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features n d and m d of random convolutions, standardised over both sets together."""
        return standardised(self.made.features, self.real.features)

    @cached_property
    def manifold(self) -> DensityAndCoverage:
        """Density and coverage of these features."""
        return density_and_coverage(*self.features, resamples=self.resamples, seed=self.seed)

    @cached_property
    def two_sample(self) -> TwoSampleTest:
        """The classifier two-sample test of these features."""
        return two_sample_test(*self.features, resamples=self.resamples, seed=self.seed)

    def own(self, metric: SetMetric) -> tuple[Tensor, Tensor]:
        """Return the features of both sets, n d and m d, from the metric's `features`."""
        name = features_name(metric)
        return self.made.own[name], self.real.own[name]

    def resampled(self, count: int) -> Iterator[Sets]:
        """Yield `count` bootstrap resamples: as many images of each set, drawn with replacement, both independently."""
        sizes = len(self.made.features), len(self.real.features)
        drawn = draws(sizes[0], count, self.seed, "x"), draws(sizes[1], count, self.seed, "y")
        for x, y in zip(*drawn, strict=True):
            made, real = (torch.arange(len(each)).repeat_interleave(each.long()) for each in (x, y))
            yield Sets(self.made.select(made), self.real.select(real), seed=self.seed, resamples=self.resamples)


@runtime_checkable
class Metric(Protocol):
    """A figure of an evaluation: an `ImageMetric` or a `SetMetric`.

    A metric is registered as an instance, and may be any object. Optional attributes:

    needs: "truth", "cycle" or both; the figure is left out of evaluations without them. Default: none.

    untranslated: True if the figure of untranslated inputs is meaningful, as that of figures against ground truth
    (image metrics; computed if both domains have the same channels). Default: False.

    infinite: True if the figure may be infinite. Default: False; NaN and infinity are errors.

    floor: False for a figure of all images, without the floor, the untranslated images and equal counts (set metrics).
    Default: True.

    accepts(size): returns False for unsupported sizes c h w of the target domain. Default: accepts all.

    features(images): returns features n d of images n c h w of the target domain in [-1, 1], for `Sets.own` (set
    metrics). They are computed batch by batch and kept for all images, d numbers each.

    features_name: metrics with the same name share their features. Default: the kind.
    """

    @property
    def kind(self) -> str:
        """The name in results."""

    @property
    def label(self) -> str:
        """The name in tables and on the page."""

    @property
    def better(self) -> Literal["less", "more"]:
        """Whether smaller or larger figures are better."""

    @property
    def digits(self) -> int:
        """Digits after the point in tables, 0 to 9."""

    @property
    def sees(self) -> str:
        """A few words on the differences that the figure responds to."""


@runtime_checkable
class ImageMetric(Metric, Protocol):
    """A figure of each image; the mean and its bootstrap interval are computed by the package."""

    def per_image(self, images: Translated) -> Tensor:
        """Return n figures, one of each image of the batch; they must not depend on the other images of it."""


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A figure of a set of images against a set of real ones."""

    def per_set(self, sets: Sets) -> Interval | float:
        """Return the figure with its interval, or without; the package then computes one from 100 resamples."""


_DEFAULTS: dict[str, Any] = {"needs": (), "untranslated": False, "infinite": False, "floor": True}


def option(metric: Metric, name: str) -> Any:
    """Return an optional attribute of a metric or its default."""
    return getattr(metric, name, _DEFAULTS[name])


def features_name(metric: Metric) -> str:
    """Return the name of the metric's own features."""
    return str(getattr(metric, "features_name", metric.kind))


def refuse(part: Any) -> str:
    """Return why an object is not a metric, as the end of a sentence, or ""."""
    if isinstance(part, type):
        return "it is a class; register an instance of it"
    if not callable(getattr(part, "per_image", None)) and not callable(getattr(part, "per_set", None)):
        return "it has neither per_image nor per_set; add one"
    if part.better not in ("less", "more"):
        return f'its better must be "less" or "more", not {part.better!r}'
    if type(part.digits) is not int or not 0 <= part.digits <= 9:
        return f"its digits must be 0 to 9, not {part.digits!r}"
    unknown = [need for need in option(part, "needs") if need not in NEEDS]
    if unknown or isinstance(option(part, "needs"), str):
        return f"its needs must be of {', '.join(NEEDS)}, in a tuple, not {option(part, 'needs')!r}"
    return ""
