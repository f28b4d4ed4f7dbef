"""All that training goes on from: settings, images and folder checked against one another, the state put in place."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from unpaired import ranks
from unpaired.artifacts.changes import Change, machine_change, ranks_change
from unpaired.artifacts.checkpoint import Checkpoint, list_checkpoints, load_newest, read_manifest
from unpaired.artifacts.history import History
from unpaired.artifacts.part_records import write_origins
from unpaired.artifacts.rank_recorder import share_state
from unpaired.artifacts.recorder import RunRecorder
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import flatten, from_dict, to_dict, to_yaml
from unpaired.data.domains import Domains, open_domains
from unpaired.data.sources import ImageList
from unpaired.errors import CheckpointError, ConfigError, DataError
from unpaired.models.model_folder import GeneratorMode
from unpaired.monitoring.guardian import PROBE, Guardian
from unpaired.objectives.base import Direction
from unpaired.recipes import Config, build_objective
from unpaired.runs.agreement import agree, image_lists
from unpaired.runs.context import RunContext
from unpaired.runs.publish import publish_model
from unpaired.runs.resolvers import inspected, resolved, scanned
from unpaired.runs.validation_setup import Listing, Validation, how_chosen, open_choice
from unpaired.selection.best_weights import Choice
from unpaired.selection.early_stopping import RESUMED, ended_early, shortened
from unpaired.storage import write_bytes
from unpaired.training.loop import Recorder
from unpaired.training.machine import made_with
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState

_log = logging.getLogger("unpaired")


@dataclass(frozen=True)
class Start:
    """All that training goes on from; recorder, and guardian and validation if there are any: rank 0's."""

    config: Config
    domains: Domains
    state: TrainingState
    schedule: Schedule
    recorder: Recorder | None = None
    guardian: Guardian | None = None
    validation: Validation | None = None


def first_start(config: Config, context: RunContext, held: ExitStack) -> Start:
    """Check settings, images and folder against one another, and put the state where the run stands.

    `held` keeps the folder locked, from before an image is read, so that of two trainers the second leaves at once.
    """
    folder, device, allowed = context.folder, context.device, context.allowed
    held.enter_context(folder.lock())
    known = inspected(config, context)
    config, domains = resolved(config, known), known.domains
    assert domains is not None
    images = image_lists(domains)
    changes = agree(folder, config, domains, images, data=allowed.data, settings=allowed.settings)
    if any(change.kind == "data" for change in changes):
        domains = scanned(config, domains)
        images = image_lists(domains)
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    folder.create()
    newest = _restore(folder, state, allowed.strict, changes)
    schedule = shortened(schedule_of(config, domains), _lengthened(folder, config, state))
    unfinished = state.step < schedule.num_steps
    if unfinished and newest is not None:
        before = read_manifest(list_checkpoints(folder.checkpoints)[0])["made_with"]
        now = made_with(device, config.run)
        changes += ranks_change(str(folder.path), before, now, allowed=allowed.ranks)
        changes += machine_change(before, now)
    folder.rewind(newest.log_lines if newest is not None else 0, state.step)
    if unfinished:
        _record(config, domains, images, folder, state, changes)
    opened = open_choice(config, domains, folder, state, newest, device, training=unfinished)
    start = Start(config, domains, state, schedule)
    recorder = _recorder(start, context, opened)
    recorder.guardian = _guardian(start, context, recorder) if unfinished else None
    validation = Validation(opened[0], schedule, config.run, folder.path) if opened else None
    return replace(start, recorder=recorder, guardian=recorder.guardian, validation=validation)


def _lengthened(folder: RunFolder, config: Config, state: TrainingState) -> list[dict[str, Any]]:
    """Return the history up to the step of the state; note there that a run which ended early is to go on after all."""
    history = History(folder.path)
    if config.run.stop_when_flat is False and ended_early(history.up_to(state.step)):
        history.note(state.step, RESUMED, f"At step {state.step} the run went on, though it had ended there.")
    return history.up_to(state.step)


def _guardian(start: Start, context: RunContext, recorder: RunRecorder) -> Guardian | None:
    """Return the guardian of the run, unless it is off."""
    config, state = start.config, start.state
    if config.run.guardian == "off" or config.run.guardian_every == 0:
        return None

    def note(step: int, sentence: str) -> None:
        recorder.event(step, "guardian", sentence)
        _log.warning(sentence)

    probe = start.domains.previews(config.data, config.run.seed).preview(min(PROBE, config.run.num_samples))
    rewind = config.run.guardian == "rewind"
    settings = flatten(config)
    return Guardian(context.folder.path, state.step, probe.to(context.device), settings, rewind=rewind, note=note)


def same_start(start: Start | None, device: torch.device) -> Start:
    """Return what rank 0 goes on from, on every rank: the same settings, images and state."""
    if ranks.world_size() == 1:
        assert start is not None
        return start
    told = None
    if start is not None:
        shorter = {"decay_from": start.schedule.decay_from, "end": start.schedule.end}
        told = {"config": to_dict(start.config), "data": start.domains.facts(), "shorter": shorter}
    told = json.loads(ranks.broadcast_bytes(json.dumps(told).encode()))
    if start is None:
        config = from_dict(Config, told["config"])
        domains = open_domains(config.data).without(told["data"], config.data)
        state = TrainingState(build_objective(config).to(device), config.optimizer)
        start = Start(config, domains, state, replace(schedule_of(config, domains), **told["shorter"]))
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


def _restore(folder: RunFolder, state: TrainingState, strict: bool, changes: list[Change]) -> Checkpoint | None:
    """Put `state` where the folder's newest whole checkpoint is, and return that; None where there is none."""
    newest, warnings = load_newest(folder.checkpoints, strict=strict)
    for warning in warnings:
        _log.warning(warning)
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
) -> None:
    """Write what the run is made with from now on; what it was made with before is kept in its history."""
    history = History(folder.path)
    history.rewind(state.step)
    for change in changes:
        _log.warning(change.sentence)
        history.note(state.step, change.kind, change.sentence, **change.details)
    write_bytes(folder.images, (json.dumps(images) + "\n").encode(), sync=True)
    write_bytes(folder.data, (json.dumps(domains.facts(), indent=1) + "\n").encode(), sync=True)
    write_origins(folder, config)
    write_bytes(folder.config, to_yaml(config).encode(), sync=True)


def _recorder(start: Start, context: RunContext, opened: tuple[Choice, Listing] | None) -> RunRecorder:
    """Return what writes the folder, which is locked and cut back to where the state is; log where that is."""
    config, domains, state, schedule = start.config, start.domains, start.state, start.schedule
    folder, device = context.folder, context.device
    finished, place = state.step >= schedule.num_steps, f"{state.step} of {schedule.num_steps}"
    if finished and schedule.end is not None:
        ended = ended_early(History(folder.path).entries())
        _log.info(f"This run has ended. {ended} --no-stop-when-flat goes on with it.")
    elif finished:
        _log.info(f"This run is finished: {place} steps are done.")
    else:
        _log.info(f"{'Continuing' if state.step else 'Training'} at step {place} in {folder.path}")
    preview = domains.previews(config.data, config.run.seed)
    facts = {
        "config": to_yaml(config),
        "data": domains.facts(),
        "machine": made_with(device, config.run),
    }

    def publish(generators: dict[Direction, nn.Module], step: int, run_step: int) -> None:
        mode: GeneratorMode = "training" if state.objective.uses_training_mode else "evaluation"
        chosen = how_chosen(*opened, History(folder.path).up_to(run_step), run_step) if opened else None
        publish_model(folder.model, config, domains, generators, step, mode, chosen)

    recorder = RunRecorder(
        folder,
        preview.preview(config.run.num_samples).to(device),
        names=domains.names,
        facts=facts,
        publish=publish,
        listener=context.listener,
        keep_checkpoints=config.run.keep_checkpoints,
        tensorboard=config.run.tensorboard and not finished,
        choice=None if opened is None else opened[0],
    )
    if state.step:
        recorder.catch_up(state)
    return recorder


def schedule_of(config: Config, domains: Domains) -> Schedule:
    """Return the schedule as configured."""
    return Schedule(config.schedule, domains.dataset(config.data, config.run.seed).length, config.data.batch_size)
