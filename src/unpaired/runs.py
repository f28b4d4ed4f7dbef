"""From a configuration to a trained run: what `unpaired train` and `unpaired.train` do, and what `info` tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unpaired.config import differences, read_yaml, to_dict, to_yaml
from unpaired.data.datasets import DataConfig, range_of
from unpaired.data.domains import Domains, open_domains
from unpaired.data.sources import ImageList, image_list
from unpaired.devices import resolve_device
from unpaired.errors import CheckpointError, ConfigError, DataError
from unpaired.objectives.base import Direction
from unpaired.recipes import Config
from unpaired.storage import write_bytes
from unpaired.training.changes import Change, fingerprints_change, images_change, machine_change, settings_change
from unpaired.training.checkpoint import Checkpoint, list_checkpoints, load_newest, read_manifest
from unpaired.training.history import OF_STEPS, History
from unpaired.training.loop import Progress, fit
from unpaired.training.machine import made_with
from unpaired.training.recorder import RunRecorder
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
    listener: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> RunInfo:
    """Train as `config` says, in the run folder `out` (default: runs/NAME OF THE DATA), or continue the run there.

    An interrupted run continues from its newest checkpoint, bit for bit on the same build, device and number of
    threads; a finished one returns at once. A damaged checkpoint is set aside and the one before it used, or, with
    `strict`, refused. Other images or settings than the run was started with are refused unless allowed, and then
    recorded in history.jsonl. `listener` is told every logged step, `say` gets sentences about what
    is being done. Returns where the run stands then.

    Raises DataError (folders or images that cannot be used or changed), ConfigError (the run folder belongs to another
    configuration), CheckpointError (with `strict`), DeviceError, OutputError (another process trains in it),
    StorageError, NonFiniteError, WorkerError, OutOfMemoryError, Interrupted.
    """
    device = resolve_device(config.run.device)
    if config.run.num_threads:
        torch.set_num_threads(config.run.num_threads)
    domains = open_domains(config.data)
    folder = RunFolder(Path(out) if out is not None else default_out(config.data))
    saved = read_yaml(Config, folder.config).data if folder.config.exists() else None
    if saved is None:
        domains = _looked_through(config, domains, say)
    elif folder.data.exists():
        domains = domains.without(json.loads(folder.data.read_bytes()), config.data)
    config = replace(config, data=domains.settled(config.data, saved))
    images = image_lists(domains)
    changes = agree(folder, config, domains, images, data=allow_data_change, settings=allow_config_change)
    if any(change.kind == "data" for change in changes):
        domains = _looked_through(config, domains, say)
        images = image_lists(domains)
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    folder.create()
    with folder.lock():
        newest = _restore(folder, state, strict, changes, say)
        folder.rewind(newest.log_lines if newest is not None else 0, state.step)
        schedule = Schedule(
            config.schedule, domains.dataset(config.data, config.run.seed).length, config.data.batch_size
        )
        if state.step < schedule.num_steps:
            if newest is not None:
                before = read_manifest(list_checkpoints(folder.checkpoints)[0])["made_with"]
                changes += machine_change(before, made_with(device))
            _record(config, domains, images, folder, state, changes, say)
        _carry_out(config, domains, folder, state, device, listener, say)
    return info(folder.path)


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


def _carry_out(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    device: torch.device,
    listener: Callable[[Progress], None],
    say: Callable[[str], None],
) -> None:
    """Train `state` to the end, its folder being locked and cut back to where `state` is."""
    dataset = domains.dataset(config.data, config.run.seed)
    schedule = Schedule(config.schedule, dataset.length, config.data.batch_size)
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
    if finished:
        return
    fit(
        state,
        dataset,
        schedule,
        config.run,
        device,
        recorder,
        num_workers=config.data.num_workers,
        worker_retries=config.data.worker_retries,
    )


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
    changes = settings_change(run, differences(read_yaml(Config, folder.config), config), allowed=settings)
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
