"""The one training loop, for every method: it owns the optimizers, the precision, the weight average and the clock."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import free, require
from unpaired.data.datasets import Batch, StepDataset
from unpaired.data.loading import batches
from unpaired.errors import Interrupted, NonFiniteError
from unpaired.losses import total
from unpaired.objectives.base import Objective, Player, frozen
from unpaired.randomness import torch_seeded
from unpaired.training.machine import out_of_memory
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is carried out. The settings marked free cannot change what is learnt.

    device: auto (a GPU when there is one), cpu, cuda, cuda:1, mps. num_threads: 0 leaves torch's choice; the bits
    of a CPU run depend on it. on_nonfinite: stop, or skip:N to leave out up to N steps of the run in which a loss
    or gradient is no number; no other step is touched by it. keep_checkpoints: the newest ones kept, at least two. A
    *_every of 0 means never (a checkpoint is always taken at the end and when the run is interrupted). guardian: warn
    tells of what goes wrong, rewind also goes back once for each ailment and applies its remedy, on record.
    trust_images: of each domain, measured at the end for `translate --scores`; 0 for none.
    """

    seed: int = 0
    precision: Precision = "fp32"
    device: str = free("auto")
    num_threads: int = free(0)
    on_nonfinite: str = free("stop")
    log_every: int = free(20)
    sample_every: int = free(500)
    num_samples: int = free(4)
    checkpoint_every: int = free(500)
    keep_checkpoints: int = free(2)
    tensorboard: bool = free(False)
    trust_images: int = free(256)
    guardian: Literal["off", "warn", "rewind"] = free("warn")
    guardian_every: int = free(200)

    def __post_init__(self) -> None:
        for name in ("seed", "num_threads", "log_every", "sample_every", "checkpoint_every", "guardian_every"):
            require(getattr(self, name) >= 0, f"run.{name} must not be negative, not {getattr(self, name)}.")
        require(self.num_samples >= 1, f"run.num_samples must be at least 1, not {self.num_samples}.")
        known = re.fullmatch("stop|skip:[0-9]+", self.on_nonfinite)
        require(bool(known), f"run.on_nonfinite must be stop or skip:N with a number N, not {self.on_nonfinite!r}.")

    @property
    def max_skipped(self) -> int:
        """How many steps of the run may be left out because a loss or gradient is no number."""
        return 0 if self.on_nonfinite == "stop" else int(self.on_nonfinite.removeprefix("skip:"))


@dataclass(frozen=True)
class Progress:
    """One logged step. `losses` are that step's weighted terms by name; `seconds` are those of this process.

    loader_wait: share of the time since the last report that was spent waiting for images.
    """

    step: int
    num_steps: int
    epoch: int
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float
    loader_wait: float
    seconds: float
    seconds_left: float


class Recorder(Protocol):
    """What the loop tells about itself; `unpaired.training.recorder` writes files and passes it on."""

    def progress(self, progress: Progress) -> None:
        """Take note of a logged step."""
        ...

    def sample(self, state: TrainingState) -> None:
        """Draw what the networks make of the preview images now."""
        ...

    def checkpoint(self, state: TrainingState) -> None:
        """Save everything that resuming needs."""
        ...

    def event(self, step: int, kind: str, sentence: str) -> None:
        """Take note of something that happened to the run at a step and is no part of learning."""
        ...


class GoBack(Exception):  # noqa: N818 - a wish, no error
    """The watch over a run asked to go back at step `step`; signum: of a signal that came in that step, or 0."""

    def __init__(self, step: int, signum: int) -> None:
        super().__init__()
        self.step, self.signum = step, signum


def fit(
    state: TrainingState,
    dataset: StepDataset,
    schedule: Schedule,
    run: RunConfig,
    device: torch.device,
    recorder: Recorder,
    *,
    num_workers: int = 0,
    worker_retries: int = 0,
    watch: Callable[[TrainingState, dict[str, Tensor]], bool] | None = None,
) -> None:
    """Train from the step after `state.step` to the schedule's end, in place.

    watch: looks at the state and the losses every `run.guardian_every` steps and changes neither; where it returns
    True, on any rank, nothing more is saved and GoBack raised.

    Raises Interrupted after SIGINT or SIGTERM, with the state of the last whole step saved; NonFiniteError, before
    anything is updated with it, when a loss or gradient is no number and no more steps may be skipped; WorkerError
    when a loader process is lost; OutOfMemoryError; ImageError when an image cannot be read.
    """
    objective, clock = state.objective, Clock(state.step, schedule)
    objective.train()
    delivered = batches(
        dataset,
        state.step + 1,
        schedule.num_steps,
        num_workers,
        retries=worker_retries,
        note=lambda step, sentence: recorder.event(step, "loader", sentence),
    )
    with stop_signals() as stop, closing(delivered), out_of_memory(lambda: state.step + 1, device, run.precision):
        if state.step == 0 and run.sample_every:
            recorder.sample(state)
        for batch in clock.timed(delivered):
            step = state.step + 1

            # one step of both players, every draw of dropout indexed by it
            state.set_learning_rate(schedule.multiplier(step))
            terms = dict[str, Tensor]()
            with torch_seeded(run.seed, "dropout", step), skipping(state, run.max_skipped, recorder):
                terms = train_step(state, batch.to(device), run.precision, lambda: dataset.names_of(state.step + 1))
                if state.average is not None:
                    state.average.update(objective.translators, step)
            state.step = step

            if watch is not None and terms and due(step, run.guardian_every) and ranks.agreed(watch(state, terms)):
                raise GoBack(step, ranks.agreed(stop()))

            # what a person and a later process want to know
            last = step == schedule.num_steps
            if last or due(step, run.log_every):
                rate = state.config.learning_rate * schedule.multiplier(step)
                recorder.progress(clock.progress(step, terms, rate))
            if last or due(step, run.sample_every):
                recorder.sample(state)
            saved = last or ranks.agreed(stop()) > 0 or due(step, run.checkpoint_every)
            if saved:
                recorder.checkpoint(state)
            signum = ranks.agreed(stop()) if saved else 0
            if signum and not last:
                raise Interrupted(
                    f"Stopped at step {step} of {schedule.num_steps}; everything is saved. Run the same command again "
                    "to continue.",
                    signum=signum,
                )


@contextmanager
def skipping(state: TrainingState, most: int, recorder: Recorder) -> Iterator[None]:
    """Go on after a NonFiniteError in the body, which has left no trace, where fewer than `most` steps were skipped."""
    try:
        yield
    except NonFiniteError as error:
        if state.skipped >= most:
            raise
        state.skipped += 1
        recorder.event(state.step + 1, "skipped", f"{error.finding}; this step was left out.")


def train_step(
    state: TrainingState, batch: Batch, precision: Precision, names: Callable[[], list[str]] = list
) -> dict[str, Tensor]:
    """Update both players once, in the order the method publishes; return every term by name (detached).

    All forwards of the generators come first, so the discriminators judge images made before the generators' step.
    Nothing of the state changes when NonFiniteError is raised; `names` tells its message the images of the batch.
    """
    objective, seen = state.objective, dict[str, Tensor]()
    with all_or_nothing(state):
        with autocast(batch.a.device, precision):
            images = objective.generate(batch)
        for player in objective.order:
            terms = player_losses(objective, player, batch, images, precision)
            if not terms:  # an ablation without this player
                continue
            state.optimizers[player].zero_grad(set_to_none=True)
            total(terms).backward()  # type: ignore[no-untyped-call]
            # Every term is a mean over images, so from here on all is of the whole batch and the same on all ranks.
            terms = {name: term.detach() for name, term in terms.items()}
            ranks.average([*terms.values(), *gradients_of(objective.players()[player]).values()])
            require_finite_loss(terms, state.step + 1, names)
            require_finite_gradients(objective.players()[player], player, state.step + 1, names)
            seen.update(terms)
            if player == "discriminator":
                state.optimizers[player].step()
        # The discriminators' loss does not depend on the generators' step, so in either order this one comes last.
        state.optimizers["generator"].step()
        ranks.average([buffer for buffer in objective.buffers() if buffer.is_floating_point()])
    return seen


@contextmanager
def all_or_nothing(state: TrainingState) -> Iterator[None]:
    """Undo what the body changed of the state where it fails: pools, statistics of batch norms, discriminators.

    The discriminators are kept only where they step first, and then the generators' gradients can still be no numbers.
    """
    objective = state.objective
    pools = {pool: (list(pool.images), pool.num_seen) for pool in objective.pools.values()}
    buffers = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    undo = state.keep("discriminator") if objective.order[0] == "discriminator" else lambda: None
    try:
        yield
    except Exception:
        for pool, (images, num_seen) in pools.items():
            pool.images, pool.num_seen = images, num_seen
        for buffer, before in buffers:
            buffer.copy_(before)
        undo()
        raise


def player_losses(
    objective: Objective[Any], player: Player, batch: Batch, images: Any, precision: Precision
) -> dict[str, Tensor]:
    """Return a player's terms, in float32 at least; the generators' are taken with the discriminators frozen."""
    with autocast(batch.a.device, precision):
        if player == "discriminator":
            terms = objective.discriminator_losses(batch, images)
        else:
            with frozen(objective.discriminators):
                terms = objective.generator_losses(batch, images)
    reduced = (torch.bfloat16, torch.float16)
    return {name: term.float() if term.dtype in reduced else term for name, term in terms.items()}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which forwards run: bfloat16 where asked for, with float32 weights either way."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def gradients_of(networks: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of the weights that have one, by name."""
    return {name: weight.grad for name, weight in networks.named_parameters() if weight.grad is not None}


def require_finite_loss(terms: dict[str, Tensor], step: int, names: Callable[[], list[str]]) -> None:
    """Raise NonFiniteError, naming the terms at fault, where their sum is no number."""
    if torch.isfinite(total(terms)):
        return
    bad = ", ".join(f"{name} is {term.item()}" for name, term in terms.items() if not torch.isfinite(term))
    raise non_finite(f"the loss {bad or 'is too large for a number'}", step, names())


def require_finite_gradients(
    networks: nn.ModuleDict, player: Player, step: int, names: Callable[[], list[str]]
) -> None:
    """Raise NonFiniteError, before the optimizer's step, where a gradient is no number though the loss is one."""
    gradients = gradients_of(networks)
    if torch.isfinite(torch.nn.utils.get_total_norm(list(gradients.values()))):
        return
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    which = f"{bad[0]}, one of {len(bad)} weights, is NaN or infinite" if bad else "all weights is too large"
    raise non_finite(f"the gradient of {player} {which}", step, names())


def non_finite(what: str, step: int, names: list[str]) -> NonFiniteError:
    """Return the error that says what is no number, at which step and on which images."""
    finding = f"At step {step} {what} (images: {'; '.join(names)})"
    return NonFiniteError(
        f"{finding}; nothing was updated with it. Look at these images or lower --optimizer.learning-rate, then run "
        "the same command to go on from the checkpoint; --run.on-nonfinite skip:1 leaves the step out.",
        finding=finding,
    )


def due(step: int, every: int) -> bool:
    """Whether something done every `every` steps is done at `step`; 0 means never."""
    return every > 0 and step % every == 0


class Clock:
    """Speed and time left, from a monotonic clock; nothing of training depends on it."""

    def __init__(self, first_step: int, schedule: Schedule) -> None:
        self._schedule = schedule
        self._start = self._last = time.monotonic()
        self._first_step = self._last_step = first_step
        self._waited = 0.0

    def timed(self, source: Iterator[Batch]) -> Iterator[Batch]:
        """Yield from `source`, counting the time it takes to deliver."""
        while True:
            asked = time.monotonic()
            batch = next(source, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def progress(self, step: int, terms: dict[str, Tensor], learning_rate: float) -> Progress:
        """Return the report of a step, with speeds since the last report."""
        now = time.monotonic()
        span = max(now - self._last, 1e-9)
        speed = (step - self._last_step) / span
        overall = (step - self._first_step) / max(now - self._start, 1e-9)
        report = Progress(
            step=step,
            num_steps=self._schedule.num_steps,
            epoch=self._schedule.epoch(step),
            losses={name: round(term.item(), 6) for name, term in terms.items()},
            learning_rate=learning_rate,
            images_per_second=speed * self._schedule.batch_size,
            loader_wait=self._waited / span,
            seconds=now - self._start,
            seconds_left=(self._schedule.num_steps - step) / max(overall, 1e-9),
        )
        self._last, self._last_step, self._waited = now, step, 0.0
        return report


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; the body asks with the function it is given.

    The function returns the signal's number, or 0. After the first signal the handlers that were there before are
    back, so a second Ctrl-C stops at once. Outside the main thread signals are left alone.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before: dict[int, Any] = {}

    def note(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield lambda: received[0] if received else 0
    finally:
        restore()
