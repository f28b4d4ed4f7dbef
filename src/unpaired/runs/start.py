"""Starts or continues a run: checks settings, images and folder against one another, and restores the state."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.artifacts.changes import Change, machine_change, ranks_change
from unpaired.artifacts.checkpoint import Checkpoint, list_checkpoints, load_newest, read_manifest
from unpaired.artifacts.history import History
from unpaired.artifacts.part_records import write_origins
from unpaired.artifacts.rank_recorder import share_state
from unpaired.artifacts.recorder import RunRecorder
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import encoded_images
from unpaired.artifacts.settings_file import recipe_line
from unpaired.config import flatten, from_dict, to_dict, to_yaml
from unpaired.data.domains import Domains, open_domains
from unpaired.data.scan_cache import remember
from unpaired.data.sources import ImageList
from unpaired.errors import CheckpointError, ConfigError, DataError
from unpaired.models.model_folder import GeneratorMode
from unpaired.monitoring.guardian import PROBE, Guardian
from unpaired.objectives.base import Direction
from unpaired.recipes import Config, build_objective
from unpaired.runs.agreement import agree, image_lists
from unpaired.runs.beginning import Beginning
from unpaired.runs.context import RunContext
from unpaired.runs.extending import with_restart
from unpaired.runs.publish import grid_scale, publish_model, training_scale
from unpaired.runs.resolvers import inspected, resolved, scanned
from unpaired.runs.trial_step import try_own_parts
from unpaired.runs.validation_setup import Validation, ValidationSet, describe_selection, open_selection
from unpaired.selection.best_weights import CheckpointSelection
from unpaired.selection.early_stopping import RESUMED, early_stopping_reason, with_early_stopping
from unpaired.storage import printable, shown, write_bytes
from unpaired.training.machine import made_with
from unpaired.training.schedule import Schedule
from unpaired.training.state import TrainingState

_log = logging.getLogger("unpaired")


@dataclass(frozen=True)
class Start:
    """Everything that training starts from. Only rank 0 has a recorder, and a guardian and validation if enabled."""

    config: Config
    domains: Domains
    state: TrainingState
    schedule: Schedule
    recorder: RunRecorder | None = None
    guardian: Guardian | None = None
    validation: Validation | None = None


def first_start(config: Config, context: RunContext, held: ExitStack) -> Start:
    """Check settings, images and folder against one another, and restore the state of the run.

    The folder is locked in `held` before an image is read, so that the second of two trainers fails at once.
    """
    folder, device, allowed = context.folder, context.device, context.allowed
    held.enter_context(folder.lock())
    known = inspected(config, context)
    config = with_restart(config, known.started, folder, allowed.extend)
    config, domains = resolved(config, known), known.domains
    assert domains is not None
    images = image_lists(domains)
    changes = agree(
        folder, config, domains, images, data=allowed.data, settings=allowed.settings, extend=allowed.extend
    )
    if any(change.kind == "data" for change in changes):
        domains = scanned(config, domains)
        images = image_lists(domains)
    for source in domains.training_sources():
        remember(source, config.data.background)
    if not list_checkpoints(folder.checkpoints):
        try_own_parts(config, device)
    state = TrainingState(build_objective(config).to(device), config.optimizer)
    begun = Beginning(config) if config.start.weights and not list_checkpoints(folder.checkpoints) else None
    folder.create()
    newest = _restore(folder, state, allowed.strict, changes)
    if newest is None and config.start.weights:
        begun = begun or Beginning(config)
        begun.apply(state)
    entries = _history_so_far(folder, config, state)
    entries += [{"kind": change.kind} for change in changes]  # noted below, once nothing can fail any more
    schedule = with_early_stopping(schedule_of(config, domains), entries)
    unfinished = state.step < schedule.num_steps
    if unfinished and newest is not None:
        before = read_manifest(list_checkpoints(folder.checkpoints)[0])["made_with"]
        now = made_with(device, config.run)
        changes += ranks_change(str(folder.path), before, now, allowed=allowed.ranks)
        changes += machine_change(before, now)
    folder.rewind(newest.log_lines if newest is not None else 0, state.step)
    settings = to_yaml(config)
    if unfinished:
        _record(config, settings, domains, images, folder, state, changes, context.recipe)
        if begun is not None:
            begun.record(folder, state, made_with(device, config.run))
    opened = open_selection(config, domains, folder, state, newest, device, training=unfinished)
    start = Start(config, domains, state, schedule)
    recorder = _recorder(start, settings, context, opened)
    recorder.guardian = _guardian(start, context, recorder) if unfinished else None
    validation = Validation(opened[0], schedule, config.run, folder.path) if opened else None
    return replace(start, recorder=recorder, guardian=recorder.guardian, validation=validation)


def _history_so_far(folder: RunFolder, config: Config, state: TrainingState) -> list[dict[str, Any]]:
    """Return the history up to the step of the state; add an entry if a run continues after early stopping."""
    history = History(folder.path)
    if config.run.stop_when_flat is False and early_stopping_reason(history.up_to(state.step)):
        history.note(state.step, RESUMED, f"At step {state.step} the run continued after early stopping.")
    return history.up_to(state.step)


def _guardian(start: Start, context: RunContext, recorder: RunRecorder) -> Guardian | None:
    """Return the guardian of the run, unless it is off."""
    config, state = start.config, start.state
    if config.run.guardian == "off" or config.run.guardian_every == 0:
        return None

    def note(step: int, sentence: str) -> None:
        recorder.event(step, "guardian", sentence)
        _log.warning(printable(sentence))

    probe = start.domains.previews(config.data, config.run.seed).preview(min(PROBE, config.run.num_samples))
    rewind = config.run.guardian == "rewind"
    settings = flatten(config)
    return Guardian(context.folder.path, state.step, probe.to(context.device), settings, rewind=rewind, note=note)


def broadcast_start(start: Start | None, device: torch.device) -> Start:
    """Return the start of rank 0 on every rank: the same settings, images and state."""
    if ranks.world_size() == 1:
        assert start is not None
        return start
    shared = None
    if start is not None:
        shorter = {"decay_from": start.schedule.decay_from, "end": start.schedule.end}
        shared = {"config": to_dict(start.config), "data": start.domains.facts(), "shorter": shorter}
    shared = json.loads(ranks.broadcast_bytes(json.dumps(shared).encode()))
    if start is None:
        config = from_dict(Config, shared["config"])
        domains = open_domains(config.data).without(shared["data"], config.data)
        state = TrainingState(build_objective(config).to(device), config.optimizer)
        start = Start(config, domains, state, replace(schedule_of(config, domains), **shared["shorter"]))
        for domain, facts in domains.facts().items():
            if facts["fingerprint"] != shared["data"][domain]["fingerprint"]:
                raise DataError(
                    f"The images of domain {domain} are not those of rank 0 ({facts['images']} here, "
                    f"{shared['data'][domain]['images']} there); give every machine the same folders."
                )
    share_state(start.state)
    ranks.require_same(json.dumps(_versions(device)), "The version of torch, the GPU or the processor")
    return start


def _versions(device: torch.device) -> dict[str, str | int]:
    """Return the versions that must be equal on all ranks, so that their states stay equal."""
    facts = made_with(device)
    return {key: facts[key] for key in ("unpaired", "torch", "instructions", "gpu") if key in facts}


def _restore(folder: RunFolder, state: TrainingState, strict: bool, changes: list[Change]) -> Checkpoint | None:
    """Restore `state` from the folder's newest undamaged checkpoint, and return it; None if there is none."""
    newest, warnings = load_newest(folder.checkpoints, strict=strict)
    for warning in warnings:
        _log.warning(printable(warning))
    if newest is None:
        return None
    try:
        state.restore(newest.parts, newest.counters)
    except CheckpointError as error:
        if not any(change.kind == "settings" for change in changes):
            raise
        raise ConfigError(
            f"{folder.path} cannot continue with these settings, --allow-config-change or not: {error}"
        ) from None
    return newest


def _record(
    config: Config,
    settings: str,
    domains: Domains,
    images: dict[str, ImageList],
    folder: RunFolder,
    state: TrainingState,
    changes: list[Change],
    recipe: str,
) -> None:
    """Write the settings and images of the run; its history keeps the changes to those before.

    settings: those of `config`, as YAML.
    """
    history = History(folder.path)
    history.rewind(state.step)
    for change in changes:
        _log.warning(printable(change.sentence))
        history.note(state.step, change.kind, change.sentence, **change.details)
    write_bytes(folder.images, encoded_images(images), sync=True)
    write_bytes(folder.data, (json.dumps(domains.facts(), indent=1) + "\n").encode(), sync=True)
    write_origins(folder, config)
    write_bytes(folder.config, (recipe_line(recipe) + settings).encode(), sync=True)


def _recorder(
    start: Start, settings: str, context: RunContext, opened: tuple[CheckpointSelection, ValidationSet] | None
) -> RunRecorder:
    """Return the recorder of the folder, which is locked and rewound to the state; log the step of the state."""
    config, domains, state, schedule = start.config, start.domains, start.state, start.schedule
    folder, device = context.folder, context.device
    finished, place = state.step >= schedule.num_steps, f"{state.step} of {schedule.num_steps}"
    if finished and schedule.end is not None:
        ended = early_stopping_reason(History(folder.path).entries())
        _log.info(f"This run was stopped early. {ended} --no-stop-when-flat continues it.")
    elif finished:
        _log.info(f"This run is finished: {place} steps are done.")
    else:
        what = "Continuing" if state.step else "Training"
        _log.info(f"{what} at step {place} in {shown(folder.path)}; open {shown(folder.report)} in a browser.")
    preview = domains.previews(config.data, config.run.seed)
    scale = training_scale(config, domains)
    facts = {
        "config": settings,
        "data": domains.facts(),
        "machine": made_with(device, config.run),
        "scale": grid_scale(scale),
    }

    def publish(generators: dict[Direction, dict[str, Tensor]], step: int, run_step: int) -> Callable[[], None]:
        mode: GeneratorMode = "training" if state.objective.uses_training_mode else "evaluation"
        chosen = describe_selection(*opened, History(folder.path).up_to(run_step), run_step) if opened else None
        return partial(publish_model, folder.model, config, domains, generators, step, mode, chosen, scale)

    recorder = RunRecorder(
        folder,
        preview.preview(config.run.num_samples).to(device),
        names=domains.names,
        facts=facts,
        publish=publish,
        listener=context.listener,
        keep_checkpoints=config.run.keep_checkpoints,
        tensorboard=config.run.tensorboard and not finished,
        selection=None if opened is None else opened[0],
    )
    if state.step:
        recorder.catch_up(state)
    return recorder


def schedule_of(config: Config, domains: Domains) -> Schedule:
    """Return the schedule as configured."""
    return Schedule(config.schedule, domains.dataset(config.data, config.run.seed).length, config.data.batch_size)
