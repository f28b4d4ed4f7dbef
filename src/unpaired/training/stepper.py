"""Selects how the steps of a run are taken: replays of a validated CUDA graph if possible, else `train_step`."""

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
from unpaired.randomness import reseed, torch_seeded
from unpaired.training.compiling import CompiledSteps
from unpaired.training.graph import Capture, CapturedStep, capture_graph
from unpaired.training.run_config import Precision, RunConfig
from unpaired.training.state import TrainingState
from unpaired.training.step import Take, train_step

ROUNDING: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest relative difference between the losses of a replayed and an eager step for the graph to be used."""

_EAGER = "Steps are not captured as a CUDA graph but run eagerly"


@contextmanager
def stepper(
    state: TrainingState,
    precision: Precision,
    take: Take,
    note: Callable[[str], None],
    *,
    capture: Capture | None,
    compiled: bool = False,
) -> Iterator[Take]:
    """Yield the function that takes the steps of `state`: replays of a step captured by `capture`, or else `take`.

    capture: None for no capture. If a capture fails, `take` is used.
    compiled: whether the networks are compiled first, so that the captured step is compiled.
    note: called with a sentence if steps are not captured, networks not compiled, or replayed losses differ in bits.
    """
    with ExitStack() as closing_all:
        if capture is not None:
            take = closing_all.enter_context(closing(CapturedSteps(state, precision, take, note, capture)))
        if compiled:
            take = closing_all.enter_context(closing(CompiledSteps(state.objective, precision, take, note)))
        yield take


def capture_on(device: torch.device, wanted: bool) -> Capture | None:
    """Return the capture function of a device if capture is wanted: CUDA graphs on NVIDIA's GPUs, else None."""
    return capture_graph if device.type == "cuda" and wanted else None


def cautions(run: RunConfig, device: torch.device) -> list[str]:
    """Return the sentences to warn with before training with `run.acceleration` on a device."""
    found = []
    if run.acceleration != "none":
        found.append(f"run.acceleration {run.acceleration} is experimental: it was never measured on a GPU.")
    if run.replays and capture_on(device, wanted=True) is None:
        found.append(f"{_EAGER}: that needs an NVIDIA GPU, not {device.type}.")
    return found


def obstacle(objective: Objective[Any]) -> str:
    """Return the reason why the steps of a method cannot be captured in this process; "" if they can."""
    if ranks.world_size() > 1:
        return "several processes average their gradients between the losses and the updates"
    varying = objective.prevents_capture()
    if varying:
        return f"{varying} changes the computation from step to step"
    if any(network.recompute for network in recomputing_networks(objective)):
        return "run.recompute restores the random state of dropout on the host in the backward pass"
    kinds = {(image.shape, image.dtype) for pool in objective.pools.values() for image in pool.images}
    if len(kinds) > 1:
        return "the image pools hold images of several sizes"
    return ""


class CapturedSteps:
    """Takes steps by replaying a graph that is captured and validated at the first one; by `take` if that fails."""

    def __init__(
        self, state: TrainingState, precision: Precision, take: Take, note: Callable[[str], None], capture: Capture
    ) -> None:
        self._state, self._precision, self._take, self._note = state, precision, take, note
        self._capture = capture
        self._begun = False
        self._captured: CapturedStep | None = None

    def __call__(self, batch: Batch, names: Callable[[], list[str]]) -> dict[str, Tensor]:
        """Take a step; its terms and its NonFiniteError are those of an eager step."""
        if not self._begun:
            self._begun = True
            with torch_seeded(0, "recording"):  # the step's own draws begin after it
                self._begin(batch)
        if self._captured is not None and not self._captured.fits(batch):
            self._give_up("the images differ in size")
        if self._captured is None:
            return self._take(batch, names)
        seed = torch.initial_seed()
        terms = self._captured(batch)
        if terms is None:  # The eager step finds the cause and raises the error.
            reseed(seed)
            with self._captured.uncaptured():
                terms = self._take(batch, names)
        return terms

    def close(self) -> None:
        """Restore the usual layout of the state."""
        if self._captured is not None:
            self._captured.close()
            self._captured = None

    def _begin(self, batch: Batch) -> None:
        warming = self._state.step < self._state.warm_up
        reason = "the first steps train new networks alone" if warming else obstacle(self._state.objective)
        if reason:
            self._note(f"{_EAGER}: {reason}.")
            return
        self._captured = CapturedStep(self._state, batch, self._precision)
        try:
            self._captured.capture(self._capture)
            difference = validate_capture(self._captured, self._state, batch, self._precision)
        except RuntimeError as error:  # an operation that cannot be captured, or out of memory
            self._give_up(f"the capture failed ({str(error).splitlines()[0]})")
            return
        if difference > ROUNDING[self._precision]:
            self._give_up(f"in validation its losses differed by {difference:.2g} of their size")
        elif difference:
            self._note(
                f"Steps are captured as a CUDA graph; in validation its losses equalled those of eager steps "
                f"except for rounding ({difference:.2g} of their size)."
            )

    def _give_up(self, reason: str) -> None:
        self.close()
        self._note(f"{_EAGER}: {reason}.")


def validate_capture(captured: CapturedStep, state: TrainingState, batch: Batch, precision: Precision) -> float:
    """Return the largest relative difference between the losses of replayed and eager steps.

    Two steps are taken in both ways from the same state, with other images, draws and rate than in the capture; the
    losses of the second depend on all updates of the first. The state is restored afterwards.
    """
    scenes = [Batch(a=-batch.a, b=-batch.b), Batch(a=batch.a.flip(-1), b=batch.b)]
    back = captured.snapshot()

    def eager(scene: Batch) -> dict[str, Tensor] | None:
        with captured.uncaptured():
            try:
                return train_step(state, scene, precision)
            except NonFiniteError:
                return None

    def losses_of(take: Callable[[Batch], dict[str, Tensor] | None]) -> list[dict[str, Tensor] | None]:
        found = []
        try:
            for number, scene in enumerate(scenes):
                with torch_seeded(0, "rehearsal", number):
                    found.append(take(scene))
        finally:
            back()
        return found

    captured.multiply_rates(2.0)
    try:
        return max(map(_difference, losses_of(captured), losses_of(eager)))
    finally:
        captured.multiply_rates(0.5)


def _difference(one: dict[str, Tensor] | None, other: dict[str, Tensor] | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    sizes = [(abs(float(one[name]) - float(other[name])), abs(float(other[name]))) for name in other]
    return max((gap / max(size, 1e-3) for gap, size in sizes), default=0.0)
