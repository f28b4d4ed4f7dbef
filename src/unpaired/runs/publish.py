"""Publishes the model folder of a run."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from unpaired.data.datasets import WHOLE_IMAGES
from unpaired.data.domains import Domains
from unpaired.data.normalising import spec_from_config
from unpaired.data.pairs import HalfSource
from unpaired.data.sources import FolderSource
from unpaired.errors import UnpairedError
from unpaired.images import ImageHeader, read_header
from unpaired.models.domain_values import DomainValues
from unpaired.models.model_folder import DirectionInfo, GeneratorMode, ModelInfo, TrainingInfo, write_model
from unpaired.models.scale_info import ScaleInfo
from unpaired.models.selection_info import ChoiceInfo, SheetInfo
from unpaired.models.start_info import StartInfo
from unpaired.objectives.base import Direction
from unpaired.objectives.method import described
from unpaired.recipes import Config
from unpaired.training.start_config import source_name

_MOST_HEADERS = 64  # largest number of training images whose headers are read for their shape


def publish_model(
    folder: Path,
    config: Config,
    domains: Domains,
    generators: Mapping[Direction, Mapping[str, Tensor]],
    step: int,
    mode: GeneratorMode,
    choice: ChoiceInfo | None = None,
    scale: ScaleInfo | None = None,
) -> None:
    """Write the model folder: the generators of `config` after `step`, and their description.

    generators: weights by direction and name.
    choice: how that step was selected; None for the last step. scale: from `training_scale`.
    """
    channels = {"AtoB": (config.data.channels_a, config.data.channels_b)}
    channels["BtoA"] = channels["AtoB"][::-1]
    directions = {
        str(name): DirectionInfo(
            generator=config.generator, in_channels=channels[name][0], out_channels=channels[name][1], mode=mode
        )
        for name in generators
    }
    training = TrainingInfo(
        step=step,
        seed=config.run.seed,
        load_size=config.data.load_size,
        crop_size=config.data.crop_size,
        objective=described(config.objective),
        weights="averaged" if config.optimizer.ema_decay else "trained",
    )
    red, green, blue = config.data.background
    info = ModelInfo(
        directions=directions,
        domains=domains.names,
        training=training,
        background=(red, green, blue),
        values={
            "A": DomainValues.of(spec_from_config(config.data, "A"), config.data.dtype_a),
            "B": DomainValues.of(spec_from_config(config.data, "B"), config.data.dtype_b),
        },
        icc=config.data.icc,
        classes=domains.classes,
        choice=choice,
        sheets=_sheets(domains),
        scale=scale,
        masked=domains.masks is not None,
        start=_start(config),
    )
    write_model(folder, info, {str(name): weights for name, weights in generators.items()})


def _start(config: Config) -> StartInfo | None:
    """Return the weights that training started from, by name and not by place, as models are shared."""
    start = config.start
    return StartInfo(source=source_name(start.weights), step=start.step, sha256=start.sha256) if start.weights else None


def _sheets(domains: Domains) -> SheetInfo | None:
    """Return the aspect ratios of side-by-side training images, from evenly spread headers; None for other images."""
    source = domains.train_a
    if not isinstance(source, HalfSource):
        return None
    ratios = [header.width / header.height for header in _headers(source)]
    return SheetInfo(narrowest=min(ratios), widest=max(ratios)) if ratios else None


def training_scale(config: Config, domains: Domains) -> ScaleInfo:
    """Return how training resizes its images, with their median sizes, from evenly spread headers."""
    data = config.data
    return ScaleInfo(
        preprocess=data.preprocess,
        load_size=data.load_size,
        crop_size=data.crop_size,
        size_a=_median_size(domains.train_a),
        size_b=_median_size(domains.train_b),
    )


def grid_scale(scale: ScaleInfo) -> str:
    """Return the sentence about the scale of the sample grids."""
    crops = "" if scale.preprocess in WHOLE_IMAGES else f"centre crops of {scale.crop_size} x {scale.crop_size} of "
    about = {domain: scale.words(domain) for domain in "AB" if domain == "B" or scale.size_a}
    same = len(set(about.values())) == 1
    listed = about["B"] if same else "; ".join(f"{domain} {words}" for domain, words in about.items())
    advice = " `unpaired translate --resize trained` translates at this scale." if scale.resizes else ""
    return f"The grids show {crops}images at the scale of training: {listed}.{advice}"


def _median_size(source: FolderSource | None) -> tuple[int, ...]:
    """Return the median width and height of the images of a source, () if they are gone or there are none."""
    headers = [] if source is None else _headers(source)
    if not headers:
        return ()
    halves = 2 if isinstance(source, HalfSource) else 1
    width = statistics.median_low(header.width // halves for header in headers)
    return max(width, 1), statistics.median_low(header.height for header in headers)


def _headers(source: FolderSource) -> list[ImageHeader]:
    """Return the headers of evenly spread images, of at most `_MOST_HEADERS`.

    Unreadable ones are left out: a finished run is published again though its images are gone.
    """
    headers = []
    for index in range(0, len(source), -(-len(source) // _MOST_HEADERS)):
        with contextlib.suppress(UnpairedError):
            headers.append(read_header(source.paths[index]))
    return headers
