"""From a configuration to a trained run: what `unpaired train` and `unpaired.train` do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.artifacts.history import History
from unpaired.artifacts.rank_recorder import RankRecorder
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import flatten, require_rebuildable
from unpaired.data.datasets import DataConfig
from unpaired.devices import resolve_device
from unpaired.errors import Interrupted
from unpaired.monitoring.guardian import Guardian
from unpaired.monitoring.rewind import go_back
from unpaired.recipes import Config
from unpaired.runs.standing import RunInfo, info
from unpaired.runs.start import Allowed, Start, first_start, same_start
from unpaired.selection.best_weights import Choice
from unpaired.selection.early_stopping import FLAT, look_for_end
from unpaired.training.loop import GoBack, fit
from unpaired.training.machine import peak_memory
from unpaired.training.progress import Progress
from unpaired.training.state import TrainingState
from unpaired.training.terminal import shown_by_default
from unpaired.trust.fitting import publish_trust

_log = logging.getLogger("unpaired")


def train(
    config: Config,
    *,
    out: str | Path | None = None,
    strict: bool = False,
    allow_data_change: bool = False,
    allow_config_change: bool = False,
    allow_rank_change: bool = False,
    listener: Callable[[Progress], None] | None = None,
    quiet: bool = False,
) -> RunInfo:
    """Train as `config` says, in the run folder `out` (default: runs/NAME OF THE DATA), or continue the run there.

    An interrupted run continues from its newest checkpoint, bit for bit on the same build, device and number of
    threads; a finished one returns at once. A damaged checkpoint is set aside and the one before it used, or, with
    `strict`, refused. Other images or settings than the run was started with are refused unless allowed, and then
    recorded in history.jsonl. Returns where the run stands then.

    Sentences about the run are logged to the logger "unpaired" (INFO, WARNING). If neither it nor the root logger has a
    handler, they are printed on standard error with a line of progress every ten seconds; `quiet` prints nothing, and
    `listener`, called with the Progress of each logged step, replaces the lines.

    Under torchrun several processes train as one, with the same call in each: rank 0 reads and writes the run folder
    and calls `listener`, the others compute. A run goes on with the number of processes it had, or with
    `allow_rank_change` another one.

    Raises DataError (folders or images that cannot be used or changed), ConfigError (the run folder belongs to another
    configuration), CheckpointError (with `strict`), DeviceError, OutputError (another process trains in it),
    StorageError, NonFiniteError, WorkerError, OutOfMemoryError, RankError (another process was lost), Interrupted.
    """
    require_rebuildable(config)
    device = resolve_device(config.run.device)
    if config.run.num_threads:
        torch.set_num_threads(config.run.num_threads)
    ranks.require_even(config.data.batch_size, "data.batch_size")
    ranks.require_even_parts(config.data.batch_size, config.run.accumulate, "run.accumulate")
    folder = RunFolder(Path(out) if out is not None else default_out(config.data))
    allowed = Allowed(strict, allow_data_change, allow_config_change, allow_rank_change)
    with shown_by_default(listener, quiet=quiet) as shown, ranks.joined(device), ExitStack() as held:
        done = False
        while not done:
            held.close()
            start = None
            with ranks.by_first() as mine:
                if mine:
                    start = first_start(config, folder, device, allowed, held, shown)
            done = _fit(same_start(start, device), folder, device)
            start = None  # what it holds is no longer needed, and what follows needs memory too
        if config.run.memory and not ranks.rank():
            peak = peak_memory(device) / 1e9
            _log.info(f"At most {peak:.2f} GB of memory were in use, {config.run.memory} allowed.")
        found = None
        with ranks.by_first() as mine:
            if mine:
                publish_trust(folder, config.run.trust_images)
                found = info(folder.path)
        return _told_info(found)


def _fit(start: Start, folder: RunFolder, device: torch.device) -> bool:
    """Train to the end of the schedule, unless the run is there; False where the run goes on from another start.

    That is, where it went back, or its schedule became shorter.
    """
    config, guardian, schedule = start.config, start.guardian, start.schedule
    dataset = start.domains.dataset(config.data, config.run.seed)
    if start.state.step >= schedule.num_steps:
        return True
    dataset.share, dataset.accumulate = (ranks.rank(), ranks.count()), config.run.accumulate
    recorder = start.recorder
    if recorder is None or ranks.count() > 1:
        recorder = RankRecorder(recorder)

    def watch(state: TrainingState, terms: dict[str, Tensor]) -> bool:
        with ranks.by_first():
            return guardian is not None and guardian.look(state, terms)

    def look(state: TrainingState) -> bool:
        with ranks.by_first():
            return start.choice is not None and _look(start.choice, state, start, folder)

    try:
        return fit(
            start.state,
            dataset,
            schedule,
            config.run,
            device,
            recorder,
            num_workers=config.data.num_workers,
            worker_retries=config.data.worker_retries,
            watch=None if config.run.guardian == "off" else watch,
            look=look if config.run.held_out_every else None,
        )
    except GoBack as wish:
        with ranks.by_first():
            if guardian is not None:
                _go_back(config, folder, guardian, wish.step)
        if wish.signum:
            raise Interrupted(
                f"Stopped at step {wish.step}, where the guardian went back; run the same command again to continue.",
                signum=wish.signum,
            ) from None
        return False


def _look(choice: Choice, state: TrainingState, start: Start, folder: RunFolder) -> bool:
    """Look at held-out images; returns whether training should stop here, for good or for another schedule."""
    choice.look(state)
    found = look_for_end(choice.looks, start.schedule) if start.config.run.stop_when_flat else None
    if found is None:
        return False
    History(folder.path).note(state.step, FLAT, found.sentence, **found.details)
    _log.info(found.sentence)
    return True


def _go_back(config: Config, folder: RunFolder, guardian: Guardian, step: int) -> None:
    """Put the folder where the run was healthy, with the remedy on record; the next start goes on from there."""
    assert guardian.request is not None
    settings, every = flatten(config), config.run.checkpoint_every
    _log.warning(go_back(folder.path, folder.checkpoints, guardian.request, step, settings, every))


def _told_info(found: RunInfo | None) -> RunInfo:
    """Return rank 0's knowledge of the run, whose folder other machines may not see."""
    facts = {} if found is None else {**asdict(found), "path": str(found.path)}
    told = json.loads(ranks.told_by_first(json.dumps(facts).encode()))
    return found or RunInfo(**{**told, "path": Path(told["path"])})


def default_out(data: DataConfig) -> Path:
    """Return runs/NAME for the data: the folder's name, or "A to B" for two folders."""
    folders = [Path(folder).resolve().name for folder in (data.a, data.b) if folder]
    name = "2".join(folders) or Path(data.root).resolve().name
    return Path("runs") / name
