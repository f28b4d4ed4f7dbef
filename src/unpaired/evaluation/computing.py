"""Computation of any metric: figures and features are validated, and each error names the metric."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from unpaired.errors import ConfigError, UnpairedError
from unpaired.evaluation.figures import METRICS
from unpaired.evaluation.intervals import Interval, around
from unpaired.evaluation.metric_protocol import ImageMetric, Metric, SetMetric, Sets, Translated, option
from unpaired.storage import shown

RESAMPLES = 100
"""Bootstrap resamples of a figure of a set that comes without its interval."""


def accepts(metric: Metric, size: tuple[int, int, int]) -> bool:
    """Return whether a metric takes images c h w of this size."""
    with _named(metric):
        return bool(getattr(metric, "accepts", lambda size: True)(size))


def image_figures(metric: ImageMetric, images: Translated) -> Tensor:
    """Return the figure of each image of a batch: n, float64, on the CPU. Raises ConfigError, naming the metric."""
    with _named(metric):
        values = metric.per_image(images)
    count = len(images.fake)
    if not isinstance(values, Tensor) or values.shape != (count,) or values.is_complex():
        raise _fault(metric, f"returned {_described(values)} and not a tensor of {count} figures, one of each image")
    values = values.detach().double().cpu()
    if values.isnan().any() or (values.isinf().any() and not option(metric, "infinite")):
        bad = int((~values.isfinite()).sum())
        raise _fault(metric, f"returned NaN or infinity for {bad} of {count} images")
    return values


def set_figure(metric: SetMetric, sets: Sets) -> Interval:
    """Return the figure of two sets with its interval. Raises ConfigError, naming the metric."""
    with _named(metric):
        found = with_interval(metric, sets)
    # Ends of an interval may be NaN or infinite: a resample of few images may contain a single distinct one.
    if math.isnan(found.value) or (math.isinf(found.value) and not option(metric, "infinite")):
        raise _fault(metric, "returned NaN or infinity for the set")
    return found


def with_interval(metric: SetMetric, sets: Sets) -> Interval:
    """Return the figure of a metric; without an interval of its own, with the interval of 100 resamples."""
    found = metric.per_set(sets)
    if isinstance(found, Interval):
        return found
    resampled = [_number(metric.per_set(each)) for each in sets.resampled(RESAMPLES)]
    return around(float(found), torch.tensor(resampled, dtype=torch.float64))


def own_features(metric: SetMetric, images: Tensor) -> Tensor:
    """Return the features n d of a metric for n images, on the CPU. Raises ConfigError, naming the metric."""
    with _named(metric):
        features = metric.features(images)  # type: ignore[attr-defined]
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
        raise _fault(metric, f"returned {_described(features)} as features and not n d for {len(images)} images")
    return features.detach().cpu()


def _number(figure: Interval | float) -> float:
    return figure.value if isinstance(figure, Interval) else float(figure)


@contextmanager
def _named(metric: Metric) -> Iterator[None]:
    """Convert any error of the block to a ConfigError that names the metric."""
    try:
        yield
    except UnpairedError:
        raise
    except Exception as error:
        reason = shown(" ".join(f"{type(error).__name__}: {error}".split()))
        raise _fault(metric, f"cannot be computed ({reason})") from error


def _fault(metric: Metric, problem: str) -> ConfigError:
    origin = METRICS.origin(metric.kind) if metric.kind in METRICS else None
    source = f" of {origin}" if origin else ""
    return ConfigError(f"The metric {shown(metric.kind)}{source} {problem}; fix it or leave it out.")


def _described(value: object) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
