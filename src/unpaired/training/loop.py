"""The training loop shared by all methods: applies the learning-rate schedule, updates the EMA weights, calls back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.data.datasets import Batch, StepDataset
from unpaired.data.loading import batches
from unpaired.devices import has_bf16
from unpaired.errors import Interrupted, NonFiniteError
from unpaired.randomness import torch_seeded
from unpaired.training.autocast import precision_on
from unpaired.training.callbacks import Callback, Request, StepView, call_after_step, call_at_start, due
from unpaired.training.machine import memory_advice, out_of_memory
from unpaired.training.progress import Clock, Progress
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import Schedule
from unpaired.training.signals import stop_signals
from unpaired.training.state import TrainingState
from unpaired.training.step import Take, train_step
from unpaired.training.stepper import capture_on, cautions, stepper

_log = logging.getLogger("unpaired")


class Recorder(Protocol):
    """Receives the reports of the loop; `unpaired.artifacts.recorder` writes them to files."""

    def progress(self, progress: Progress) -> None:
        """Record a logged step."""
        ...

    def sample(self, state: TrainingState) -> None:
        """Draw the sample grid with the present weights."""
        ...

    def checkpoint(self, state: TrainingState) -> None:
        """Save everything that resuming needs, as it is now; the files may be written behind the next steps."""
        ...

    def finish(self) -> None:
        """Wait until everything that was recorded is written; raise the error of what could not be."""
        ...

    def event(self, step: int, kind: str, sentence: str) -> None:
        """Record an event of the run at a step that is not part of training."""
        ...


class GoBack(Exception):  # noqa: N818 - a request, not an error
    """A callback requested a rewind at step `step`; signum: of a signal received in that step, or 0."""

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
    callbacks: Sequence[Callback] = (),
    watch: Callable[[StepView], None] = lambda view: None,
) -> Request:
    """Train `state` in place from the step after `state.step` to the end of the schedule.

    callbacks: called in order after each step, before the log and the sample grids of `recorder`; a checkpoint comes
    last. watch: called before the first step, and after each one ahead of the callbacks; it shows progress and has no
    say. Logs a warning if graph capture or compiling is on but not possible. Returns the request that ended training,
    CONTINUE at the end of the schedule.

    Raises GoBack at the request of a callback, without saving; Interrupted after SIGINT or SIGTERM, after saving the
    last whole step; NonFiniteError, before any update with it, if a loss or gradient is NaN or infinite and no more
    steps may be skipped; WorkerError if a loader process is lost; OutOfMemoryError; ImageError if an image cannot be
    read.
    """
    objective, clock = state.objective, Clock(state.step, schedule)
    precision = precision_on(device, run)
    callbacks = [*callbacks, Log(recorder, clock, run.log_every), Samples(recorder, run.sample_every)]
    objective.train()
    delivered = batches(
        dataset,
        state.step + 1,
        schedule.num_steps,
        num_workers,
        retries=worker_retries,
        note=lambda step, sentence: recorder.event(step, "loader", sentence),
    )

    def take(batch: Batch, names: Callable[[], list[str]]) -> dict[str, Tensor]:
        return train_step(state, batch, precision, names)

    def note(sentence: str) -> None:
        recorder.event(state.step + 1, "way", sentence)
        if not ranks.rank():
            _log.warning(sentence)

    if not ranks.rank():
        for caution in cautions(run, device):
            _log.warning(caution)
    advice = memory_advice(objective, schedule.batch_size, lower=precision == "fp32" and has_bf16(device))
    with (
        stop_signals() as stop,
        closing(delivered),
        out_of_memory(lambda: state.step + 1, device, advice),
        stepper(
            state, precision, take, note, capture=capture_on(device, run.replays), compiled=run.compiles
        ) as take_step,
    ):
        if state.step == 0:
            call_at_start(callbacks, StepView(state, {}, schedule))
        watch(StepView(state, {}, schedule))
        for batch in clock.timed(delivered):
            state.set_learning_rate(schedule.multiplier(state.step + 1))
            with skipping(state, run.max_skipped, recorder) as terms:
                terms.update(learn(state, batch.to(device), take_step, run.seed, dataset))
            step = state.step = state.step + 1

            view = StepView(state, terms, schedule, last=step == schedule.num_steps)
            watch(view)
            request = call_after_step(callbacks, view)
            if request is Request.GO_BACK:
                raise GoBack(step, ranks.all_reduce_max(stop()))
            if view.last or ranks.all_reduce_max(stop()) > 0 or due(step, run.checkpoint_every):
                recorder.checkpoint(state)
                signum = ranks.all_reduce_max(stop())
                if view.last or signum:
                    recorder.finish()
                raise_if_interrupted(signum, step, schedule)
            if view.last:
                return Request.CONTINUE if step == schedule.num_steps else request
    return Request.CONTINUE


class Log:
    """Reports the losses, the learning rate and the speed of a step to a recorder."""

    def __init__(self, recorder: Recorder, clock: Clock, every: int) -> None:
        self._recorder, self._clock, self.every = recorder, clock, every

    def after_step(self, view: StepView) -> None:
        """Report the step."""
        self._recorder.progress(self._clock.progress(view.step, view.terms, view.learning_rate))


class Samples:
    """Makes a recorder draw the sample grid, also before the first step and at the end."""

    def __init__(self, recorder: Recorder, every: int) -> None:
        self._recorder, self.every, self.at_start = recorder, every, every > 0

    def after_step(self, view: StepView) -> None:
        """Draw the grid."""
        self._recorder.sample(view.state)


def learn(state: TrainingState, batch: Batch, take_step: Take, seed: int, dataset: StepDataset) -> dict[str, Tensor]:
    """Train on the batch of the step after `state.step` and update the EMA weights.

    Returns the losses by name, and what the method shows beside them.

    The random draws of the networks, such as dropout, are indexed by the step.
    """
    step = state.step + 1
    with torch_seeded(seed, "dropout", step):
        terms = take_step(batch, lambda: dataset.names_of(step))
    if state.ema is not None:
        state.ema.update(state.objective.translators, step)
    return {**terms, **{name: value.clone() for name, value in state.objective.shown().items()}}


def raise_if_interrupted(signum: int, step: int, schedule: Schedule) -> None:
    """Raise Interrupted after a signal, once step `step` is saved; not at the end of the schedule."""
    if signum and step < schedule.num_steps:
        raise Interrupted(
            f"Stopped at step {step} of {schedule.num_steps}; everything is saved. Run the same command again to "
            "continue.",
            signum=signum,
        )


@contextmanager
def skipping(state: TrainingState, most: int, recorder: Recorder) -> Iterator[dict[str, Tensor]]:
    """Suppress a NonFiniteError of the block and count a skipped step, if fewer than `most` were skipped.

    Yields a dictionary for the block to fill with terms, which stays empty then.
    """
    try:
        yield {}
    except NonFiniteError as error:
        if state.skipped >= most:
            raise
        state.skipped += 1
        recorder.event(state.step + 1, "skipped", f"{error.finding}; this step was skipped.")
