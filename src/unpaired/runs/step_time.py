"""The time of a training step before the first one: a pass of each kind of network, times the work of a step in passes.

The operations of a step are counted on tensors without content (`unpaired.runs.footprint` counts its memory in the same
way), so every method has its own number of passes. One forward and backward pass of a generator and of a discriminator
is then timed on noise, with copies of the networks, which take less memory than a step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unpaired.compat.torch_private import FakeTensorMode
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config, build_objective
from unpaired.runs.footprint import images
from unpaired.side_by_side import in_this_thread, side_by_side
from unpaired.training.adam import Adam
from unpaired.training.autocast import precision_on
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.step import all_or_nothing, autocast, both_players

ENOUGH, MOST = 1.0, 8.0
"""Seconds of trials after which there is no third one, and seconds that two may take."""

MOST_OPERATIONS = 10**12
"""Operations of a trial above which it is left out: it would take about 10 s on one core."""

_TRIALS = 4  # at most; the first one also selects kernels and allocates memory, so the fastest counts

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Work:
    """The work of a step, and of the passes that are timed.

    calls: shapes of the inputs of a call, by name of the network in the objective; one generator and one discriminator,
    or two of each if the step computes two halves concurrently.
    operations, operations_timed: floating-point operations of a step, on average, and of one pass of these networks.
    """

    calls: Mapping[str, Shapes]
    operations: int
    operations_timed: int
    concurrent: bool


def expected_step(config: Config, objective: Objective[Any], device: torch.device) -> float | None:
    """Return the approximate seconds of a training step on a processor; None if it cannot be estimated.

    Takes half a step for CycleGAN, and 1.5 for methods with a single pass of each network; steps shorter than a second
    take about a second. Changes nothing of the objective or of the random numbers.
    """
    if config.data.preprocess in ("none", "scale_width"):
        return None
    try:
        work = count_work(config)
        if work is None or work.operations_timed > MOST_OPERATIONS:
            return None
        return _timed(work, config, objective, device)
    except Exception:  # such as a user's network that needs values, or too little memory: the step itself will report
        return None


def count_work(config: Config) -> Work | None:
    """Return the work of a step; None if it calls no generator or no discriminator as a whole."""
    without_draws = getattr(config.objective, "without_draws", None)
    if without_draws is not None:
        config = replace(config, objective=without_draws())
    with in_this_thread(), FakeTensorMode():
        state = TrainingState(build_objective(config), config.optimizer)
        objective = state.objective.train()
        batch = images(config, config.data.batch_size)
        precision, every = precision_on(batch.a.device, config.run), objective.steps_to_all_terms()
        operations = []
        for state.step in dict.fromkeys((0, every - 1)):  # without the terms that only some steps have, and with them
            with _noted_calls(objective) as calls, FlopCounterMode(display=False) as step, all_or_nothing(state):
                terms = both_players(state, batch, precision, lambda player, terms: None)
            operations.append(step.get_total_flops())
        mean = round((operations[0] * (every - 1) + operations[-1]) / every)
        concurrent = len(objective.independent_terms(batch, terms)) == 2
        chosen = [
            name
            for kind in ("translators.", "discriminators.")
            for name in [each for each in calls if each.startswith(kind)][: 2 if concurrent else 1]
        ]
        if len(chosen) != (4 if concurrent else 2):
            return None
        with FlopCounterMode(display=False) as passes:
            for name in chosen:
                _pass(objective.get_submodule(name), [torch.zeros(shape) for shape in calls[name]])
    return Work({name: calls[name] for name in chosen}, mean, passes.get_total_flops(), concurrent)


class _noted_calls:  # noqa: N801 - used like a function
    """Collect the shapes of the inputs of the first call of each network in the block, by the network's name."""

    def __init__(self, objective: Objective[Any]) -> None:
        self._objective, self._stack = objective, ExitStack()

    def __enter__(self) -> dict[str, Shapes]:
        calls: dict[str, Shapes] = {}

        def note(name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if all(isinstance(each, Tensor) for each in inputs):
                calls.setdefault(name, tuple(tuple(each.shape) for each in inputs))

        for kind in ("translators", "discriminators"):
            for name, network in getattr(self._objective, kind).named_children():
                handle = network.register_forward_pre_hook(partial(note, f"{kind}.{name}"))
                self._stack.callback(handle.remove)
        return calls

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _timed(work: Work, config: Config, objective: Objective[Any], device: torch.device) -> float:
    """Time the passes and an update of the weights, and return the seconds of a step that follow from them."""
    networks = {name: copy.deepcopy(objective.get_submodule(name)).train() for name in work.calls}
    weights = [weight for network in networks.values() for weight in network.parameters()]
    precision = precision_on(device, config.run)
    with torch_seeded(config.run.seed, "timed passes"):
        given = {name: [torch.rand(shape) * 2 - 1 for shape in shapes] for name, shapes in work.calls.items()}
        passes = [partial(_pass, networks[name], given[name], precision) for name in work.calls]
        computing = _fastest(partial(_run, passes, concurrent=work.concurrent))
    update = Adam(weights, lr=0.0, fused=True)
    updating = _fastest(lambda: update.step())
    share = sum(map(torch.numel, objective.parameters())) / sum(map(torch.numel, weights))
    return computing * work.operations / max(work.operations_timed, 1) + updating * share


def _run(passes: Sequence[Callable[[], None]], *, concurrent: bool) -> None:
    if concurrent:  # two generators, then two discriminators
        side_by_side(*passes[:2])
        side_by_side(*passes[2:])
        return
    for each in passes:
        each()


def _pass(network: nn.Module, inputs: list[Tensor], precision: Precision = "fp32") -> None:
    """Call a network and compute the gradients of its weights."""
    with autocast(inputs[0].device, precision):
        made = network(*inputs)
    parts = [made] if isinstance(made, Tensor) else list(made)
    sum(part.float().square().mean() for part in parts).backward()  # type: ignore[union-attr]


def _fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few calls."""
    taken: list[float] = []
    while not taken or (len(taken) < _TRIALS and sum(taken) + taken[-1] <= (MOST if len(taken) == 1 else ENOUGH)):
        begun = time.monotonic()
        work()
        taken.append(time.monotonic() - begun)
    return min(taken)
