"""What takes the steps of a run: a recording where the device can play one and it was rehearsed, else `train_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.data.datasets import Batch
from unpaired.errors import NonFiniteError
from unpaired.networks.recompute import recomputing_networks
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.training.compiling import CompiledSteps
from unpaired.training.graph import Record, RecordedStep, as_graph
from unpaired.training.run_config import Precision, RunConfig
from unpaired.training.state import TrainingState
from unpaired.training.step import Take, train_step

ROUNDING: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-2}
"""How far, relative, a recording's losses may be from the usual step's for it to be used."""

_BY_HAND = "The steps are not recorded as a CUDA graph but taken one operation at a time"


@contextmanager
def stepper(
    state: TrainingState,
    precision: Precision,
    take: Take,
    note: Callable[[str], None],
    *,
    record: Record | None,
    compiled: bool = False,
) -> Iterator[Take]:
    """Yield what takes the steps of `state`: a recording made by `record`, or `take` where it is None or cannot be.

    compiled: whether the networks are compiled first, so that what is recorded is compiled. note: told in a sentence
    why the steps are not recorded, or the networks not compiled, or that the recording's losses are not the same bits.
    """
    with ExitStack() as closing_all:
        if record is not None:
            take = closing_all.enter_context(closing(RecordedSteps(state, precision, take, note, record)))
        if compiled:
            take = closing_all.enter_context(closing(CompiledSteps(state.objective, precision, take, note)))
        yield take


def recording_on(device: torch.device, wanted: bool) -> Record | None:
    """Return how steps are captured on a device if that is wanted: as CUDA graphs on NVIDIA's GPUs, nowhere else."""
    return as_graph if device.type == "cuda" and wanted else None


def cautions(run: RunConfig, device: torch.device) -> list[str]:
    """Return the sentences to warn with before training with `run.acceleration` on a device."""
    found = []
    if run.acceleration != "none":
        found.append(f"run.acceleration {run.acceleration} is experimental: it was never measured on a GPU.")
    if run.replays and recording_on(device, wanted=True) is None:
        found.append(f"{_BY_HAND}: that needs an NVIDIA GPU, not {device.type}.")
    return found


def obstacle(objective: Objective[Any]) -> str:
    """Return why the steps of a method cannot be recorded in this process, "" where they can."""
    if ranks.world_size() > 1:
        return "several processes average their gradients in messages between the losses and the updates"
    varying = objective.prevents_capture()
    if varying:
        return f"{varying} decides in every step anew what is computed"
    if any(network.recompute for network in recomputing_networks(objective)):
        return "run.recompute has the host put draws of dropout back in the backward pass"
    kinds = {(image.shape, image.dtype) for pool in objective.pools.values() for image in pool.images}
    if len(kinds) > 1:
        return "the image pools hold images of several sizes"
    return ""


class RecordedSteps:
    """Takes steps by a recording that is made, and rehearsed, at the first one; by `take` where that fails."""

    def __init__(
        self, state: TrainingState, precision: Precision, take: Take, note: Callable[[str], None], record: Record
    ) -> None:
        self._state, self._precision, self._take, self._note = state, precision, take, note
        self._record = record
        self._begun = False
        self._recorded: RecordedStep | None = None

    def __call__(self, batch: Batch, names: Callable[[], list[str]]) -> dict[str, Tensor]:
        """Take a step; the terms are those of the usual one, and so is the error where something is no number."""
        if not self._begun:
            self._begun = True
            with torch_seeded(0, "recording"):  # and the step's own draws begin after it
                self._begin(batch)
        if self._recorded is not None and not self._recorded.fits(batch):
            self._give_up("the images differ in size")
        if self._recorded is None:
            return self._take(batch, names)
        seed = torch.initial_seed()
        terms = self._recorded(batch)
        if terms is None:  # The usual step finds out what it was and says so.
            torch.manual_seed(seed)
            with self._recorded.unrecorded():
                terms = self._take(batch, names)
        return terms

    def close(self) -> None:
        """Lay the state out as usual again."""
        if self._recorded is not None:
            self._recorded.close()
            self._recorded = None

    def _begin(self, batch: Batch) -> None:
        reason = obstacle(self._state.objective)
        if reason:
            self._note(f"{_BY_HAND}: {reason}.")
            return
        self._recorded = RecordedStep(self._state, batch, self._precision)
        try:
            self._recorded.record(self._record)
            difference = rehearse(self._recorded, self._state, batch, self._precision)
        except RuntimeError as error:  # what torch raises where an operation cannot be recorded, or memory is out
            self._give_up(f"recording failed ({str(error).splitlines()[0]})")
            return
        if difference > ROUNDING[self._precision]:
            self._give_up(f"in a rehearsal its losses were others by {difference:.2g} of their size")
        elif difference:
            self._note(
                f"The steps are recorded as a CUDA graph; in a rehearsal its losses were those of steps taken one "
                f"operation at a time but for rounding ({difference:.2g} of their size)."
            )

    def _give_up(self, reason: str) -> None:
        self.close()
        self._note(f"{_BY_HAND}: {reason}.")


def rehearse(recorded: RecordedStep, state: TrainingState, batch: Batch, precision: Precision) -> float:
    """Return how far the recording's losses are from the usual step's: the largest difference, relative.

    Two steps are taken either way from the same state, on other images, with other draws and another rate than were
    recorded; the second one's losses depend on all that the first one updates. The state is then what it was.
    """
    scenes = [Batch(a=-batch.a, b=-batch.b), Batch(a=batch.a.flip(-1), b=batch.b)]
    back = recorded.kept_aside()

    def usual(scene: Batch) -> dict[str, Tensor] | None:
        with recorded.unrecorded():
            try:
                return train_step(state, scene, precision)
            except NonFiniteError:
                return None

    def played(take: Callable[[Batch], dict[str, Tensor] | None]) -> list[dict[str, Tensor] | None]:
        found = []
        try:
            for number, scene in enumerate(scenes):
                with torch_seeded(0, "rehearsal", number):
                    found.append(take(scene))
        finally:
            back()
        return found

    recorded.multiply_rates(2.0)
    try:
        return max(map(_difference, played(recorded), played(usual)))
    finally:
        recorded.multiply_rates(0.5)


def _difference(one: dict[str, Tensor] | None, other: dict[str, Tensor] | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    sizes = [(abs(float(one[name]) - float(other[name])), abs(float(other[name]))) for name in other]
    return max((gap / max(size, 1e-3) for gap, size in sizes), default=0.0)
