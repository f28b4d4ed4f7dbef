"""What a run is looked at with while it trains: its held-out images, the figures of them, and the choice they make."""

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
from unpaired.selection.best_weights import NAME, Choice, Measure
from unpaired.selection.early_stopping import FLAT, SHORTENED, Entries, look_for_end, was_flat
from unpaired.selection.rule import RULE
from unpaired.selection.validation_metrics import LEAST, HeldOut
from unpaired.storage import write_bytes
from unpaired.training.callbacks import Request, StepView
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState

_log = logging.getLogger("unpaired")

_MOST = 32
"""Held-out images of a domain that are looked at: with 500 steps between two looks 1 to 2 % of the training."""

_MOST_BYTES = 64 << 20
"""What those of a domain may take as floats, unless they would then be fewer than can be looked at."""


@dataclass(frozen=True)
class Listing:
    """RUN/held_out.json: which images the looks are at. A, B: what they are known again by."""

    origin: str
    A: tuple[str, ...]
    B: tuple[str, ...]

    def choice(self, run_step: int, looks: int, rule: str) -> ChoiceInfo:
        """Return what the model folder says."""
        return ChoiceInfo(
            run_step=run_step, looks=looks, rule=rule, held_out=self.origin, images_a=self.A, images_b=self.B
        )


def most_held_out(data: DataConfig) -> int:
    """Return how many held-out images of a domain are looked at, where there are as many."""
    return max(LEAST, min(_MOST, _MOST_BYTES // (4 * data.crop_size**2 * max(data.channels_a, data.channels_b))))


def open_choice(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    newest: Checkpoint | None,
    device: torch.device,
    *,
    training: bool,
) -> tuple[Choice, Listing] | None:
    """Return the choice of the best step as the run has it, with its images; None where there is nothing to look at.

    training: whether the run goes on; a finished one needs no images. Raises ImageError for one that cannot be read,
    ConfigError where a flat run is to end and there is nothing to tell by.
    """
    if not config.run.held_out_every:
        return None
    listing, measure = _listed(folder), None
    if training:
        found = _images(config, domains)
        if isinstance(found, str):
            if config.run.stop_when_flat:
                raise ConfigError(f"--stop-when-flat has nothing to go by, as {found}; leave it out.")
            if config.run.publish == "best":
                _log.info(f"The model will be that of the last step, as {found}.")
            return None
        now = Listing(found.origin, *(tuple(each) for each in found.digests().values()))
        if listing is not None and now != listing:
            _log.warning("The held-out images are other ones than before, so the choice of the best step begins again.")
            (folder.path / NAME).unlink(missing_ok=True)
        listing, measure = now, _measure(found, config, domains, state, device)
        write_bytes(folder.held_out, (json.dumps(asdict(listing)) + "\n").encode(), sync=True)
    if listing is None:
        return None
    choice = Choice(
        folder.path,
        state,
        measure,
        best_step=None if newest is None else newest.best_step,
        kept={} if newest is None else newest.best,
        published=_publishes_best(config, listing),
    )
    return choice, listing


class Validation:
    """The callback that measures held-out images, and shortens the schedule when a run no longer improves."""

    def __init__(self, choice: Choice, schedule: Schedule, run: RunConfig, folder: Path) -> None:
        self._choice, self._schedule, self._folder = choice, schedule, folder
        self._ends, self.every, self.at_end = run.stop_when_flat, run.held_out_every, run.held_out_every > 0

    def after_step(self, view: StepView) -> Request:
        """Measure the weights of a step; ask to restart with another schedule on a plateau."""
        self._choice.look(view.state)
        found = look_for_end(self._choice.looks, self._schedule) if self._ends else None
        if found is None:
            return Request.CONTINUE
        History(self._folder).note(view.step, FLAT, found.sentence, **found.details)
        _log.info(found.sentence)
        return Request.RESTART


def how_chosen(choice: Choice, listing: Listing, entries: Entries, run_step: int) -> ChoiceInfo | None:
    """Return how the step that is published came about; None where no held-out image had a part in it."""
    if choice.chosen is not None:
        return listing.choice(run_step, len(choice.looks), RULE)
    return listing.choice(run_step, len(choice.looks), SHORTENED) if was_flat(entries) else None


def _publishes_best(config: Config, listing: Listing) -> bool:
    """Return whether model/ is to hold the best step: test images choose only where somebody says so."""
    return config.run.publish == "best" or (config.run.publish == "auto" and listing.origin != TEST_HALF)


def _images(config: Config, domains: Domains) -> HeldOutImages | str:
    """Return the held-out images, or why there are none, as part of a sentence."""
    data = config.data
    if data.pairing == "noise":
        return "images made from noise have no input to be held against"
    if data.crop_size < MIN_SIZE:
        return f"images below {MIN_SIZE} x {MIN_SIZE} pixels are too small to be compared"
    found = held_out_images(domains, data, most_held_out(data))
    if found is None or len(found.a) < LEAST:
        return (
            f"there are no held-out images to choose another by (valA and valB with {LEAST} images each, or testA and "
            f"testB with {2 * LEAST}, half of which are then looked at)"
        )
    return found


def _measure(
    found: HeldOutImages, config: Config, domains: Domains, state: TrainingState, device: torch.device
) -> Measure:
    batch = found.batch(domains, config.data, config.run.seed).to(device)
    alone = state.objective.uses_training_mode  # its batch norm takes the statistics of the image at hand
    images = HeldOut(batch.a, batch.b, paired=config.data.pairing == "paired", batch=1 if alone else 4)
    return images.figures


def _listed(folder: RunFolder) -> Listing | None:
    """Return what held_out.json says; None where it is not there or says nothing."""
    try:
        read: dict[str, Any] = json.loads(folder.held_out.read_bytes())
        return Listing(str(read["origin"]), tuple(map(str, read["A"])), tuple(map(str, read["B"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
