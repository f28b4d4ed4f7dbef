"""From a configuration to a trained run: what `unpaired train` and `unpaired.train` do, and what `info` tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import differences, flatten, from_dict, read_yaml, to_dict, to_yaml
from unpaired.data.datasets import DataConfig, range_of
from unpaired.data.domains import Domains, open_domains
from unpaired.data.sources import ImageList, image_list
from unpaired.devices import resolve_device
from unpaired.errors import CheckpointError, ConfigError, DataError, Interrupted
from unpaired.objectives.base import Direction
from unpaired.recipes import Config
from unpaired.storage import write_bytes
from unpaired.training.changes import (
    Change,
    fingerprints_change,
    images_change,
    machine_change,
    ranks_change,
    settings_change,
)
from unpaired.training.checkpoint import Checkpoint, list_checkpoints, load_newest, read_manifest
from unpaired.training.guardian import PROBE, Guardian
from unpaired.training.history import OF_STEPS, History
from unpaired.training.loop import GoBack, Progress, Recorder, fit
from unpaired.training.machine import made_with
from unpaired.training.rank_recorder import RankRecorder, share_state
from unpaired.training.recorder import RunRecorder
from unpaired.training.rewind import go_back, remedied
from unpaired.training.run_folder import RunFolder
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState
from unpaired.translate.model_folder import (
    DirectionInfo,
    DomainValues,
    GeneratorMode,
    ModelInfo,
    TrainingInfo,
    write_model,
)
from unpaired.trusting import publish_trust


@dataclass(frozen=True)
class RunInfo:
    """Where a run stands. `state_sha256` is the hash over all state of its newest checkpoint, "" before the first.

    bit_exact: whether its settings, images and machine have been the same from the start.
    """

    path: Path
    step: int
    num_steps: int
    epoch: int
    state_sha256: str
    domains: dict[str, str]
    objective: str
    num_images: dict[str, int]
    losses: dict[str, float]
    has_model: bool
    bit_exact: bool

    @property
    def finished(self) -> bool:
        """Whether the run has taken all its steps."""
        return self.step >= self.num_steps


def train(
    config: Config,
    *,
    out: str | Path | None = None,
    strict: bool = False,
    allow_data_change: bool = False,
    allow_config_change: bool = False,
    allow_rank_change: bool = False,
    listener: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> RunInfo:
    """Train as `config` says, in the run folder `out` (default: runs/NAME OF THE DATA), or continue the run there.

    An interrupted run continues from its newest checkpoint, bit for bit on the same build, device and number of
    threads; a finished one returns at once. A damaged checkpoint is set aside and the one before it used, or, with
    `strict`, refused. Other images or settings than the run was started with are refused unless allowed, and then
    recorded in history.jsonl. `listener` is told every logged step, `say` gets sentences about what
    is being done. Returns where the run stands then.

    Under torchrun several processes train as one, with the same call in each: rank 0 reads and writes the run folder
    and calls `listener` and `say`, the others compute. A run goes on with the number of processes it had, or with
    `allow_rank_change` another one.

    Raises DataError (folders or images that cannot be used or changed), ConfigError (the run folder belongs to another
    configuration), CheckpointError (with `strict`), DeviceError, OutputError (another process trains in it),
    StorageError, NonFiniteError, WorkerError, OutOfMemoryError, RankError (another process was lost), Interrupted.
    """
    device = resolve_device(config.run.device)
    if config.run.num_threads:
        torch.set_num_threads(config.run.num_threads)
    ranks.require_even(config.data.batch_size, "data.batch_size")
    folder = RunFolder(Path(out) if out is not None else default_out(config.data))
    allowed = _Allowed(strict, allow_data_change, allow_config_change, allow_rank_change)
    with ranks.joined(device), ExitStack() as held:
        done = False
        while not done:
            held.close()
            start = None
            with ranks.by_first() as mine:
                if mine:
                    start = _first_start(config, folder, device, allowed, held, listener, say)
            done = _fit(_same_start(start, device), folder, device, say)
        found = None
        with ranks.by_first() as mine:
            if mine:
                publish_trust(folder, config.run.trust_images, say)
                found = info(folder.path)
        return _told_info(found)


@dataclass(frozen=True)
class _Allowed:
    """What a run may go on with: a damaged checkpoint (not `strict`), other images, settings, number of processes."""

    strict: bool
    data: bool
    settings: bool
    ranks: bool


@dataclass(frozen=True)
class _Start:
    """All that training goes on from; recorder, and guardian where it watches: rank 0's."""

    config: Config
    domains: Domains
    state: TrainingState
    recorder: Recorder | None
    guardian: Guardian | None = None


def _first_start(
    config: Config,
    folder: RunFolder,
    device: torch.device,
    allowed: _Allowed,
    held: ExitStack,
    listener: Callable[[Progress], None],
    say: Callable[[str], None],
) -> _Start:
    """Check settings, images and folder against one another, and put the state where the run stands.

    `held` keeps the folder locked.
    """
    config = remedied(config, History(folder.path).entries())
    domains = open_domains(config.data)
    saved = read_yaml(Config, folder.config).data if folder.config.exists() else None
    if saved is None:
        domains = _looked_through(config, domains, say)
    elif folder.data.exists():
        domains = domains.without(json.loads(folder.data.read_bytes()), config.data)
    config = replace(config, data=domains.settled(config.data, saved))
    images = image_lists(domains)
    changes = agree(folder, config, domains, images, data=allowed.data, settings=allowed.settings)
    if any(change.kind == "data" for change in changes):
        domains = _looked_through(config, domains, say)
        images = image_lists(domains)
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    folder.create()
    held.enter_context(folder.lock())
    newest = _restore(folder, state, allowed.strict, changes, say)
    unfinished = state.step < _schedule(config, domains).num_steps
    if unfinished and newest is not None:
        before, now = read_manifest(list_checkpoints(folder.checkpoints)[0])["made_with"], made_with(device)
        changes += ranks_change(str(folder.path), before, now, allowed=allowed.ranks)
        changes += machine_change(before, now)
    folder.rewind(newest.log_lines if newest is not None else 0, state.step)
    if unfinished:
        _record(config, domains, images, folder, state, changes, say)
    recorder = _recorder(config, domains, folder, state, device, listener, say)
    guardian = _guardian(config, domains, folder, state, device, recorder, say) if unfinished else None
    recorder.guardian = guardian
    return _Start(config, domains, state, recorder, guardian)


def _guardian(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    device: torch.device,
    recorder: RunRecorder,
    say: Callable[[str], None],
) -> Guardian | None:
    """Return the watch over the run, unless it is off."""
    if config.run.guardian == "off" or config.run.guardian_every == 0:
        return None

    def note(step: int, sentence: str) -> None:
        recorder.event(step, "guardian", sentence)
        say(sentence)

    probe = domains.previews(config.data, config.run.seed).preview(min(PROBE, config.run.num_samples))
    rewind = config.run.guardian == "rewind"
    return Guardian(folder.path, state.step, probe.to(device), flatten(config), rewind=rewind, note=note)


def _same_start(start: _Start | None, device: torch.device) -> _Start:
    """Return what rank 0 goes on from, on every rank: the same settings, images and state."""
    if ranks.count() == 1:
        assert start is not None
        return start
    told = None if start is None else {"config": to_dict(start.config), "data": start.domains.facts()}
    told = json.loads(ranks.told_by_first(json.dumps(told).encode()))
    if start is None:
        config = from_dict(Config, told["config"])
        domains = open_domains(config.data).without(told["data"], config.data)
        start = _Start(config, domains, TrainingState(build_objective(config).to(device), config.optimizer), None)
        for domain, facts in domains.facts().items():
            if facts["fingerprint"] != told["data"][domain]["fingerprint"]:
                raise DataError(
                    f"The images of domain {domain} are not those of rank 0 ({facts['images']} here, "
                    f"{told['data'][domain]['images']} there); give every machine the same folders."
                )
    share_state(start.state)
    ranks.require_same(json.dumps(_versions(device)), "What torch, the GPU or the processor is")
    return start


def _versions(device: torch.device) -> dict[str, str | int]:
    """Return what must be the same on all ranks for their states to stay the same."""
    facts = made_with(device)
    return {key: facts[key] for key in ("unpaired", "torch", "instructions", "gpu") if key in facts}


def _told_info(found: RunInfo | None) -> RunInfo:
    """Return rank 0's knowledge of the run, whose folder other machines may not see."""
    facts = {} if found is None else {**asdict(found), "path": str(found.path)}
    told = json.loads(ranks.told_by_first(json.dumps(facts).encode()))
    return found or RunInfo(**{**told, "path": Path(told["path"])})


def _schedule(config: Config, domains: Domains) -> Schedule:
    return Schedule(config.schedule, domains.dataset(config.data, config.run.seed).length, config.data.batch_size)


def _looked_through(config: Config, domains: Domains, say: Callable[[str], None]) -> Domains:
    """Decode every image and tell what is odd; returns the domains of those that can be trained on."""
    say(f"Looking at {domains.described(config.data)}.")
    usable, notes = domains.usable(config.data, max(config.generator.min_size, config.discriminator.min_size))
    for note in notes:
        say(note)
    return usable


def _restore(
    folder: RunFolder, state: TrainingState, strict: bool, changes: list[Change], say: Callable[[str], None]
) -> Checkpoint | None:
    """Put `state` where the folder's newest whole checkpoint is, and return that; None where there is none."""
    newest, warnings = load_newest(folder.checkpoints, strict=strict)
    for warning in warnings:
        say(warning)
    if newest is None:
        return None
    try:
        state.restore(newest.parts, newest.counters)
    except CheckpointError as error:
        if not any(change.kind == "settings" for change in changes):
            raise
        raise ConfigError(
            f"{folder.path} cannot go on with these settings, --allow-config-change or not: {error}"
        ) from None
    return newest


def _record(
    config: Config,
    domains: Domains,
    images: dict[str, ImageList],
    folder: RunFolder,
    state: TrainingState,
    changes: list[Change],
    say: Callable[[str], None],
) -> None:
    """Write what the run is made with from now on; what it was made with before is kept in its history."""
    history = History(folder.path)
    history.rewind(state.step)
    for change in changes:
        say(change.sentence)
        history.note(state.step, change.kind, change.sentence, **change.details)
    write_bytes(folder.images, (json.dumps(images) + "\n").encode(), sync=True)
    write_bytes(folder.data, (json.dumps(domains.facts(), indent=1) + "\n").encode(), sync=True)
    write_bytes(folder.config, to_yaml(config).encode(), sync=True)


def _recorder(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    device: torch.device,
    listener: Callable[[Progress], None],
    say: Callable[[str], None],
) -> RunRecorder:
    """Return what writes the folder, which is locked and cut back to where `state` is; say where that is."""
    schedule = _schedule(config, domains)
    finished, place = state.step >= schedule.num_steps, f"{state.step} of {schedule.num_steps}"
    if finished:
        say(f"This run is finished: {place} steps are done.")
    else:
        say(f"{'Continuing' if state.step else 'Training'} at step {place} in {folder.path}")
    preview = domains.previews(config.data, config.run.seed)
    facts = {"config": to_yaml(config), "data": domains.facts(), "machine": made_with(device)}

    def publish(generators: dict[Direction, nn.Module], step: int) -> None:
        mode: GeneratorMode = "training" if state.objective.uses_training_mode else "evaluation"
        publish_model(folder.model, config, domains, generators, step, mode)

    recorder = RunRecorder(
        folder,
        preview.preview(config.run.num_samples).to(device),
        names=domains.names,
        facts=facts,
        publish=publish,
        listener=listener,
        keep_checkpoints=config.run.keep_checkpoints,
        tensorboard=config.run.tensorboard and not finished,
    )
    if state.step:
        recorder.catch_up(state)
    return recorder


def _fit(start: _Start, folder: RunFolder, device: torch.device, say: Callable[[str], None]) -> bool:
    """Train to the end of the schedule, unless the run is there; False where it went back, to go on from there."""
    config, guardian = start.config, start.guardian
    dataset, schedule = start.domains.dataset(config.data, config.run.seed), _schedule(config, start.domains)
    if start.state.step >= schedule.num_steps:
        return True
    dataset.share = (ranks.rank(), ranks.count())
    recorder = start.recorder
    if recorder is None or ranks.count() > 1:
        recorder = RankRecorder(recorder)

    def watch(state: TrainingState, terms: dict[str, Tensor]) -> bool:
        with ranks.by_first():
            return guardian is not None and guardian.look(state, terms)

    try:
        fit(
            start.state,
            dataset,
            schedule,
            config.run,
            device,
            recorder,
            num_workers=config.data.num_workers,
            worker_retries=config.data.worker_retries,
            watch=None if config.run.guardian == "off" else watch,
        )
    except GoBack as wish:
        with ranks.by_first():
            if guardian is not None:
                _go_back(config, folder, guardian, wish.step, say)
        if wish.signum:
            raise Interrupted(
                f"Stopped at step {wish.step}, where the guardian went back; run the same command again to continue.",
                signum=wish.signum,
            ) from None
        return False
    return True


def _go_back(config: Config, folder: RunFolder, guardian: Guardian, step: int, say: Callable[[str], None]) -> None:
    """Put the folder where the run was healthy, with the remedy on record; the next start goes on from there."""
    assert guardian.request is not None
    settings, every = flatten(config), config.run.checkpoint_every
    say(go_back(folder.path, folder.checkpoints, guardian.request, step, settings, every))


def build_objective(config: Config) -> Any:
    """Return the untrained objective that a configuration describes, its weights drawn from `run.seed`."""
    data = config.data
    return config.objective.build(
        config.generator, config.discriminator, data.channels_a, data.channels_b, config.run.seed
    )


def publish_model(
    folder: Path,
    config: Config,
    domains: Domains,
    generators: dict[Direction, nn.Module],
    step: int,
    mode: GeneratorMode,
) -> None:
    """Write the model folder: the generators of `config` as they are after `step`, and what they were trained for."""
    channels = {"AtoB": (config.data.channels_a, config.data.channels_b)}
    channels["BtoA"] = channels["AtoB"][::-1]
    directions = {
        str(name): DirectionInfo(
            generator=config.generator, in_channels=channels[name][0], out_channels=channels[name][1], mode=mode
        )
        for name in generators
    }
    training = TrainingInfo(
        step=step,
        seed=config.run.seed,
        load_size=config.data.load_size,
        crop_size=config.data.crop_size,
        objective=to_dict(config.objective)["kind"],
        weights="averaged" if config.optimizer.ema_decay else "trained",
    )
    red, green, blue = config.data.background
    info = ModelInfo(
        directions=directions,
        domains=domains.names,
        training=training,
        background=(red, green, blue),
        values={
            "A": DomainValues(range=range_of(config.data, "A"), dtype=config.data.dtype_a),
            "B": DomainValues(range=range_of(config.data, "B"), dtype=config.data.dtype_b),
        },
        icc=config.data.icc,
        classes=domains.classes,
    )
    write_model(folder, info, {str(name): network for name, network in generators.items()})


def default_out(data: DataConfig) -> Path:
    """Return runs/NAME for the data: the folder's name, or "A to B" for two folders."""
    folders = [Path(folder).resolve().name for folder in (data.a, data.b) if folder]
    name = "2".join(folders) or Path(data.root).resolve().name
    return Path("runs") / name


def image_lists(domains: Domains) -> dict[str, ImageList]:
    """Return the files of the training images by domain; those of domain A are none where it is noise."""
    a, b = domains.train_a, domains.train_b
    list_b = image_list(b)
    if a is None:
        return {"A": {}, "B": list_b}
    return {"A": list_b if a.paths == b.paths else image_list(a), "B": list_b}


def agree(
    folder: RunFolder,
    config: Config,
    domains: Domains,
    images: dict[str, ImageList],
    *,
    data: bool = False,
    settings: bool = False,
) -> list[Change]:
    """Return what changed since the run in `folder` was started, where that is allowed.

    Raises ConfigError unless it was started with these settings, or `settings` allows others; DataError unless with
    these images, or `data` allows others.
    """
    if not folder.config.exists():
        return []
    run = str(folder.path)
    before = remedied(read_yaml(Config, folder.config), History(folder.path).entries())
    changes = settings_change(run, differences(before, config), allowed=settings)
    if folder.images.exists():
        return changes + images_change(run, json.loads(folder.images.read_bytes()), images, allowed=data)
    if not folder.data.exists():
        return changes
    return changes + fingerprints_change(run, json.loads(folder.data.read_bytes()), domains.facts(), allowed=data)


def info(path: str | Path) -> RunInfo:
    """Return where the run in a folder stands; raises DataError when the folder holds no run."""
    folder = RunFolder(Path(path))
    if not folder.config.exists() or not folder.data.exists():
        raise DataError(f"{folder.path} holds no run (no config.yaml); give the folder that `unpaired train` wrote.")
    config = read_yaml(Config, folder.config)
    data = json.loads(folder.data.read_text(encoding="utf-8"))
    length = max(facts["images"] for facts in data.values())
    schedule = Schedule(config.schedule, length, config.data.batch_size)
    checkpoints = list_checkpoints(folder.checkpoints)
    manifest: dict[str, Any] = read_manifest(checkpoints[0]) if checkpoints else {"step": 0, "state_sha256": ""}
    records = folder.records()
    return RunInfo(
        path=folder.path,
        step=manifest["step"],
        num_steps=schedule.num_steps,
        epoch=schedule.epoch(max(manifest["step"], 1)),
        state_sha256=manifest["state_sha256"],
        domains={domain: facts["name"] for domain, facts in data.items()},
        objective=to_dict(config.objective)["kind"],
        num_images={domain: facts["images"] for domain, facts in data.items()},
        losses=records[-1]["losses"] if records else {},
        has_model=folder.model.is_dir(),
        bit_exact=all(entry["kind"] in OF_STEPS for entry in History(folder.path).entries()),
    )
