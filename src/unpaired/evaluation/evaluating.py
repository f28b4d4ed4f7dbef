"""Evaluation: translations of a test set in each direction, and every figure with its interval and floor."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.evaluation.computing import accepts, image_figures, own_features, set_figure
from unpaired.evaluation.describe import MAX_IMAGES, Description, describe
from unpaired.evaluation.features import MIN_SIZE
from unpaired.evaluation.figures import METRICS, InceptionDistance, PerceptualDistance
from unpaired.evaluation.inception import Inception
from unpaired.evaluation.intervals import Interval, halves, mean_interval
from unpaired.evaluation.lpips import LPIPS
from unpaired.evaluation.metric_protocol import (
    ImageMetric,
    Metric,
    SetMetric,
    Sets,
    Translated,
    features_name,
    option,
)
from unpaired.evaluation.style_baseline import StyleBaseline, style_translators
from unpaired.evaluation.test_set import TestSet, batch_of, index_batches, open_test_set
from unpaired.evaluation.verdict import Verdict, verdict_of
from unpaired.headway import Headway
from unpaired.images.tensors import as_files
from unpaired.models.bounds import MAX_CROP
from unpaired.networks.protocols import translates_by_search
from unpaired.storage import writable
from unpaired.translate.translator import Translator
from unpaired.version import __version__
from unpaired.words import counted

_log = logging.getLogger("unpaired")

LEAST_FOR_DISTANCES = 12
"""Images per domain below which sets are not compared: half of them must suffice for the floor."""

ALL_PATCHES = sys.maxsize
"""The limit of bytes of patches: none, as the halves of a set are compared; `count` bounds the memory."""

FAKE, FEATURES, MADE, BEFORE = "fake", "features", "made", "before"
"""Keys of the results of a batch: translations and, by name, features, figures of translations and of inputs."""


@dataclass(frozen=True)
class Row:
    """One figure: of the translations, of real images against other real ones, and of untranslated images.

    The latter two are None if they are meaningless (a floor for ground truth) or undefined (domains with other
    channels).
    """

    metric: Metric
    made: Interval
    floor: Interval | None = None
    untranslated: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the intervals by name."""
        parts = {"made": self.made, "floor": self.floor, "untranslated": self.untranslated}
        return {name: interval and interval.to_dict() for name, interval in parts.items()}


@dataclass(frozen=True)
class DirectionResult:
    """One direction: its figures by name, and the figures of each image (tensors n, in the order of `names`)."""

    direction: str
    rows: dict[str, Row]
    images: dict[str, Tensor]
    names: tuple[str, ...]
    two_sample_p: float | None


@dataclass(frozen=True)
class Comparison:
    """A baseline and the model on the same images of one direction."""

    baseline: DirectionResult
    model: DirectionResult

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name: those of the baseline, and those of the model on the same images."""
        rows = {"figures": self.baseline.rows, "model_on_the_same_images": self.model.rows}
        return {name: {key: _json_figures(row.to_dict()) for key, row in found.items()} for name, found in rows.items()}


@dataclass(frozen=True)
class Evaluation:
    """The results of all directions, the facts that they depend on, and the baseline by direction, if there is one."""

    directions: dict[str, DirectionResult]
    facts: dict[str, Any]
    baseline: dict[str, Comparison] = field(default_factory=dict)

    def verdict(self, direction: str) -> Verdict:
        """Return whether the translations of a direction are better than no translation."""
        return verdict_of(self.directions[direction], self.facts["domains"], truth=self.facts["truth"])

    def to_json(self) -> str:
        """Return the figures with their intervals, and those of each image by its name.

        Names are unchanged, except that bytes which are not valid text are escaped.
        """
        found: dict[str, Any] = {**_json_facts(self.facts), "directions": {}}
        for name, result in self.directions.items():
            found["directions"][name] = {
                "verdict": _json_facts(self.verdict(name).to_dict()),
                "figures": {key: _json_figures(row.to_dict()) for key, row in result.rows.items()},
                **_json_figures({"two_sample_p": result.two_sample_p}),
                "images": {
                    image: _json_figures({key: float(values[index]) for key, values in result.images.items()})
                    for index, image in enumerate(_distinct(result.names))
                },
            }
        if self.baseline:
            found["baseline_figures"] = {name: compared.to_dict() for name, compared in self.baseline.items()}
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_facts(value: Any) -> Any:
    """Return facts as strict JSON: valid text and no infinite numbers."""
    if isinstance(value, dict):
        return {writable(key): _json_facts(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return writable(value) if isinstance(value, str) else value


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names as valid text, numbered if two have become equal."""
    found: dict[str, None] = {}
    for name in names:
        text, number = writable(name), 1
        while text in found:
            number += 1
            text = f"{writable(name)} ({number})"
        found[text] = None
    return list(found)


def _json_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures for JSON: rounded, and null if they are infinite, which JSON cannot represent."""
    return {
        name: _json_figures(value)
        if isinstance(value, dict)
        else (round(value, 6) if value is not None and math.isfinite(value) else None)
        for name, value in figures.items()
    }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an evaluation.

    Args:
        size: the side that images are resized to, None for that of training.
        count: the most images per domain; the first ones are used.
        batch: the images per batch.
        truth: whether files of the same name are pairs, None to infer it.
        unseen: leave out the images of the checkpoint selection.
        inception: adds FID and KID.
        lpips: adds LPIPS.
        metrics: additional metrics, such as those that need a file of weights.
        baseline: style transfer as a baseline, None for none.
    """

    size: int | None = None
    count: int = 2000
    batch: int = 16
    truth: bool | None = None
    unseen: bool = False
    inception: Inception | None = None
    lpips: LPIPS | None = None
    metrics: tuple[Metric, ...] = ()
    baseline: StyleBaseline | None = None

    def __post_init__(self) -> None:
        count = self.count
        require(1 <= count <= MAX_IMAGES, f"The number of images (--count) must be 1 to {MAX_IMAGES}, not {count}.")
        for metric in self.metrics:
            require(METRICS.accepts(metric), f"{metric!r:.80} is no metric; see unpaired.evaluation.Metric.")
        require(self.batch >= 1, f"--batch must be at least 1, not {self.batch}.")
        fits = self.size is None or MIN_SIZE <= self.size <= MAX_CROP
        require(fits, f"--size must be {MIN_SIZE} to {MAX_CROP}, not {self.size}.")

    def every_metric(self) -> list[Metric]:
        """Return the registered metrics and those of these settings, in the order of tables."""
        found = [*METRICS, *self.metrics]
        if self.lpips is not None:
            found.append(PerceptualDistance(self.lpips))
        if self.inception is not None:
            found += [InceptionDistance(self.inception, "frechet"), InceptionDistance(self.inception, "kernel")]
        return list({metric.kind: metric for metric in found}.values())


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    listener: Callable[[Evaluation], None] = lambda found: None,
) -> Evaluation:
    """Translate the test half of `data` with a run or model folder, in its directions, and return every figure.

    Each process started by torchrun translates its share, and all return the same. Figures against ground truth need a
    test set with pairs, those of sets enough images in both domains; those of faithfulness are always computed. Memory
    depends on the settings and not on the number of images: patches take 0.2 MB for each image of 256 x 256 in colour.
    listener: called with the results of each direction as soon as they are complete.
    Raises DataError, ModelError, ConfigError, RankError.
    """
    settings = settings or Settings()
    translator, tests = (
        Translator.load(model, device=device, precision="fp32"),
        open_test_set(data, truth=settings.truth),
    )
    size = settings.size or translator.info.training.crop_size
    if size is None:
        raise ConfigError("The model does not record the size it was trained at; give --size.")
    require(
        size >= MIN_SIZE,
        f"The model was trained at {size} x {size} pixels, and figures need at least {MIN_SIZE}; give a larger --size.",
    )
    if tests.truth:
        how = "pairs side by side" if tests.side_by_side else "matched by name"
        _log.info(f"Images of A and B are {how}, and taken as each other's truth; --no-truth if they are not.")
    tests, num_selected_by = _without_selection_images(tests, translator, settings)
    counts = {domain: min(settings.count, len(tests.side(domain))) for domain in "AB"}
    tests.check(counts)
    metrics = settings.every_metric()
    facts = {
        "model": str(model),
        "data": str(data),
        "images": counts,
        "images_that_chose": num_selected_by,
        "size": size,
        **_facts(translator, tests, settings),
    }
    found = Evaluation({}, facts)
    beside = _baselines(data, translator, tests, size, settings)
    with ranks.process_group(translator.device):
        same = f"{facts['data_sha256']} {translator.info}"
        ranks.require_same(same, "The test set or the model", "give all processes the same images and the same model")
        for direction in translator.directions:
            _log.info(f"Translating {counted(counts[direction[0]], 'image')} {direction}.")
            result = _Direction(translator, tests, direction, size, settings, metrics).result()
            part = Evaluation({direction: result}, facts)
            if direction in beside:
                part.baseline[direction] = _compared(translator, beside[direction], tests, direction, size, settings)
            listener(part)
            found.directions.update(part.directions)
            found.baseline.update(part.baseline)
    return found


def _digest(translator: Translator) -> str:
    """Return a SHA-256 of everything that translations depend on, such as the weights and the size."""
    every = "".join(translator.fingerprint(direction) for direction in translator.directions)
    return hashlib.sha256(every.encode()).hexdigest()


def _facts(translator: Translator, tests: TestSet, settings: Settings) -> dict[str, Any]:
    """Return what the figures depend on, besides the names and numbers that `evaluate` adds."""
    facts: dict[str, Any] = {
        "data_sha256": tests.fingerprint(),
        "unseen": settings.unseen,
        "truth": tests.truth,
        "domains": dict(translator.info.domains),
        "step": translator.info.training.step,
        "model_sha256": _digest(translator),
        "weights": translator.info.training.weights,
        "objective": translator.info.training.objective,
        "unpaired": __version__,
        "torch": torch.__version__,
    }
    if others := _external_metrics():
        facts["metrics"] = others
    if settings.baseline is not None:
        facts |= settings.baseline.facts()
    return facts


def _baselines(
    data: str | Path, translator: Translator, tests: TestSet, size: int, settings: Settings
) -> dict[str, Translator]:
    """Return the baseline of each direction, opened before anything is translated."""
    if settings.baseline is None:
        return {}
    return style_translators(data, translator, size, settings.baseline, side_by_side=tests.side_by_side)


def _compared(
    translator: Translator, baseline: Translator, tests: TestSet, direction: str, size: int, settings: Settings
) -> Comparison:
    """Return the figures of the baseline and of the model on the same, first images of a direction."""
    assert settings.baseline is not None
    few = replace(settings, count=min(settings.count, settings.baseline.count))
    count = min(few.count, len(tests.side(direction[0])))
    _log.info(f"Transferring the style to {count} images {direction}.")
    metrics = few.every_metric()
    made, model = (_Direction(each, tests, direction, size, few, metrics).result() for each in (baseline, translator))
    return Comparison(made, model)


def _external_metrics() -> dict[str, str]:
    """Return the registered metrics of other packages by kind, with their origin."""
    origins = {metric.kind: METRICS.origin(metric.kind) for metric in METRICS}
    return {kind: str(origin) for kind, origin in origins.items() if origin is not None}


def _without_selection_images(
    tests: TestSet, translator: Translator, settings: Settings
) -> tuple[TestSet, dict[str, int]]:
    """Return the test set to use, and by domain how many of its images took part in the checkpoint selection."""
    choice = translator.info.choice
    if settings.unseen:
        return tests.unseen(choice), {"A": 0, "B": 0}
    num_selected_by = {domain: sum(took_part[: settings.count]) for domain, took_part in tests.seen(choice).items()}
    if any(num_selected_by.values()):
        _log.info(
            f"{num_selected_by['A']} of these images of A and {num_selected_by['B']} of B took part in the checkpoint "
            "selection of this model, so its figures may be better than on other images; --unseen leaves them out."
        )
    return tests, num_selected_by


class _Direction:
    """The figures of one direction; each batch of images is processed once."""

    def __init__(
        self,
        translator: Translator,
        tests: TestSet,
        direction: str,
        size: int,
        settings: Settings,
        metrics: Sequence[Metric],
    ) -> None:
        self.translator, self.direction, self.settings, self.size = translator, direction, settings, size
        self.source, self.target = tests.side(direction[0]), tests.side(direction[-1])
        self.truth = tests.truth
        info = translator.info.directions[direction]
        self.channels = info.in_channels, info.out_channels
        self.count = min(settings.count, len(self.source))
        self.num_real = min(settings.count, len(self.target))
        taken = [metric for metric in metrics if accepts(metric, (self.channels[1], size, size))]
        self.of_images = [metric for metric in taken if isinstance(metric, ImageMetric)]
        compared = min(self.count, self.num_real) >= LEAST_FOR_DISTANCES
        self.of_sets = [
            metric for metric in taken if isinstance(metric, SetMetric) and (compared or not option(metric, "floor"))
        ]
        with_features = [metric for metric in self.of_sets if hasattr(metric, "features")]
        self.extractors = {features_name(metric): metric for metric in with_features}
        self.images: dict[str, list[Tensor]] = {}
        self.untranslated: dict[str, list[Tensor]] = {}

    def result(self) -> DirectionResult:
        """Translate, compare, and collect the rows."""
        own: dict[str, list[Tensor]] = {}
        passes = self._translations(own)
        made = describe(passes, max_patch_bytes=ALL_PATCHES) if self.of_sets else None
        for _ in passes:  # what describing has not consumed: everything, if there are no figures of sets
            pass
        images = {name: torch.cat(values) for name, values in self.images.items()}
        rows = {metric.kind: self._row(metric, images) for metric in self.of_images if metric.kind in images}
        two_sample_p = None
        if made is not None:
            made = replace(made, own={name: torch.cat(values) for name, values in own.items()})
            two_sample_p = self._compare(made, rows)
        names = tuple(self.source.name(index) for index in range(self.count))
        return DirectionResult(self.direction, rows, images, names, two_sample_p)

    def _row(self, metric: ImageMetric, images: dict[str, Tensor]) -> Row:
        before = self.untranslated.get(metric.kind)
        untranslated = mean_interval(torch.cat(before)) if before else None
        return Row(metric, mean_interval(images[metric.kind]), untranslated=untranslated)

    def _translations(self, own: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        """Yield the translations rounded as in 8-bit files, and collect figures and features on the way."""
        stores = {MADE: self.images, BEFORE: self.untranslated, FEATURES: own}
        slow = translates_by_search(self.translator.info.directions[self.direction].generator)
        batches = index_batches(self.count, 1 if slow else self.settings.batch)
        headway = Headway(f"Translating {self.direction}", self.count)
        for made in ranks.distributed_map(batches, self._translated):
            fake = made.pop(FAKE)
            headway.advance(len(fake))
            for name, values in made.items():
                sort, _, key = name.partition(" ")
                stores[sort].setdefault(key, []).append(values)
            yield fake

    def _translated(self, indices: range) -> dict[str, Tensor]:
        """Return the translations of the images with these indices, and their figures and features."""
        real = self._batch(indices, 0)
        fake = as_files(self.translator(real, direction=self.direction))
        truth = self._batch(indices, 1) if self.truth else None
        images = Translated(real, fake, truth, self._reconstructed(fake))
        alone = replace(images, fake=as_files(real)) if real.shape == fake.shape else None
        made = {FAKE: fake}
        for metric in self.of_images:
            if images.serve(metric):
                made[f"{MADE} {metric.kind}"] = image_figures(metric, images)
                if alone is not None and option(metric, "untranslated"):
                    made[f"{BEFORE} {metric.kind}"] = image_figures(metric, alone)
        return made | _features(self.extractors, fake)

    def _reconstructed(self, fake: Tensor) -> Tensor | None:
        back = {"AtoB": "BtoA", "BtoA": "AtoB"}[self.direction]
        return as_files(self.translator(fake, direction=back)) if back in self.translator.directions else None

    def _compare(self, made: Description, rows: dict[str, Row]) -> float | None:
        """Add the figures of the whole set, their floor, and those of the untranslated images."""
        real = self._described(self.num_real, 1, self.extractors)
        whole, parts = Sets(made, real), None
        if any(option(metric, "floor") for metric in self.of_sets):
            parts = self._equal_parts(made, real)
        for metric in self.of_sets:
            if parts is None or not option(metric, "floor"):
                rows[metric.kind] = Row(metric, set_figure(metric, whole))
            else:
                rows[metric.kind] = _row_with_floor(metric, *parts)
        return parts[0].two_sample.p_value if parts else None

    def _equal_parts(self, made: Description, real: Description) -> tuple[Sets, Sets, Sets | None]:
        """Return translations, real images and untranslated ones, each with the same real images and equal counts."""
        with_floor = {name: metric for name, metric in self.extractors.items() if option(metric, "floor")}
        one, other = halves(self.num_real)
        count = min(len(one), self.count)
        reference, picked = real.select(one[:count]), evenly_spaced(self.count, count)
        plain = None
        if self.channels[0] == self.channels[1]:
            plain = Sets(self._described(self.count, 0, with_floor).select(picked), reference)
        return Sets(made.select(picked), reference), Sets(real.select(other[:count]), reference), plain

    def _described(self, count: int, end: int, extractors: Mapping[str, SetMetric]) -> Description:
        """Return the description of the first real images of a domain, with the metrics' own features."""
        description = describe(self._batches(count, end), max_patch_bytes=ALL_PATCHES)
        if not extractors:
            return description
        kept: dict[str, list[Tensor]] = {}
        work = index_batches(count, self.settings.batch)
        for found in ranks.distributed_map(work, lambda indices: _features(extractors, self._batch(indices, end))):
            for name, values in found.items():
                kept.setdefault(name.partition(" ")[2], []).append(values)
        return replace(description, own={name: torch.cat(values) for name, values in kept.items()})

    def _batches(self, count: int, end: int) -> Iterator[Tensor]:
        headway = Headway(f"Measuring real images of {self.direction[0 if end == 0 else -1]}", count)
        for indices in index_batches(count, self.settings.batch):
            yield self._batch(indices, end)
            headway.advance(len(indices))

    def _batch(self, indices: range, end: int) -> Tensor:
        """Return images of the source (end 0) or the target (end 1) of the direction."""
        source, domain = ((self.source, self.direction[0]), (self.target, self.direction[-1]))[end]
        return batch_of(source, indices, self.translator.info, domain, self.channels[end], self.size)


def _row_with_floor(metric: SetMetric, made: Sets, floor: Sets, untranslated: Sets | None) -> Row:
    """Return the row of a set metric, from equal counts."""
    before = set_figure(metric, untranslated) if untranslated else None
    return Row(metric, set_figure(metric, made), set_figure(metric, floor), before)


def _features(extractors: Mapping[str, SetMetric], images: Tensor) -> dict[str, Tensor]:
    """Return the metrics' own features of a batch."""
    return {f"{FEATURES} {name}": own_features(metric, images) for name, metric in extractors.items()}


def evenly_spaced(total: int, count: int) -> Tensor:
    """Return `count` of the numbers 0 to total - 1, evenly spaced, so that images sorted by kind are all sampled."""
    return torch.arange(count) * total // count
