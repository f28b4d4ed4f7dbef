"""Where and how a run is carried out, apart from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from unpaired.artifacts.run_folder import RunFolder
from unpaired.training.callbacks import Callback
from unpaired.training.progress import Progress


@dataclass(frozen=True)
class Allowed:
    """What a run may go on with: a damaged checkpoint (not `strict`), other images, settings, number of processes."""

    strict: bool = False
    data: bool = False
    settings: bool = False
    ranks: bool = False


def _ignore(progress: Progress) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where and how a run is carried out, apart from its settings, which a Config has.

    folder: the run folder, new or of a run that goes on. device: where this process computes. listener: called on rank
    0 with the Progress of each logged step. callbacks: the user's, as `on_first_rank` wraps them.
    """

    folder: RunFolder
    device: torch.device
    allowed: Allowed = Allowed()
    listener: Callable[[Progress], None] = _ignore
    callbacks: tuple[Callback, ...] = ()
