"""Metrics: pure functions, and their computation over a test set.

`METRICS` is the registry of metrics, `ImageMetric` and `SetMetric` are their protocols.
"""

from __future__ import annotations

from unpaired.evaluation.figures import METRICS
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.metric_protocol import ImageMetric, Metric, SetMetric, Sets, Translated

__all__ = ["METRICS", "ImageMetric", "Interval", "Metric", "SetMetric", "Sets", "Translated"]
