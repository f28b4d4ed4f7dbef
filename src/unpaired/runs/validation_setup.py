"""Sets up the validation of a run: its held-out images, their metrics, and the checkpoint selection."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from unpaired.artifacts.checkpoint import Checkpoint
from unpaired.artifacts.history import History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import Domains
from unpaired.data.held_out import TEST_HALF, HeldOutImages, held_out_images
from unpaired.errors import ConfigError
from unpaired.evaluation.features import MIN_SIZE
from unpaired.models.selection_info import ChoiceInfo
from unpaired.recipes import Config
from unpaired.selection.best_weights import NAME, CheckpointSelection, Measure
from unpaired.selection.early_stopping import PLATEAU, STOPPING_RULE, Entries, detect_plateau, had_plateau
from unpaired.selection.rule import RULE
from unpaired.selection.validation_metrics import LEAST, ValidationMetrics
from unpaired.storage import write_bytes
from unpaired.training.callbacks import Request, StepView
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState

_log = logging.getLogger("unpaired")

_MOST = 32
"""Largest number of validation images of a domain: at 1500 steps between two validations at most 1 % of training."""

_MOST_BYTES = 64 << 20
"""Bytes of a domain's validation images as floats, unless they would be fewer than validation needs."""


@dataclass(frozen=True)
class ValidationSet:
    """The validation images as RUN/held_out.json lists them: their origin, and digests of the images of A and B."""

    origin: str
    A: tuple[str, ...]
    B: tuple[str, ...]

    def selection_info(self, run_step: int, num_evaluations: int, rule: str) -> ChoiceInfo:
        """Return the entry of the model folder about the selection."""
        return ChoiceInfo(
            run_step=run_step, looks=num_evaluations, rule=rule, held_out=self.origin, images_a=self.A, images_b=self.B
        )


def max_validation_images(data: DataConfig) -> int:
    """Return the largest number of validation images of a domain."""
    return max(LEAST, min(_MOST, _MOST_BYTES // (4 * data.crop_size**2 * max(data.channels_a, data.channels_b))))


def open_selection(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    newest: Checkpoint | None,
    device: torch.device,
    *,
    training: bool,
) -> tuple[CheckpointSelection, ValidationSet] | None:
    """Return the checkpoint selection of the run and its validation images; None without validation.

    training: whether the run continues; a finished one needs no images. Raises ImageError for an image that cannot be
    read, ConfigError if early stopping is on and there are no validation images.
    """
    if not config.run.validation_every:
        return None
    listing, measure = _listed(folder), None
    if training:
        found = _images(config, domains)
        if isinstance(found, str):
            if config.run.stop_when_flat:
                raise ConfigError(f"--stop-when-flat needs validation, but {found}; leave it out.")
            if config.run.publish == "best":
                _log.info(f"The model of the last step will be published: {found}.")
            return None
        now = ValidationSet(found.origin, *(tuple(each) for each in found.digests().values()))
        if listing is not None and now != listing:
            _log.warning("The validation images changed, so the selection of the best checkpoint starts again.")
            (folder.path / NAME).unlink(missing_ok=True)
        listing, measure = now, _measure(found, config, domains, state, device)
        write_bytes(folder.held_out, (json.dumps(asdict(listing)) + "\n").encode(), sync=True)
    if listing is None:
        return None
    selection = CheckpointSelection(
        folder.path,
        state,
        measure,
        best_step=None if newest is None else newest.best_step,
        kept={} if newest is None else newest.best,
        published=_publishes_best(config, listing),
    )
    return selection, listing


class Validation:
    """The callback that evaluates a run on its validation images, and shortens the schedule on a plateau."""

    def __init__(self, selection: CheckpointSelection, schedule: Schedule, run: RunConfig, folder: Path) -> None:
        self._selection, self._schedule, self._folder = selection, schedule, folder
        self._ends, self.every, self.at_end = run.stop_when_flat, run.validation_every, run.validation_every > 0

    def after_step(self, view: StepView) -> Request:
        """Evaluate a step; request a restart with a shorter schedule on a plateau."""
        self._selection.evaluate(view.state)
        found = detect_plateau(self._selection.evaluations, self._schedule) if self._ends else None
        if found is None:
            return Request.CONTINUE
        History(self._folder).note(view.step, PLATEAU, found.sentence, **found.details)
        _log.info(found.sentence)
        return Request.RESTART


def describe_selection(
    selection: CheckpointSelection, listing: ValidationSet, entries: Entries, run_step: int
) -> ChoiceInfo | None:
    """Return how the published step was selected; None if validation had no influence on it."""
    if selection.selected is not None:
        return listing.selection_info(run_step, len(selection.evaluations), RULE)
    return listing.selection_info(run_step, len(selection.evaluations), STOPPING_RULE) if had_plateau(entries) else None


def _publishes_best(config: Config, listing: ValidationSet) -> bool:
    """Return whether model/ holds the best step: test images select a checkpoint only if the user asks for it."""
    return config.run.publish == "best" or (config.run.publish == "auto" and listing.origin != TEST_HALF)


def _images(config: Config, domains: Domains) -> HeldOutImages | str:
    """Return the validation images, or the reason why there are none as part of a sentence."""
    data = config.data
    if data.pairing == "noise":
        return "images made from noise have no inputs to compare them with"
    if data.crop_size < MIN_SIZE:
        return f"images below {MIN_SIZE} x {MIN_SIZE} pixels are too small to compare"
    found = held_out_images(domains, data, max_validation_images(data))
    if found is None or len(found.a) < LEAST:
        return (
            f"there are no validation images (valA and valB with at least {LEAST} images each, or testA and testB with "
            f"{2 * LEAST}, half of which are used)"
        )
    return found


def _measure(
    found: HeldOutImages, config: Config, domains: Domains, state: TrainingState, device: torch.device
) -> Measure:
    batch = found.batch(domains, config.data, config.run.seed).to(device)
    alone = state.objective.uses_training_mode  # its batch norm takes the statistics of each image
    images = ValidationMetrics(batch.a, batch.b, paired=config.data.pairing == "paired", batch=1 if alone else 4)
    return images.figures


def _listed(folder: RunFolder) -> ValidationSet | None:
    """Return the content of held_out.json; None if it is missing or damaged."""
    try:
        read: dict[str, Any] = json.loads(folder.held_out.read_bytes())
        return ValidationSet(str(read["origin"]), tuple(map(str, read["A"])), tuple(map(str, read["B"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
