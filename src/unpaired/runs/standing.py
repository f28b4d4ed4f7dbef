"""The progress and the properties of a run, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unpaired.artifacts.checkpoint import list_checkpoints, read_manifest
from unpaired.artifacts.history import OF_STEPS, History
from unpaired.artifacts.part_records import read_config
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import read_data
from unpaired.config import to_dict
from unpaired.errors import DataError
from unpaired.selection.early_stopping import early_stopping_reason, with_early_stopping
from unpaired.storage import at_home, shown
from unpaired.training.schedule import Schedule


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

    @property
    def finished(self) -> bool:
        """Whether the run has taken all its steps."""
        return self.step >= self.num_steps


def info(path: str | Path) -> RunInfo:
    """Return the RunInfo of the run in a folder; raises DataError if the folder holds no run."""
    folder = RunFolder(at_home(path))
    if folder.config.exists() and not folder.data.exists():
        raise DataError(
            f"{shown(folder.path)} lacks data.json, the record of its images; continue the run or copy it again."
        )
    if not folder.config.exists():
        raise DataError(
            f"{shown(folder.path)} holds no run (no config.yaml); give the folder that `unpaired train` wrote."
        )
    config = read_config(folder)
    data = read_data(folder)
    length = max(facts["images"] for facts in data.values())
    checkpoints = list_checkpoints(folder.checkpoints)
    manifest: dict[str, Any] = read_manifest(checkpoints[0]) if checkpoints else {"step": 0, "state_sha256": ""}
    entries = History(folder.path).up_to(manifest["step"])
    schedule = with_early_stopping(Schedule(config.schedule, length, config.data.batch_size), entries)
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
        bit_exact=all(entry["kind"] in OF_STEPS for entry in entries),
        ended=early_stopping_reason(entries),
    )
