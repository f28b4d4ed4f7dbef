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
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import Domains, open_domains
from unpaired.devices import resolve_device
from unpaired.errors import ConfigError, DataError
from unpaired.objectives.base import Direction
from unpaired.recipes import Config
from unpaired.storage import write_bytes
from unpaired.training.checkpoint import list_checkpoints, load_newest, read_manifest
from unpaired.training.loop import Progress, fit
from unpaired.training.machine import made_with
from unpaired.training.recorder import RunRecorder
from unpaired.training.run_folder import RunFolder
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState
from unpaired.translate.model_folder import DirectionInfo, GeneratorMode, ModelInfo, TrainingInfo, write_model


@dataclass(frozen=True)
class RunInfo:
    """Where a run stands. `state_sha256` is the hash over all state of its newest checkpoint, "" before the first."""

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

    @property
    def finished(self) -> bool:
        """Whether the run has taken all its steps."""
        return self.step >= self.num_steps


def train(
    config: Config,
    *,
    out: str | Path | None = None,
    listener: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> RunInfo:
    """Train as `config` says, in the run folder `out` (default: runs/NAME OF THE DATA), or continue the run there.

    An interrupted run continues from its newest checkpoint, bit for bit on the same build, device and number of
    threads; a finished one returns at once. `listener` is told every logged step, `say` gets sentences about what
    is being done. Returns where the run stands then.

    Raises DataError (folders or images that cannot be used), ConfigError (the run folder belongs to another
    configuration), DeviceError, OutputError (another process trains in it), StorageError, Interrupted.
    """
    device = resolve_device(config.run.device)
    if config.run.num_threads:
        torch.set_num_threads(config.run.num_threads)
    domains = open_domains(config.data)
    config = replace(config, data=domains.settled(config.data))
    folder = RunFolder(Path(out) if out is not None else default_out(config.data))
    agree(folder, config, domains)
    if not folder.config.exists():
        say(f"Looking at {domains.described(config.data)}.")
        for note in domains.check(config.data, max(config.generator.min_size, config.discriminator.min_size)):
            say(note)
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    folder.create()
    with folder.lock():
        _carry_out(config, domains, folder, state, device, listener, say)
    return info(folder.path)


def _carry_out(
    config: Config,
    domains: Domains,
    folder: RunFolder,
    state: TrainingState,
    device: torch.device,
    listener: Callable[[Progress], None],
    say: Callable[[str], None],
) -> None:
    """Continue `state` from the folder's newest checkpoint to the end, the folder being locked."""
    write_bytes(folder.config, to_yaml(config).encode())
    write_bytes(folder.data, (json.dumps(domains.facts(), indent=1, ensure_ascii=False) + "\n").encode())
    dataset = domains.dataset(config.data, config.run.seed)
    schedule = Schedule(config.schedule, dataset.length, config.data.batch_size)
    newest, warnings = load_newest(folder.checkpoints)
    for warning in warnings:
        say(warning)
    if newest is not None:
        state.restore(newest.parts, newest.counters)
    folder.rewind(newest.log_lines if newest is not None else 0, state.step)
    if state.step >= schedule.num_steps:
        say(f"This run is finished: {state.step} of {schedule.num_steps} steps are done.")
        return
    say(f"{'Continuing' if state.step else 'Training'} at step {state.step} of {schedule.num_steps} in {folder.path}")
    preview = domains.previews(config.data, config.run.seed)
    facts = {"config": to_yaml(config), "data": domains.facts(), "machine": made_with(device)}

    def publish(generators: dict[Direction, nn.Module], step: int) -> None:
        mode: GeneratorMode = "training" if state.objective.uses_training_mode else "evaluation"
        publish_model(folder.model, config, domains.names, generators, step, mode)

    recorder = RunRecorder(
        folder,
        preview.preview(config.run.num_samples).to(device),
        names=domains.names,
        facts=facts,
        publish=publish,
        listener=listener,
        keep_checkpoints=config.run.keep_checkpoints,
        tensorboard=config.run.tensorboard,
    )
    fit(state, dataset, schedule, config.run, device, recorder, num_workers=config.data.num_workers)


def build_objective(config: Config) -> Any:
    """Return the untrained objective that a configuration describes, its weights drawn from `run.seed`."""
    data = config.data
    return config.objective.build(
        config.generator, config.discriminator, data.channels_a, data.channels_b, config.run.seed
    )


def publish_model(
    folder: Path,
    config: Config,
    names: dict[str, str],
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
    info = ModelInfo(directions=directions, domains=names, training=training, background=(red, green, blue))
    write_model(folder, info, {str(name): network for name, network in generators.items()})


def default_out(data: DataConfig) -> Path:
    """Return runs/NAME for the data: the folder's name, or "A to B" for two folders."""
    folders = [Path(folder).resolve().name for folder in (data.a, data.b) if folder]
    name = "2".join(folders) or Path(data.root).resolve().name
    return Path("runs") / name


def agree(folder: RunFolder, config: Config, domains: Domains) -> None:
    """Raise ConfigError or DataError unless a run in `folder` was started with these settings and these images."""
    if not folder.config.exists():
        return
    different = differences(read_yaml(Config, folder.config), config)
    if different:
        listed = "; ".join(str(difference) for difference in different)
        raise ConfigError(
            f"{folder.path} holds a run with other settings ({listed}); give the same ones to continue it, or another "
            "--out to start afresh."
        )
    if not folder.data.exists():
        return
    saved = json.loads(folder.data.read_text(encoding="utf-8"))
    for domain, now in domains.facts().items():
        if saved[domain]["fingerprint"] != now["fingerprint"]:
            raise DataError(
                f"The images of domain {domain} changed since {folder.path} was started ({saved[domain]['images']} "
                f"then, {now['images']} now in {now['folder']}); put them back to continue it, or give another --out."
            )


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
    )
