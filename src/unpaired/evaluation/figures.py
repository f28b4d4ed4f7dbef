"""The package's metrics, and the registry of all metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from unpaired.evaluation.faithful import cycle_error, gradient_correlation, self_similarity_correlation
from unpaired.evaluation.frechet import frechet_interval
from unpaired.evaluation.inception import Inception
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.kernel import kernel_distance
from unpaired.evaluation.lpips import LPIPS
from unpaired.evaluation.metric_protocol import Metric, Need, Sets, Translated, refuse
from unpaired.evaluation.sliced import sliced_distance
from unpaired.evaluation.truth import AGAINST_TRUTH
from unpaired.images.tensors import as_files
from unpaired.registry import Registry

Better = Literal["less", "more"]


@dataclass(frozen=True)
class Figure:
    """The description of a figure, see `Metric`."""

    kind: str
    label: str
    better: Better
    digits: int
    sees: str


@dataclass(frozen=True)
class AgainstTruth(Figure):
    """A figure of each translation and its ground truth, rounded as in 8-bit files. compare: of two batches."""

    compare: Callable[[Tensor, Tensor], Tensor]
    infinite: bool = False
    needs: ClassVar[tuple[Need, ...]] = ("truth",)
    untranslated: ClassVar[bool] = True

    def per_image(self, images: Translated) -> Tensor:
        """Return n figures."""
        assert images.truth is not None
        return self.compare(as_files(images.fake), as_files(images.truth))


@dataclass(frozen=True)
class Faithful(Figure):
    """A figure of each input and its translation. compare: of two batches."""

    compare: Callable[[Tensor, Tensor], Tensor]

    def per_image(self, images: Translated) -> Tensor:
        """Return n figures."""
        return self.compare(images.real, images.fake)


@dataclass(frozen=True)
class CycleError(Figure):
    """The error of each reconstruction."""

    needs: ClassVar[tuple[Need, ...]] = ("cycle",)

    def per_image(self, images: Translated) -> Tensor:
        """Return n figures in [0, 1]."""
        assert images.reconstructed is not None
        return cycle_error(images.real, images.reconstructed)


@dataclass(frozen=True)
class OfSets(Figure):
    """A figure of two sets that has its own interval."""

    compare: Callable[[Sets], Interval]

    def per_set(self, sets: Sets) -> Interval:
        """Return the figure."""
        return self.compare(sets)


@dataclass(frozen=True)
class Sliced(Figure):
    """The sliced distance of one level of the pyramid, 0 the finest."""

    level: int

    def accepts(self, size: tuple[int, int, int]) -> bool:
        """Return whether images c h w have this level."""
        return _levels(min(size[1:])) > self.level

    def per_set(self, sets: Sets) -> Interval:
        """Return the distance, times 1000."""
        made, real = sets.made.patches[self.level], sets.real.patches[self.level]
        return sliced_distance(made, real, resamples=min(sets.resamples, 200), seed=sets.seed)


def _levels(side: int) -> int:
    """Return how many levels the pyramid of images with this smaller side has, as `sliced.pyramid` makes them."""
    return 1 if side < 32 else 1 + _levels((side + 1) // 2)


@dataclass(frozen=True)
class PerceptualDistance:
    """LPIPS with the user's weights; see `lpips`."""

    network: LPIPS
    better: ClassVar[Better] = "less"
    digits: ClassVar[int] = 3
    sees: ClassVar[str] = ""
    needs: ClassVar[tuple[Need, ...]] = ("truth",)

    @property
    def kind(self) -> str:
        """The network and its weights."""
        return self.network.title

    label = kind

    def per_image(self, images: Translated) -> Tensor:
        """Return n distances."""
        assert images.truth is not None
        return self.network(images.fake, images.truth)


@dataclass(frozen=True)
class InceptionDistance:
    """FID or KID, or the same distances with weights other than the published ones; see `inception`."""

    network: Inception
    distance: Literal["frechet", "kernel"]
    better: ClassVar[Better] = "less"
    digits: ClassVar[int] = 3
    sees: ClassVar[str] = ""
    floor: ClassVar[bool] = False
    features_name: ClassVar[str] = "Inception"

    @property
    def kind(self) -> str:
        """The distance, the network and its weights."""
        return self.network.figure_name(self.distance)

    label = kind

    def features(self, images: Tensor) -> Tensor:
        """Return features n 2048."""
        return self.network.features([images])

    def per_set(self, sets: Sets) -> Interval:
        """Return the distance."""
        made, real = sets.own(self)
        return frechet_interval(made, real) if self.distance == "frechet" else kernel_distance(made, real)


def _kernel_distance(sets: Sets) -> Interval:
    return kernel_distance(*sets.features, resamples=sets.resamples, seed=sets.seed)


_SHAPES = "shapes; colours, in the last one"
_COLOURS = "right colours"
_APART = "any difference between the sets; .5 is best"

METRICS: Registry[Metric] = Registry(
    "metric",
    "unpaired.metrics",
    (
        CycleError("cycle_error", "cycle error", "less", 4, "information lost in the reconstruction"),
        Faithful("gradient_correlation", "gradient correlation", "more", 3, "edges kept", gradient_correlation),
        Faithful(
            "self_similarity_correlation",
            "self-similarity correlation",
            "more",
            3,
            "layout kept",
            self_similarity_correlation,
        ),
        AgainstTruth("l1", "L1", "less", 4, "difference from truth", AGAINST_TRUTH["l1"]),
        AgainstTruth("psnr", "PSNR, dB", "more", 2, "squared difference from truth", AGAINST_TRUTH["psnr"], True),
        AgainstTruth("ssim", "SSIM", "more", 3, "structure of the truth", AGAINST_TRUTH["ssim"]),
        *(
            AgainstTruth(name, f"pixels within {name[7:]} levels", "more", 3, _COLOURS, compare)
            for name, compare in AGAINST_TRUTH.items()
            if name.startswith("within_")
        ),
        OfSets(
            "kernel_distance",
            "kernel distance, random convolutions",
            "less",
            4,
            "look of the whole set",
            _kernel_distance,
        ),
        Sliced(
            "swd_1",
            "sliced Wasserstein × 1000, full size",
            "less",
            1,
            "fine texture, noise, blur, checkerboards",
            0,
        ),
        *(
            Sliced(f"swd_{2**level}", f"sliced Wasserstein × 1000, 1/{2**level} size", "less", 1, _SHAPES, level)
            for level in range(1, 10)
        ),
        OfSets("density", "density", "more", 3, "plausible single images", lambda sets: sets.manifold.density),
        OfSets("coverage", "coverage", "more", 3, "variety", lambda sets: sets.manifold.coverage),
        OfSets("two_sample_accuracy", "two-sample accuracy", "less", 3, _APART, lambda sets: sets.two_sample.accuracy),
    ),
    required=("label", "better", "digits", "sees"),
    refuse=refuse,
)
"""Every metric that needs no file: the package's own, in the order of tables, then external ones."""
