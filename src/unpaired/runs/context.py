"""Where and how a run is carried out, apart from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from unpaired.artifacts.run_folder import RunFolder
from unpaired.runs.extending import Extension
from unpaired.training.callbacks import Callback
from unpaired.training.progress import Progress


@dataclass(frozen=True)
class Allowed:
    """Changes that a run may continue with: a damaged checkpoint (not `strict`), other images, settings, processes.

    extend: make a finished run longer. keep: with the rate of the longer schedule; restart: with a new schedule.
    """

    strict: bool = False
    data: bool = False
    settings: bool = False
    ranks: bool = False
    extend: Extension = ""


def _ignore(progress: Progress) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where and how a run is carried out, apart from its settings, which are in the Config.

    folder: the run folder, new or of a run to continue.
    device: the device of this process.
    verify_data: read every image, also those that are known from an earlier scan.
    listener: called on rank 0 with the Progress of each logged step.
    callbacks: the user's, as `on_first_rank` wraps them.
    recipe: the name of the recipe that the settings were made from, "" if there is none.
    """

    folder: RunFolder
    device: torch.device
    allowed: Allowed = Allowed()
    verify_data: bool = False
    listener: Callable[[Progress], None] = _ignore
    callbacks: tuple[Callback, ...] = ()
    recipe: str = ""
