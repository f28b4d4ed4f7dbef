"""Tries a user's own parts before a new run: one step on noise finds what does not fit, in one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.config import require
from unpaired.data.datasets import WHOLE_IMAGE_MULTIPLE, WHOLE_IMAGES, Batch
from unpaired.errors import ConfigError, UnpairedError
from unpaired.networks.protocols import makes_from_noise
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.recipe_files import origins_of
from unpaired.recipes import Config, build_objective
from unpaired.registry import Origin
from unpaired.training.autocast import precision_on
from unpaired.training.machine import is_out_of_memory
from unpaired.training.state import TrainingState
from unpaired.training.step import accumulated, generated


def try_own_parts(config: Config, device: torch.device) -> None:
    """Take one step with networks of its own, on noise, if the configuration has parts that are not built in.

    Raises ConfigError, naming the parts and the line of their file, if they fail or do not keep to their protocols.
    Changes nothing: neither random numbers nor files. Running out of memory is left to training, which gives advice.
    """
    if not origins_of(config):
        return
    count = max(config.data.batch_size // (ranks.world_size() * config.run.accumulate), 1)
    try:
        with own_faults(config), torch_seeded(config.run.seed, "trial"), ranks.single_process():
            _try(config, device, count)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise


@contextmanager
def own_faults(config: Config) -> Iterator[None]:
    """Raise ConfigError for an error in the block, naming the parts that are not built in and the line of their file.

    Errors of this package, those of running out of memory, and all of a configuration without such parts pass through.
    """
    try:
        yield
    except UnpairedError:
        raise
    except Exception as error:
        origins = origins_of(config)
        if not origins or is_out_of_memory(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        place = _place(error, origins)
        raise ConfigError(f"A trial step with {_listed(origins)} fails{place} ({reason}); fix it.") from error


def _listed(origins: Mapping[str, Origin]) -> str:
    return ", ".join(f"{name} of {origin}" for name, origin in origins.items())


def _try(config: Config, device: torch.device, count: int) -> None:
    """Build the networks, inspect them, and compute the losses and gradients of both players for `count` images."""
    listed = _listed(origins_of(config))
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    objective, precision = state.objective, precision_on(device, config.run)
    objective.train()
    batch = _noise(config, count).to(device)
    for name, value in objective.state_dict().items():
        require(
            not value.is_floating_point() or bool(value.isfinite().all()),
            f"{name} of {listed} is NaN or infinite, and no model can be loaded that holds such numbers; give it "
            "finite ones, or register it with persistent=False.",
        )
    if any(name.startswith("generator ") for name in origins_of(config)):
        _inspect_generators(config, objective, batch, listed)
    made = {0: generated(objective, batch, precision)}
    for player in objective.order:
        accumulated(state, player, [batch], made, precision)


def _inspect_generators(config: Config, objective: Objective[Any], batch: Batch, listed: str) -> None:
    """Raise ConfigError unless the generators return images of the size and the channels that the protocol states."""
    for direction, network in objective.generators().items():
        images, wanted = (batch.a, batch.b) if direction == "AtoB" else (batch.b, batch.a)
        made = network(images)
        found = f"{tuple(made.shape)} of {made.dtype}" if isinstance(made, Tensor) else type(made).__name__
        require(
            isinstance(made, Tensor) and made.shape == wanted.shape and made.dtype == wanted.dtype,
            f"The module of {listed} must return n c h w {tuple(wanted.shape)} of {wanted.dtype} for images "
            f"{tuple(images.shape)}, not {found}; fix its forward, or its multiple and min_size.",
        )
        require(
            made.requires_grad,
            f"The result of the module of {listed} has no gradient; remove detach() and no_grad() from its forward.",
        )


def _noise(config: Config, count: int) -> Batch:
    """Return a batch of random images in [-1, 1]."""
    data = config.data
    side = data.crop_size
    if data.preprocess in WHOLE_IMAGES:
        side = max(side - side % WHOLE_IMAGE_MULTIPLE, WHOLE_IMAGE_MULTIPLE)
    side_a = 1 if makes_from_noise(config.generator) else side
    a = torch.rand(count, data.channels_a, side_a, side_a) * 2 - 1
    return Batch(a=a, b=torch.rand(count, data.channels_b, side, side) * 2 - 1)


def _place(error: BaseException, origins: Mapping[str, Origin]) -> str:
    """Return " in line 12 of mine.py", the innermost line of a user's file; "" if there is none."""
    files = {origin.file for origin in origins.values() if origin.file}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name in files]
    return f" in line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
