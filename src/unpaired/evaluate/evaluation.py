"""Evaluation: a model's translations of a test set in each direction, every figure with its interval and its floor."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.evaluate.describe import MAX_IMAGES, Description, describe
from unpaired.evaluate.distances import Distances, distances
from unpaired.evaluate.faithful import cycle_error, gradient_correlation, self_similarity_correlation
from unpaired.evaluate.features import MIN_SIZE
from unpaired.evaluate.frechet import frechet_interval
from unpaired.evaluate.inception import Inception
from unpaired.evaluate.intervals import Interval, halves, mean_interval
from unpaired.evaluate.kernel import kernel_distance
from unpaired.evaluate.lpips import LPIPS
from unpaired.evaluate.test_set import TestSet, batch_of, dealt, open_test_set
from unpaired.evaluate.truth import against_truth
from unpaired.images.tensors import as_files
from unpaired.models.bounds import MAX_CROP
from unpaired.storage import writable
from unpaired.translate.translator import Translator
from unpaired.version import __version__

_log = logging.getLogger("unpaired")

LEAST_FOR_DISTANCES = 12
"""Images a domain below which sets are not compared: half of them must do for the floor."""

FAKE, FEATURES, MADE, BEFORE = "fake", "features", "made", "before"
"""What is made of a batch: translations, Inception's features, and by name figures of these and of what they are of."""


@dataclass(frozen=True)
class Row:
    """One figure: of the translations, of real images against other real ones, and of images left untranslated.

    The latter two are None where they say nothing (the truth's floor) or cannot be had (domains of other channels).
    """

    made: Interval
    floor: Interval | None = None
    untranslated: Interval | None = None


@dataclass(frozen=True)
class DirectionResult:
    """One direction: its figures by name, and figures of each image (as tensors n, in the order of `names`)."""

    direction: str
    rows: dict[str, Row]
    images: dict[str, Tensor]
    names: tuple[str, ...]
    two_sample_p: float | None


@dataclass(frozen=True)
class Evaluation:
    """All directions, and what the figures depend on."""

    directions: dict[str, DirectionResult]
    facts: dict[str, Any]

    def to_json(self) -> str:
        """Return the figures with their intervals, and those of each image by its name.

        Names are as they are, but that bytes which are no valid text are spelled out.
        """
        found: dict[str, Any] = {**_valid(self.facts), "directions": {}}
        for name, result in self.directions.items():
            found["directions"][name] = {
                "figures": {key: _plain(asdict(row)) for key, row in result.rows.items()},
                **_plain({"two_sample_p": result.two_sample_p}),
                "images": {
                    image: _plain({key: float(values[index]) for key, values in result.images.items()})
                    for index, image in enumerate(_distinct(result.names))
                },
            }
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _valid(value: Any) -> Any:
    """Return facts as strict JSON has them: all text valid, no number infinite."""
    if isinstance(value, dict):
        return {writable(key): _valid(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return writable(value) if isinstance(value, str) else value


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names as valid text, numbered where two have become the same one."""
    found: dict[str, None] = {}
    for name in names:
        text, number = writable(name), 1
        while text in found:
            number += 1
            text = f"{writable(name)} ({number})"
        found[text] = None
    return list(found)


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures as JSON has them: rounded, and null where they are infinite, as JSON knows no infinity."""
    return {
        name: _plain(value)
        if isinstance(value, dict)
        else (round(value, 6) if value is not None and math.isfinite(value) else None)
        for name, value in figures.items()
    }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a test set is looked at. size: side that images are resized to, None for that of training.

    count: at most so many images a domain, the first ones; batch: translated together. unseen: leave out the images
    that the model's step was chosen by.
    """

    size: int | None = None
    count: int = 2000
    batch: int = 16
    truth: bool | None = None
    unseen: bool = False
    inception: Inception | None = None
    lpips: LPIPS | None = None

    def __post_init__(self) -> None:
        require(1 <= self.count <= MAX_IMAGES, f"--count must be 1 to {MAX_IMAGES}, not {self.count}.")
        require(self.batch >= 1, f"--batch must be at least 1, not {self.batch}.")
        fits = self.size is None or MIN_SIZE <= self.size <= MAX_CROP
        require(fits, f"--size must be {MIN_SIZE} to {MAX_CROP}, not {self.size}.")


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    settings: Settings | None = None,
    device: str = "auto",
) -> Evaluation:
    """Translate the test half of `data` with a run or model folder, in its directions, and return every figure.

    Of several processes that torchrun started each translates its share, and all return the same. Figures against truth
    where the test set has one, of the whole set where both domains have enough images, of faithfulness always. Memory
    is bounded by the counts, not by the images' number. Raises DataError, ModelError, ConfigError, RankError.
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
    tests, chose = _by_the_choice(tests, translator, settings)
    looked = {domain: min(settings.count, len(tests.side(domain))) for domain in "AB"}
    tests.check(looked)
    results, fingerprint = {}, tests.fingerprint()
    with ranks.joined(translator.device):
        same = f"{fingerprint} {translator.info}"
        ranks.require_same(same, "The test set or the model", "give all processes the same images and the same model")
        for direction in translator.directions:
            _log.info(f"Translating {looked[direction[0]]} images {direction}.")
            results[direction] = _Direction(translator, tests, direction, size, settings).result()
    facts = {
        "model": str(model),
        "data": str(data),
        "data_sha256": fingerprint,
        "images": looked,
        "images_that_chose": chose,
        "unseen": settings.unseen,
        "size": size,
        "truth": tests.truth,
        "domains": dict(translator.info.domains),
        "step": translator.info.training.step,
        "weights": translator.info.training.weights,
        "objective": translator.info.training.objective,
        "unpaired": __version__,
        "torch": torch.__version__,
    }
    return Evaluation(results, facts)


def _by_the_choice(tests: TestSet, translator: Translator, settings: Settings) -> tuple[TestSet, dict[str, int]]:
    """Return the images to look at, and by domain how many of them chose the step of the model, which is told."""
    choice = translator.info.choice
    if settings.unseen:
        return tests.unseen(choice), {"A": 0, "B": 0}
    chose = {domain: sum(took_part[: settings.count]) for domain, took_part in tests.seen(choice).items()}
    if any(chose.values()):
        _log.info(
            f"{chose['A']} of these images of A and {chose['B']} of B chose the step of this model, so its figures may "
            "be better than on other images; --unseen leaves them out."
        )
    return tests, chose


class _Direction:
    """The figures of one direction; everything is looked at once, batch by batch."""

    def __init__(self, translator: Translator, tests: TestSet, direction: str, size: int, settings: Settings) -> None:
        self.translator, self.direction, self.settings, self.size = translator, direction, settings, size
        self.source, self.target = tests.side(direction[0]), tests.side(direction[-1])
        self.truth = tests.truth
        info = translator.info.directions[direction]
        self.channels = info.in_channels, info.out_channels
        self.count = min(settings.count, len(self.source))
        self.num_real = min(settings.count, len(self.target))
        self.images: dict[str, list[Tensor]] = {}
        self.untranslated: dict[str, list[Tensor]] = {}

    def result(self) -> DirectionResult:
        """Translate, compare, and put the rows together."""
        compared = min(self.count, self.num_real) >= LEAST_FOR_DISTANCES
        made_features: list[Tensor] = []
        passes = self._translations(made_features)
        made = describe(passes) if compared else None
        for _ in passes:  # what describing has not consumed: everything, where sets are too small to compare
            pass
        images = {name: torch.cat(values) for name, values in self.images.items()}
        before = {name: torch.cat(values) for name, values in self.untranslated.items()}
        rows = {
            name: Row(mean_interval(values), untranslated=mean_interval(before[name]) if name in before else None)
            for name, values in images.items()
        }
        two_sample_p = None
        if made is not None:
            two_sample_p = self._compare(made, rows)
        if made_features:
            self._with_inception(torch.cat(made_features), rows)
        names = tuple(self.source.name(index) for index in range(self.count))
        return DirectionResult(self.direction, rows, images, names, two_sample_p)

    def _translations(self, features: list[Tensor]) -> Iterator[Tensor]:
        """Yield the translations as 8-bit files would hold them, and note the figures of each image on the way."""
        for made in ranks.shared_out(dealt(self.count, self.settings.batch), self._translated):
            if FEATURES in made:
                features.append(made.pop(FEATURES))
            fake = made.pop(FAKE)
            for name, values in made.items():
                kind, _, figure = name.partition(" ")
                (self.images if kind == MADE else self.untranslated).setdefault(figure, []).append(values)
            yield fake

    def _translated(self, indices: range) -> dict[str, Tensor]:
        """Return the translations of the images with these numbers, and their figures and features."""
        real = self._batch(indices, 0)
        fake = as_files(self.translator(real, direction=self.direction))
        figures = self._faithful(real, fake)
        before: dict[str, Tensor] = {}
        if self.truth:
            truth = self._batch(indices, 1)
            figures |= self._against(fake, truth)
            before = against_truth([(real, truth)]) if real.shape == truth.shape else {}
        made = {FAKE: fake}
        made |= {f"{MADE} {name}": values for name, values in figures.items()}
        made |= {f"{BEFORE} {name}": values for name, values in before.items()}
        if self.settings.inception is not None:
            made[FEATURES] = self.settings.inception.features([fake])
        return made

    def _faithful(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        figures = {}
        back = {"AtoB": "BtoA", "BtoA": "AtoB"}[self.direction]
        if back in self.translator.directions:
            figures["cycle_error"] = cycle_error(real, as_files(self.translator(fake, direction=back)))
        figures["gradient_correlation"] = gradient_correlation(real, fake)
        figures["self_similarity_correlation"] = self_similarity_correlation(real, fake)
        return figures

    def _against(self, fake: Tensor, truth: Tensor) -> dict[str, Tensor]:
        figures = against_truth([(fake, truth)])
        if self.settings.lpips is not None:
            figures[self.settings.lpips.title] = self.settings.lpips(fake, truth)
        return figures

    def _compare(self, made: Description, rows: dict[str, Row]) -> float:
        """Add the distances of the whole set, their floor, and those of the untranslated images."""
        real = describe(self._batches(self.num_real, 1))
        one, other = halves(self.num_real)
        count = min(len(one), self.count)
        reference, picked = real.select(one[:count]), spread(self.count, count)
        found = distances(made.select(picked), reference)
        floor = distances(real.select(other[:count]), reference)
        plain: Distances | None = None
        if self.channels[0] == self.channels[1]:
            before = describe(self._batches(self.count, 0))
            plain = distances(before.select(picked), reference)
        for name, interval in found.figures.items():
            rows[name] = Row(interval, floor.figures[name], plain.figures[name] if plain else None)
        return found.two_sample_p

    def _with_inception(self, made: Tensor, rows: dict[str, Row]) -> None:
        inception = self.settings.inception
        assert inception is not None

        def of_real(indices: range) -> dict[str, Tensor]:
            return {FEATURES: inception.features([self._batch(indices, 1)])}

        shared = ranks.shared_out(dealt(self.num_real, self.settings.batch), of_real)
        real = torch.cat([found[FEATURES] for found in shared])
        rows[inception.figure_name("frechet")] = Row(frechet_interval(made, real))
        rows[inception.figure_name("kernel")] = Row(kernel_distance(made, real))

    def _batches(self, count: int, end: int) -> Iterator[Tensor]:
        return (self._batch(indices, end) for indices in dealt(count, self.settings.batch))

    def _batch(self, indices: range, end: int) -> Tensor:
        """Return images of the source (end 0) or the target (end 1) of the direction."""
        source, domain = ((self.source, self.direction[0]), (self.target, self.direction[-1]))[end]
        return batch_of(source, indices, self.translator.info, domain, self.channels[end], self.size)


def spread(total: int, count: int) -> Tensor:
    """Return `count` of the numbers 0 to total - 1, evenly spread, so that images sorted by kind are all seen."""
    return torch.arange(count) * total // count
