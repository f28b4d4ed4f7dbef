"""Makes a finished run longer, with the rate of the longer schedule or with a new schedule for the new steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from unpaired.artifacts.changes import Change
from unpaired.artifacts.manifests import list_checkpoints, step_of
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import Difference, require
from unpaired.recipes import Config
from unpaired.selection.early_stopping import EXTENDED
from unpaired.storage import shown
from unpaired.training.schedule import Schedule

Extension = Literal["", "keep", "restart"]


def with_restart(config: Config, started: Config | None, folder: RunFolder, extend: Extension) -> Config:
    """Return the settings with the step after which the schedule begins anew, that of the newest checkpoint.

    A run that was interrupted after the restart keeps its step. Raises ConfigError if there is no run to extend.
    """
    if not extend:
        return config
    checkpoints = list_checkpoints(folder.checkpoints)
    if started is None or not checkpoints:
        require(False, f"--extend makes a finished run longer, and {shown(folder.path)} holds none; leave it out.")
    assert started is not None
    before = started.schedule.restart_after
    if extend == "keep" or not _longer(config, started):
        return replace(config, schedule=replace(config.schedule, restart_after=before))
    return replace(config, schedule=replace(config.schedule, restart_after=step_of(checkpoints[0])))


def _longer(config: Config, started: Config) -> bool:
    """Return whether the lengths differ, apart from a restart."""
    return replace(config.schedule, restart_after=None) != replace(started.schedule, restart_after=None)


def split(different: Sequence[Difference], extend: Extension) -> tuple[list[Difference], list[Difference]]:
    """Return the differences that an extension allows, those of the schedule, and the others."""
    ours = [each for each in different if extend and each.key.startswith("schedule.")]
    return ours, [each for each in different if each not in ours]


def extension_change(
    folder: RunFolder, different: Sequence[Difference], before: Schedule, after: Schedule
) -> list[Change]:
    """Return the change of the schedule, none without differences.

    before, after: the schedules with the saved and the given settings; before: as shortened by early stopping.
    Raises ConfigError if the run is not finished, or would not be longer.
    """
    if not different:
        return []
    checkpoints = list_checkpoints(folder.checkpoints)
    step = step_of(checkpoints[0]) if checkpoints else 0
    require(
        step >= before.num_steps,
        f"{shown(folder.path)} is not finished (step {step} of {before.num_steps}); finish it with its own command "
        "first, or change its schedule with --allow-config-change.",
    )
    require(
        after.num_steps > step,
        f"{shown(folder.path)} has {step} steps already, so {after.num_steps} would not be more; give a larger --steps "
        "or --epochs, the length of the whole run.",
    )
    rate = after.multiplier(step + 1)
    sentence = (
        f"The finished run was extended from {step} to {after.num_steps} steps, with a new schedule for the "
        f"{after.num_steps - step} steps: the full rate, then its decay from step {after.decays_after} on."
        if after.config.restart_after == step
        else f"The finished run was extended from {step} to {after.num_steps} steps, with the rate that the longer "
        f"schedule has: {rate:.0%} of the full rate at step {step + 1}."
    )
    details: dict[str, Any] = {each.key: {"saved": each.saved, "given": each.given} for each in different}
    return [Change(EXTENDED, sentence, {"settings": details})]
