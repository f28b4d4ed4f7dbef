"""Compiles the networks for training steps with torch.compile, if their gradients match those of eager mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from unpaired.data.datasets import Batch
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.training.gradient_check import LEAST_COSINE, median_cosine, step_gradients
from unpaired.training.machine import is_out_of_memory
from unpaired.training.run_config import Precision
from unpaired.training.step import Take

Backend = str | Callable[..., Any]

BACKEND: Backend = "inductor"
"""Backend of torch.compile; inductor needs a C++ compiler for a CPU and Triton for a GPU."""


class CompiledForward:
    """Replaces a network's forward: compiled in training steps, eager otherwise.

    Previews and validation use other sizes and batches, each of which would be compiled separately.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, *inputs: Any) -> Any:
        """Return the output of the network."""
        learning = self._network.training and torch.is_grad_enabled()
        return (_compiled(BACKEND) if learning else _plain)(self._network, *inputs)


def compile_networks(objective: Objective[Any]) -> None:
    """Replace the forwards of all networks; each is compiled at its next use in a training step."""
    for network in _networks(objective):
        network.forward = CompiledForward(network)


def uncompile_networks(objective: Objective[Any]) -> None:
    """Undo `compile_networks`."""
    for network in _networks(objective):
        if isinstance(vars(network).get("forward"), CompiledForward):
            del network.forward


def compiled_cosine(objective: Objective[Any], batch: Batch, precision: Precision) -> float:
    """Compile the networks, and return the median cosine between the gradients of a compiled and an eager step.

    Raises torch's exception if a network cannot be compiled.
    """
    part = batch.parts(objective.num_micro_batches)[0]

    def gradients() -> dict[str, Tensor]:
        with torch_seeded(0, "compiling"):
            return step_gradients(objective, part, precision)

    uncompile_networks(objective)
    truth = gradients()
    compile_networks(objective)
    return median_cosine(gradients(), truth)


class CompiledSteps:
    """Takes steps by `take` and compiles the networks at the first one; falls back to eager mode if that fails.

    note: called with a sentence about the reason for eager mode.
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
        """Return the networks to eager mode."""
        uncompile_networks(self._objective)

    def _begin(self, batch: Batch) -> None:
        try:
            agreement = compiled_cosine(self._objective, batch, self._precision)
        except (RuntimeError, OSError, ImportError) as error:
            if is_out_of_memory(error):
                raise
            lines = [line for line in str(error).splitlines() if line.strip()]
            self._give_up(" ".join(lines[:2]) or type(error).__name__)
            return
        if not agreement >= LEAST_COSINE[self._precision]:
            self._give_up(f"their gradients differ: cosine {agreement:.4f} to those of eager mode")

    def _give_up(self, reason: str) -> None:
        self.close()
        self._note(f"The networks are not compiled ({reason}); only the time of a step changes.")


def _networks(objective: Objective[Any]) -> list[nn.Module]:
    return [*objective.translators.values(), *objective.discriminators.values()]


def _plain(network: nn.Module, *inputs: Any) -> Any:
    return type(network).forward(network, *inputs)


@lru_cache
def _compiled(backend: Backend) -> Callable[..., Any]:
    """Return `_plain` compiled. The network is an argument, so that networks of one kind share the compiled code.

    Random draws stay those of eager mode, so that dropout is the same with and without compiling.
    """
    options: dict[str, Any] = {"fallback_random": True} if backend == "inductor" else {}
    made: Callable[..., Any] = torch.compile(_plain, backend=backend, dynamic=False, options=options or None)
    return made
