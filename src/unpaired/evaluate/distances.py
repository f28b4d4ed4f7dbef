"""All figures that need no truth and no download, of two described sets of images."""

from __future__ import annotations

from dataclasses import dataclass

from unpaired.evaluate.describe import Description
from unpaired.evaluate.features import standardised
from unpaired.evaluate.intervals import Interval
from unpaired.evaluate.kernel import kernel_distance
from unpaired.evaluate.manifold import density_and_coverage
from unpaired.evaluate.sliced import sliced_distance
from unpaired.evaluate.two_sample import two_sample_test


@dataclass(frozen=True)
class Distances:
    """Figures by name (`figures.FIGURES` explains them), and the p-value of the two-sample test.

    kernel_distance; swd_1, swd_2, swd_4…: the sliced distance at full, half and quarter size; density; coverage;
    two_sample_accuracy.
    """

    figures: dict[str, Interval]
    two_sample_p: float


def distances(made: Description, real: Description, *, seed: int = 0, resamples: int = 500) -> Distances:
    """Compare translations with real images of the domain they were translated to.

    For the floor, compare other real images with the same real ones, on the same counts: the estimates of all these
    figures but the kernel distance depend on how many images there are. `resamples` is for the intervals; sliced
    distances, which take the most time, use at most 200.

    Raises ValueError if the images differ in size, or one set has fewer than 6 images.
    """
    if made.size != real.size:
        raise ValueError(f"Only images of one size can be compared, not {made.size} and {real.size}.")
    x, y = standardised(made.features, real.features)
    figures = {"kernel_distance": kernel_distance(x, y, resamples=resamples, seed=seed)}
    for level, (ours, theirs) in enumerate(zip(made.patches, real.patches, strict=True)):
        figures[f"swd_{2**level}"] = sliced_distance(ours, theirs, resamples=min(resamples, 200), seed=seed)
    manifold = density_and_coverage(x, y, resamples=resamples, seed=seed)
    figures |= {"density": manifold.density, "coverage": manifold.coverage}
    told_apart = two_sample_test(x, y, resamples=resamples, seed=seed)
    return Distances(figures | {"two_sample_accuracy": told_apart.accuracy}, told_apart.p_value)
