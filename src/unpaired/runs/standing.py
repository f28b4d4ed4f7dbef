"""The progress and the properties of a run, read from its folder without torch, at any length of its log."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from unpaired.artifacts.history import OF_STEPS, STARTED, History
from unpaired.artifacts.locks import is_locked
from unpaired.artifacts.log_ends import log_ends
from unpaired.artifacts.manifests import list_checkpoints, read_manifest
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import read_data
from unpaired.artifacts.settings_file import read_settings, recorded_recipe, schedule_in
from unpaired.errors import CheckpointError, DataError
from unpaired.selection.early_stopping import early_stopping_reason, with_early_stopping
from unpaired.storage import at_home, printable, shown
from unpaired.training.schedule import Schedule

_log = logging.getLogger("unpaired")

State = Literal["new", "training", "stopped", "finished", "finished early"]

_FRESH = 60.0  # seconds
_RECENT = 20  # logged steps whose median is the speed


@dataclass(frozen=True)
class RunInfo:
    """The progress and the properties of a run."""

    path: Path
    """Folder of the run, as it was given."""
    step: int
    """Step of the newest checkpoint; 0 before the first."""
    num_steps: int
    """Steps of the whole run, as scheduled or as shortened by early stopping."""
    epoch: int
    """Epoch of that step, from 1."""
    state_sha256: str
    """Hash over all state of the newest checkpoint; empty before the first."""
    domains: dict[str, str]
    """Names of the domains, by A and B."""
    objective: str
    """Kind of the training method, e.g. cyclegan."""
    num_images: dict[str, int]
    """Number of training images, by A and B; 0 for noise."""
    losses: dict[str, float]
    """Weighted loss terms of the last logged step, by name; empty before the first."""
    has_model: bool
    """Whether there is a model folder to translate with."""
    bit_exact: bool
    """Whether its settings, images and machine have been the same from the start."""
    ended: str = ""
    """Reason for an end ahead of the schedule, as a sentence; empty if there is none."""
    state: State = "new"
    """new: neither a logged step nor a checkpoint yet; training: a process trains in it; stopped: the same command
    continues it; finished; finished early: by early stopping.
    """
    recipe: str = ""
    """Recipe of its command; empty if it was started from a configuration, or by an earlier version."""
    device: str = ""
    """Device of the newest checkpoint: the name of the GPU or the processor."""
    started: str = ""
    """Local time of its start as in 2026-12-01 09:30; empty before the first logged step."""
    updated: str = ""
    """Local time of the last logged step."""
    logged_step: int = 0
    """The last logged step."""
    images_per_second: float = 0.0
    """Images of a domain per second, the median of the last logged steps; 0 if unknown."""
    steps_per_second: float = 0.0
    """Steps per second, likewise."""
    seconds_left: float | None = None
    """Estimate of the seconds that the rest takes at that speed; None if unknown, 0 at the end."""

    @property
    def finished(self) -> bool:
        """Whether the run has taken all its steps."""
        return self.step >= self.num_steps


def info(path: str | Path) -> RunInfo:
    """Return the RunInfo of the run in a folder.

    Raises DataError if the folder holds no run, MissingPartError if a part of it is not installed here.
    """
    folder = RunFolder(at_home(path))
    if not (folder.config.exists() and folder.data.exists()):
        refuse_starting(folder)
    if folder.config.exists() and not folder.data.exists():
        raise DataError(
            f"{shown(folder.path)} lacks data.json, the record of its images; continue the run or copy it again."
        )
    if not folder.config.exists():
        raise DataError(
            f"{shown(folder.path)} holds no run (no config.yaml); give the folder that `unpaired train` wrote."
        )
    _require_parts(folder)
    settings, data = read_settings(folder), read_data(folder)
    length = max(facts["images"] for facts in data.values())
    manifest = _newest_manifest(folder)
    entries = History(folder.path).up_to(manifest["step"])
    config, batch = schedule_in(settings)
    schedule = with_early_stopping(Schedule(config, length, batch), entries)
    first, last = log_ends(folder.log)
    step: int = manifest["step"]
    ended = early_stopping_reason(entries)
    finished = step >= schedule.num_steps
    state = ("finished early" if ended else "finished") if finished else _state(folder, last, step)
    logged = int(last[-1]["step"]) if last else 0
    speed = _speed(last)
    reached = logged if state == "training" else step
    left = 0.0 if finished else (schedule.num_steps - reached) * batch / speed if speed else None
    return RunInfo(
        path=folder.path,
        step=step,
        num_steps=schedule.num_steps,
        epoch=schedule.epoch(max(step, 1)),
        state_sha256=manifest["state_sha256"],
        domains={domain: facts["name"] for domain, facts in data.items()},
        objective=str(settings.get("objective", {}).get("kind", "cyclegan")),
        num_images={domain: facts["images"] for domain, facts in data.items()},
        losses=last[-1].get("losses", {}) if last else {},
        has_model=folder.model.is_dir(),
        bit_exact=all(entry["kind"] in (*OF_STEPS, STARTED) for entry in entries),
        ended=ended,
        state=state,
        recipe=recorded_recipe(folder),
        device=_device(manifest.get("made_with", {})),
        started=_local(first[0], -_number(first[0], "seconds")) if first else "",
        updated=_local(last[-1]) if last else "",
        logged_step=logged,
        images_per_second=speed,
        steps_per_second=speed / batch,
        seconds_left=left,
    )


def _newest_manifest(folder: RunFolder) -> dict[str, Any]:
    """Return the manifest of the newest checkpoint that has an undamaged one; log a warning for each damaged one."""
    for checkpoint in list_checkpoints(folder.checkpoints):
        try:
            return read_manifest(checkpoint)
        except CheckpointError as error:
            if checkpoint.exists():  # not deleted meanwhile by a run that trains
                _log.warning(printable(f"{error} Continuing the run sets this checkpoint aside."))
    return {"step": 0, "state_sha256": ""}


def _require_parts(folder: RunFolder) -> None:
    """Raise MissingPartError if the run has parts of its user or of a package that are not installed here.

    Only such a run has parts.json, and only for it the registries are imported, and torch with them.
    """
    if folder.parts.exists():
        from unpaired.artifacts.part_records import read_config

        read_config(folder)


def refuse_starting(folder: RunFolder) -> None:
    """Raise DataError if a process scans images for a run that it has not written to this folder yet."""
    if is_locked(folder.lock_file):
        raise DataError(f"The run in {shown(folder.path)} is starting and scans its images; try again in a while.")


def _state(folder: RunFolder, last: Sequence[Mapping[str, Any]], step: int) -> State:
    """Return the state of an unfinished run; without a list of locks it trains if it logged a step within a minute.

    step: that of the newest checkpoint, 0 without one.
    """
    locked = is_locked(folder.lock_file)
    if locked is None and last:
        locked = time.time() - folder.log.stat().st_mtime < _FRESH
    if locked:
        return "training"
    return "stopped" if last or step else "new"


def logged_speed(log: Path) -> float:
    """Return the images per second of the last steps in a log.jsonl, 0 if unknown. Raises StorageError."""
    return _speed(log_ends(log)[1])


def _speed(records: Sequence[Mapping[str, Any]]) -> float:
    """Return the median images per second of the last records, 0 without any."""
    speeds = [_number(record, "images_per_second") for record in records[-_RECENT:]]
    return statistics.median([speed for speed in speeds if speed > 0] or [0.0])


def _device(made_with: Mapping[str, Any]) -> str:
    device, name = made_with.get("device", ""), made_with.get("gpu") or made_with.get("processor")
    return f"{device} ({name})" if device and name else str(device)


def _local(record: Mapping[str, Any], seconds: float = 0.0) -> str:
    """Return the local time of a record, moved by some seconds; "" if it has none."""
    try:
        at = datetime.fromisoformat(record["time"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return (at + timedelta(seconds=seconds)).astimezone().strftime("%Y-%m-%d %H:%M")
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""


def _number(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key, 0.0)
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e12 else 0.0
