"""Publishes the model folder of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from unpaired.data.domains import Domains
from unpaired.data.normalising import spec_from_config
from unpaired.data.pairs import HalfSource
from unpaired.errors import UnpairedError
from unpaired.images import read_header
from unpaired.models.domain_values import DomainValues
from unpaired.models.model_folder import DirectionInfo, GeneratorMode, ModelInfo, TrainingInfo, write_model
from unpaired.models.selection_info import ChoiceInfo, SheetInfo
from unpaired.objectives.base import Direction
from unpaired.objectives.method import described
from unpaired.recipes import Config

_MOST_HEADERS = 64  # largest number of training images whose headers are read for their shape


def publish_model(
    folder: Path,
    config: Config,
    domains: Domains,
    generators: Mapping[Direction, Mapping[str, Tensor]],
    step: int,
    mode: GeneratorMode,
    choice: ChoiceInfo | None = None,
) -> None:
    """Write the model folder: the generators of `config` after `step`, and their description.

    generators: weights by direction and name.
    choice: how that step was selected; None for the last step.
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
    )
    write_model(folder, info, {str(name): weights for name, weights in generators.items()})


def _sheets(domains: Domains) -> SheetInfo | None:
    """Return the aspect ratios of side-by-side training images, from evenly spread headers; None for other images."""
    source = domains.train_a
    if not isinstance(source, HalfSource):
        return None
    ratios = []
    for index in range(0, len(source), -(-len(source) // _MOST_HEADERS)):
        with contextlib.suppress(UnpairedError):  # a finished run is published again though its images are gone
            header = read_header(source.paths[index])
            ratios.append(header.width / header.height)
    return SheetInfo(narrowest=min(ratios), widest=max(ratios)) if ratios else None
