"""Captures a whole training step as a CUDA graph: one replay instead of thousands of launches of small kernels.

The captured function is `both_players`, as in other training steps, on tensors with fixed addresses. Decisions of the
host come before it (the batch, the rate, the draws of the pools) or after it: losses and gradients are checked inside,
the device withholds the updates if one is NaN or infinite, and the host reads one row of numbers afterwards. See
docs/decisions/009-a-step-as-one-graph.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager

import torch
from torch import Tensor

from unpaired.compat.torch_private import withhold_updates
from unpaired.data.datasets import Batch
from unpaired.objectives.base import Player
from unpaired.objectives.losses import total
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.static_pool import StaticPool
from unpaired.training.step import both_players, gradients_of

Work = Callable[[], Tensor]
Capture = Callable[[Work], Work]
"""Runs a function once and returns one that repeats it: `capture_call` on a CPU, `capture_graph` on a GPU."""

Moments = MutableMapping[Tensor, dict[str, Tensor]]

WARM_UP = 3
"""Runs before the capture: libraries select algorithms and allocate workspaces in their first calls."""


def capture_call(work: Work) -> Work:
    """Run the function and return it: a replay is a call."""
    work()
    return work


def capture_graph(work: Work) -> Work:
    """Capture the function as a CUDA graph; a replay returns the captured tensor with new values."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = work()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


class CapturedStep:
    """The step of one state on batches of one shape. From `capture` to `close` the state is laid out for it.

    Weights, moments, gradients, batch, rates and pools then keep their addresses in memory.
    """

    def __init__(self, state: TrainingState, batch: Batch, precision: Precision) -> None:
        self._state, self._precision = state, precision
        self._batch = Batch(a=batch.a.clone(), b=batch.b.clone())
        self._bad = torch.zeros((), device=batch.a.device)
        self._plain = {domain: pool for domain, pool in state.objective.pools.items() if pool.size}
        self._static = {domain: StaticPool(pool, len(batch.a), batch.a.device) for domain, pool in self._plain.items()}
        self._rates = [(group, _in_memory(group["lr"])) for each in self._optimizers() for group in each.param_groups]
        self._moments: list[tuple[Moments, Tensor, dict[str, Tensor]]] = []
        self._gradients: list[tuple[Tensor, Tensor | None]] = []
        self._changed: list[Tensor] = []
        self._before: list[Tensor] = []
        self._names: list[str] = []
        self._replay: Work = self._work

    def capture(self, capture: Capture) -> None:
        """Warm up and capture the step; the state is restored afterwards."""
        self._lay_out()
        back = self.snapshot()
        try:
            for pool in self._static.values():
                pool.draw()
            warm_up(self._work, self._batch.a.device)
            back()
            self._changed = self._unconditional()
            for optimizer in self._optimizers():
                optimizer.zero_grad(set_to_none=True)
            self._replay = capture(self._work)
        finally:
            back()
        self._gradients = [(weight, weight.grad) for weight in self._state.objective.parameters()]
        self._moments = [
            (each.state, weight, each.state[weight]) for each in self._optimizers() for weight in each.state
        ]

    def fits(self, batch: Batch) -> bool:
        """Whether a batch has the captured shapes."""
        return batch.a.shape == self._batch.a.shape and batch.b.shape == self._batch.b.shape

    def __call__(self, batch: Batch) -> dict[str, Tensor] | None:
        """Take a step; return its terms (float64, on the host), or None if a loss or gradient is NaN or infinite.

        In that case the state is unchanged.
        """
        self._batch.a.copy_(batch.a)
        self._batch.b.copy_(batch.b)
        for pool in self._static.values():
            pool.draw()
        bad, *terms = self._replay().to("cpu", copy=True).unbind()
        if bad:
            self._undo()
            return None
        for pool in self._static.values():
            pool.commit()
        return dict(zip(self._names, terms, strict=True))

    def multiply_rates(self, factor: float) -> None:
        """Multiply the learning rates of both players until they are next set; exact for powers of two."""
        for _, rate in self._rates:
            rate.mul_(factor)

    @contextmanager
    def uncaptured(self) -> Iterator[None]:
        """Restore the usual layout of the state for the block, which may take eager steps."""
        self.close()
        try:
            yield
        finally:
            for domain, pool in self._static.items():
                pool.restore(self._plain[domain].images, self._plain[domain].num_seen)
            self._lay_out()

    def snapshot(self) -> Callable[[], None]:
        """Copy the state to host memory; return a function that restores it in place, with newer moments set to 0."""
        parts = self._state.parts()
        tensors = [*parts["weights"].values(), *parts["optim"].values()]
        kept = [(tensor, tensor.to("cpu", copy=True)) for tensor in tensors]
        known = {id(tensor) for tensor in tensors}
        pools = [(pool, pool.images, pool.num_seen) for pool in self._static.values()]

        @torch.no_grad()
        def back() -> None:
            for tensor, before in kept:
                tensor.copy_(before)
            for optimizer in self._optimizers():
                for tensor in (tensor for moments in optimizer.state.values() for tensor in moments.values()):
                    if id(tensor) not in known:
                        tensor.zero_()
            for pool, images, num_seen in pools:
                pool.restore(images, num_seen)

        return back

    def close(self) -> None:
        """Restore the usual layout of the state and the images of the pools."""
        for domain, pool in self._static.items():
            self._plain[domain].restore(pool.images, pool.num_seen)
            self._state.objective.pools[domain] = self._plain[domain]
        for optimizer in self._optimizers():
            withhold_updates(optimizer, None)
        for group, rate in self._rates:
            group["capturable"] = False
            group["lr"] = float(rate) if rate.device.type == "cpu" else rate

    @torch.no_grad()
    def _lay_out(self) -> None:
        """Copy the present state to the addresses that the captured step reads and writes."""
        for domain, pool in self._static.items():
            self._state.objective.pools[domain] = pool
            self._plain[domain].images = []
        for optimizer in self._optimizers():
            # Adam skips the update if this is 1, as for an overflow in mixed precision.
            withhold_updates(optimizer, self._bad)
        for group, rate in self._rates:
            group["capturable"] = True
            group["lr"] = rate.fill_(group["lr"])
        for weight, gradient in self._gradients:
            weight.grad = gradient
        for state, weight, moments in self._moments:
            for key, value in state[weight].items():
                moments[key].copy_(value)
            state[weight] = moments

    def _optimizers(self) -> list[torch.optim.Adam]:
        return list(self._state.optimizers.values())

    def _work(self) -> Tensor:
        """Take the step on the fixed tensors; return one row: 1 if anything is NaN or infinite, then the terms."""
        with torch.no_grad():
            self._bad.zero_()
            self._before = [tensor.clone() for tensor in self._changed]
        terms = both_players(self._state, self._batch, self._precision, self._note)
        self._names = list(terms)
        return torch.stack([value.double() for value in (self._bad, *terms.values())])

    @torch.no_grad()
    def _note(self, player: Player, terms: dict[str, Tensor]) -> None:
        gradients = list(gradients_of(self._state.objective.players()[player]).values())
        finite = torch.isfinite(total(terms)) & torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        self._bad.copy_(torch.maximum(self._bad, (~finite).float()))

    def _unconditional(self) -> list[Tensor]:
        """Return the tensors that a step changes before its checks are complete: norm statistics, the first player."""
        objective = self._state.objective
        changed = objective.changing_buffers()
        if objective.order[0] == "discriminator":
            moments = self._state.optimizers["discriminator"].state
            changed += [tensor for weight, own in moments.items() for tensor in (weight, *own.values())]
        return changed

    @torch.no_grad()
    def _undo(self) -> None:
        for tensor, before in zip(self._changed, self._before, strict=True):
            tensor.copy_(before)
        for pool in self._static.values():
            pool.undo()


def _in_memory(rate: float | Tensor) -> Tensor:
    """Return a learning rate as a tensor, without rounding."""
    return rate if isinstance(rate, Tensor) else torch.tensor(rate, dtype=torch.float64)


def warm_up(work: Work, device: torch.device) -> None:
    """Run the function `WARM_UP` times; on a GPU in a separate stream, as a capture requires."""
    if device.type != "cuda":
        for _ in range(WARM_UP):
            work()
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream(device).wait_stream(stream)
