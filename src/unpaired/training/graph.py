"""A whole training step as one recording that a GPU plays: thousands of launches of small kernels become one.

What is recorded is `both_players`, the function that takes the step everywhere else too, on tensors that stay where
they are. What a step decides on the host comes before it (the batch, the rate, the draws of the pools) or after it:
losses and gradients are looked at inside, updates are withheld by the device where one is no number, and the host
reads one row of numbers afterwards. See docs/decisions/009-a-step-as-one-graph.md.
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
"""Does a piece of work once and returns what does it again: `capture_call` on a processor, `capture_graph` on a GPU."""

Moments = MutableMapping[Tensor, dict[str, Tensor]]

WARM_UP = 3
"""How often the work is done before it is captured: libraries choose and allocate in their first calls."""


def capture_call(work: Work) -> Work:
    """Do the work, and do it again by calling it."""
    work()
    return work


def capture_graph(work: Work) -> Work:
    """Record the work as a CUDA graph; what plays it returns the tensor of the recording, with new values in it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = work()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


class CapturedStep:
    """The step of one state on batches of one shape. From `record` to `close` the state is laid out for it.

    Weights, moments, gradients, batch, rates and pools then stay where they are in memory.
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
        """Do the work a few times and record it; the state is then what it was before."""
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
        """Whether a batch has the shapes of the recorded one."""
        return batch.a.shape == self._batch.a.shape and batch.b.shape == self._batch.b.shape

    def __call__(self, batch: Batch) -> dict[str, Tensor] | None:
        """Take a step; return its terms (float64, on the host), None where something in it was no number.

        In that case nothing of the state has changed.
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
        """Multiply the learning rates of both players until they are set anew; a power of two loses no bit."""
        for _, rate in self._rates:
            rate.mul_(factor)

    @contextmanager
    def uncaptured(self) -> Iterator[None]:
        """Lay the state out as usual for the body, which may take steps of the usual kind."""
        self.close()
        try:
            yield
        finally:
            for domain, pool in self._static.items():
                pool.restore(self._plain[domain].images, self._plain[domain].num_seen)
            self._lay_out()

    def snapshot(self) -> Callable[[], None]:
        """Copy the state to the host's memory; returns what puts it back, in place, moments that came later at 0."""
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
        """Lay the state out as usual again; the pools get their images back."""
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
        """Put everything where the recording reads and writes it, with the values it has now."""
        for domain, pool in self._static.items():
            self._state.objective.pools[domain] = pool
            self._plain[domain].images = []
        for optimizer in self._optimizers():
            # Adam leaves everything as it is where this is 1: what mixed precision uses for an overflow.
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
        """Take the step on what lies in place; return one row: whether anything was no number, then the terms."""
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
        """Return what a step changes before all of it is known to be sound: statistics of norms, who steps first."""
        objective = self._state.objective
        changed = list(objective.buffers())
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
    """Return a learning rate as a tensor, the one it is or one that loses no bit of it."""
    return rate if isinstance(rate, Tensor) else torch.tensor(rate, dtype=torch.float64)


def warm_up(work: Work, device: torch.device) -> None:
    """Do the work `WARM_UP` times; on a GPU on a stream of its own, as recording asks for."""
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
