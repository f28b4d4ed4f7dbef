"""Figures of merit: pure functions, and what runs them over a test set.

`METRICS` is the registry of metrics, `ImageMetric` and `SetMetric` are their Protocols.
"""

from __future__ import annotations

from unpaired.evaluate.figures import METRICS
from unpaired.evaluate.intervals import Interval
from unpaired.evaluate.metric_protocol import ImageMetric, Metric, SetMetric, Sets, Translated

__all__ = ["METRICS", "ImageMetric", "Interval", "Metric", "SetMetric", "Sets", "Translated"]
