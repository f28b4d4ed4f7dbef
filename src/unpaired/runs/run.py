"""Carries out a run: start, train, restart after a rewind or a shorter schedule, publish."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from unpaired import ranks
from unpaired.artifacts.rank_recorder import RankRecorder
from unpaired.artifacts.recorder import RunRecorder
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import flatten
from unpaired.data.datasets import StepDataset
from unpaired.errors import Interrupted, UnpairedError
from unpaired.monitoring.guardian import Guardian
from unpaired.monitoring.rewind import go_back
from unpaired.recipes import Config
from unpaired.runs.context import RunContext
from unpaired.runs.estimate import Estimate
from unpaired.runs.standing import RunInfo, info
from unpaired.runs.start import Start, broadcast_start, first_start
from unpaired.storage import printable
from unpaired.training.callbacks import Callback, OnFirstRank, Request, StepView
from unpaired.training.loop import GoBack, Recorder, fit
from unpaired.training.machine import peak_memory
from unpaired.training.pace import Pace
from unpaired.training.terminal import ProgressLines
from unpaired.trust.fitting import publish_trust

_log = logging.getLogger("unpaired")


def carry_out(config: Config, context: RunContext) -> RunInfo:
    """Train with these settings in the context's run folder, or continue the run there; return its final RunInfo.

    Raises as `unpaired.train` does.
    """
    with ranks.process_group(context.device), ExitStack() as held:
        done = False
        while not done:
            held.close()
            start = None
            with ranks.on_rank_zero() as mine:
                if mine:
                    start = first_start(config, context, held)
            done = _fit(broadcast_start(start, context.device), context)
            start = None  # frees its memory for the next start, or for publishing
        if config.run.memory and not ranks.rank():
            peak = peak_memory(context.device) / 1e9
            _log.info(f"Peak memory: {peak:.2f} GB, {config.run.memory} allowed.")
        found = None
        with ranks.on_rank_zero() as mine:
            if mine:
                publish_trust(context.folder, config.run.trust_images)
                found = info(context.folder.path)
        return _broadcast_info(found)


def _fit(start: Start, context: RunContext) -> bool:
    """Train to the end of the schedule, unless the run is finished; return False if the run has to start again.

    It has to after a rewind, or if its schedule became shorter.
    """
    config, schedule = start.config, start.schedule
    dataset = start.domains.dataset(config.data, config.run.seed)
    if start.state.step >= schedule.num_steps:
        return True
    dataset.share, dataset.accumulate = (ranks.rank(), ranks.world_size()), config.run.accumulate
    recorder: Recorder | None = start.recorder
    if recorder is None or ranks.world_size() > 1:
        recorder = RankRecorder(recorder)
    try:
        request = _trained(start, context, dataset, recorder)
    except GoBack as wish:
        with ranks.on_rank_zero():
            if start.guardian is not None:
                _go_back(config, context.folder, start.guardian, wish.step)
        if wish.signum:
            raise Interrupted(
                f"Stopped at step {wish.step}, after a rewind by the guardian; run the same command again to continue.",
                signum=wish.signum,
            ) from None
        return False
    return request is not Request.RESTART


def _trained(start: Start, context: RunContext, dataset: StepDataset, recorder: Recorder) -> Request:
    """Take the steps, and report the state of a run that is interrupted or fails. Raises as `fit` does."""
    config = start.config
    with _reported(start.recorder), _finished(start.recorder):
        return fit(
            start.state,
            dataset,
            start.schedule,
            config.run,
            context.device,
            recorder,
            num_workers=config.data.num_workers,
            worker_retries=config.data.worker_retries,
            callbacks=[*_own_callbacks(start), *context.callbacks],
            watch=_watch(start, context),
        )


@contextmanager
def _finished(recorder: RunRecorder | None) -> Iterator[None]:
    """Wait for the recorder at the end of the block: it writes nothing behind a rewind, or in an unlocked folder."""
    try:
        yield
    finally:
        if recorder is not None:
            recorder.finish()


@contextmanager
def _reported(recorder: RunRecorder | None) -> Iterator[None]:
    """Write the state into the report if the block is interrupted or fails."""
    try:
        yield
    except Interrupted:
        with ranks.on_rank_zero():
            if recorder is not None:
                recorder.report("stopped; the same command continues it")
        raise
    except UnpairedError:
        if recorder is not None:
            with suppress(UnpairedError):  # such as a full disk, which the first error is about
                recorder.report("stopped by an error")
        raise


def _watch(start: Start, context: RunContext) -> Callable[[StepView], None]:
    """Log the estimate of the run's time, and return what watches the steps: it and the live display. Rank 0 only."""
    if ranks.rank():
        return lambda view: None
    estimate = Estimate(start.config, start.schedule, context.device)
    estimate.announce(start.state, context.folder.log)
    if not isinstance(context.listener, ProgressLines):
        return estimate
    pace = Pace(context.listener.pace, start.config.data.batch_size)

    def watch(view: StepView) -> None:
        pace(view)
        estimate(view)

    return watch


def _own_callbacks(start: Start) -> list[Callback]:
    """Return the package's own callbacks, on every rank; those of rank 0 do the work."""
    run = start.config.run
    return [
        OnFirstRank(start.guardian, run.guardian_every if run.guardian != "off" else 0, at_end=False),
        OnFirstRank(start.validation, run.validation_every, at_end=run.validation_every > 0),
    ]


def _go_back(config: Config, folder: RunFolder, guardian: Guardian, step: int) -> None:
    """Rewind the folder to a healthy checkpoint and record the remedy; the next start continues from there."""
    assert guardian.request is not None
    settings, every = flatten(config), config.run.checkpoint_every
    _log.warning(printable(go_back(folder.path, folder.checkpoints, guardian.request, step, settings, every)))


def _broadcast_info(found: RunInfo | None) -> RunInfo:
    """Return rank 0's RunInfo on every rank, since other machines may not see the run folder."""
    facts = {} if found is None else {**asdict(found), "path": str(found.path)}
    told = json.loads(ranks.broadcast_bytes(json.dumps(facts).encode()))
    return found or RunInfo(**{**told, "path": Path(told["path"])})
