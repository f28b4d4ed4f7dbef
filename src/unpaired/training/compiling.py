"""Networks compiled for the steps of a run, where their gradients are those of the networks as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from unpaired.data.datasets import Batch
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.training.gradient_check import LEAST_COSINE, middle_cosine, step_gradients
from unpaired.training.machine import is_out_of_memory
from unpaired.training.run_config import Precision
from unpaired.training.step import Take

Backend = str | Callable[..., Any]

BACKEND: Backend = "inductor"
"""What compiles: torch's own, which needs a C++ compiler for a processor and Triton for a GPU."""


class CompiledForward:
    """Stands in for a network's forward: compiled where a step learns from it, as it is for everything else.

    Previews and looks at held-out images come in other sizes and batches, each of which would be compiled anew.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, *inputs: Any) -> Any:
        """Return what the network makes of its inputs."""
        learning = self._network.training and torch.is_grad_enabled()
        return (_compiled(BACKEND) if learning else _plain)(self._network, *inputs)


def compile_networks(objective: Objective[Any]) -> None:
    """Have the forwards of all networks compiled when they are next learnt from."""
    for network in _networks(objective):
        network.forward = CompiledForward(network)


def as_they_are(objective: Objective[Any]) -> None:
    """Undo `compile_networks`."""
    for network in _networks(objective):
        if isinstance(vars(network).get("forward"), CompiledForward):
            del network.forward


def compiled_agreement(objective: Objective[Any], batch: Batch, precision: Precision) -> float:
    """Compile the networks, and return the middle cosine between a step's gradients with them and without.

    Raises what torch raises where something cannot be compiled.
    """
    part = batch.parts(objective.num_micro_batches)[0]

    def gradients() -> dict[str, Tensor]:
        with torch_seeded(0, "compiling"):
            return step_gradients(objective, part, precision)

    as_they_are(objective)
    truth = gradients()
    compile_networks(objective)
    return middle_cosine(gradients(), truth)


class CompiledSteps:
    """Takes steps by `take`, after the networks were compiled at the first one; leaves them as they are if they fail.

    note: told in a sentence why they are not compiled.
    """

    def __init__(
        self, objective: Objective[Any], precision: Precision, take: Take, note: Callable[[str], None]
    ) -> None:
        self._objective, self._precision, self._take, self._note = objective, precision, take, note
        self._begun = False

    def __call__(self, batch: Batch, names: Callable[[], list[str]]) -> dict[str, Tensor]:
        """Take a step."""
        if not self._begun:
            self._begun = True
            self._begin(batch)
        return self._take(batch, names)

    def close(self) -> None:
        """Leave the networks as they are."""
        as_they_are(self._objective)

    def _begin(self, batch: Batch) -> None:
        try:
            agreement = compiled_agreement(self._objective, batch, self._precision)
        except (RuntimeError, OSError, ImportError) as error:
            if is_out_of_memory(error):
                raise
            told = [line for line in str(error).splitlines() if line.strip()]
            self._give_up(" ".join(told[:2]) or type(error).__name__)
            return
        if not agreement >= LEAST_COSINE[self._precision]:
            self._give_up(f"their gradients are others, with a cosine of {agreement:.4f} to those without")

    def _give_up(self, reason: str) -> None:
        self.close()
        self._note(f"The networks are not compiled ({reason}), which changes nothing but the time that steps take.")


def _networks(objective: Objective[Any]) -> list[nn.Module]:
    return [*objective.translators.values(), *objective.discriminators.values()]


def _plain(network: nn.Module, *inputs: Any) -> Any:
    return type(network).forward(network, *inputs)


@lru_cache
def _compiled(backend: Backend) -> Callable[..., Any]:
    """Return `_plain` compiled; given as an argument, networks of one kind share what is compiled, and copies are safe.

    Draws stay torch's own, so that dropout is the same with it and without.
    """
    options: dict[str, Any] = {"fallback_random": True} if backend == "inductor" else {}
    made: Callable[..., Any] = torch.compile(_plain, backend=backend, dynamic=False, options=options or None)
    return made
