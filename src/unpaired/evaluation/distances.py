"""All figures of two described sets of images that need neither ground truth nor a download."""

from __future__ import annotations

from dataclasses import dataclass

from unpaired.evaluation.computing import accepts, with_interval
from unpaired.evaluation.describe import Description
from unpaired.evaluation.figures import METRICS
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.metric_protocol import SetMetric, Sets


@dataclass(frozen=True)
class Distances:
    """Figures by name (`figures.METRICS` explains them), and the p-value of the two-sample test.

    kernel_distance; swd_1, swd_2, swd_4…: the sliced distance at full, half and quarter size; density; coverage;
    two_sample_accuracy.
    """

    figures: dict[str, Interval]
    two_sample_p: float


def distances(made: Description, real: Description, *, seed: int = 0, resamples: int = 500) -> Distances:
    """Compare translations with real images of the target domain.

    For the floor, compare other real images with the same real ones, on the same counts: the estimates of all these
    figures but the kernel distance depend on the number of images. `resamples` is for the intervals; sliced distances,
    which take the most time, use at most 200.

    Raises ValueError if the images differ in size, or one set has fewer than 6 images.
    """
    if made.size != real.size:
        raise ValueError(f"Only images of one size can be compared, not {made.size} and {real.size}.")
    sets = Sets(made, real, seed=seed, resamples=resamples)
    own = [metric for metric in METRICS.own() if isinstance(metric, SetMetric) and accepts(metric, made.size)]
    return Distances({metric.kind: with_interval(metric, sets) for metric in own}, sets.two_sample.p_value)
