"""Rewinding a failing run to the last checkpoint before the failure, with other settings, recorded in its history.

Checkpoints are removed first and the entry is written last: after a crash in between, the run continues from that
checkpoint with its old settings, fails at the same step and rewinds again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from unpaired.artifacts.checkpoint import list_checkpoints, sweep
from unpaired.artifacts.history import History
from unpaired.config import flatten, option_name, override
from unpaired.storage import storage_error, sync_folder, write_bytes

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """A failure that a run shows now.

    ailment: its name. figure: the measurement, as part of a sentence. advice: the remedy in words. remedy: settings by
    their dotted path. healthy_until: the last step without a sign of it.
    """

    ailment: str
    figure: str
    advice: str
    remedy: dict[str, Any]
    healthy_until: int

    def sentence(self, step: int) -> str:
        """Return the sentence to report: name, measurement, remedy."""
        settings = " ".join(f"{option_name(key)} {value}" for key, value in self.remedy.items())
        return f"At step {step}, {self.ailment}: {self.figure}; remedy: {self.advice}{settings and f' ({settings})'}."


def go_back(run: Path, checkpoints: Path, finding: Finding, step: int, settings: Mapping[str, Any], every: int) -> str:
    """Remove the checkpoints since the failure was found at step `step`, and record its remedy; returns the sentence.

    every: steps between two regular checkpoints. Only these are used, since the result must not depend on an
    interruption, which saves one too. Without one the run restarts from the beginning.
    """
    usable = [_step(path) for path in list_checkpoints(checkpoints) if every and _step(path) % every == 0]
    target = max((each for each in usable if each <= finding.healthy_until), default=0)
    _remove_after(checkpoints, target)
    changed = {key: {"saved": settings[key], "given": value} for key, value in finding.remedy.items()}
    place = f"step {target}" if target else "the beginning"
    sentence = f"{finding.sentence(step)} The run was rewound to {place} and continues with this remedy."
    History(run).note(target, "remedy", sentence, ailment=finding.ailment, found_at=step, settings=changed)
    return sentence


def treated(history: History) -> set[str]:
    """Return the failures that the run was rewound for already: each is treated once."""
    return {entry["ailment"] for entry in history.entries() if entry["kind"] == "remedy"}


def remedied(config: T, entries: Sequence[Mapping[str, Any]]) -> T:
    """Return the configuration with the remedies of a history applied in order, unless they are in it already."""
    for entry in entries:
        if entry["kind"] == "remedy":
            now = flatten(config)
            if all(now[key] == change["saved"] for key, change in entry["settings"].items()):
                config = override(config, {key: change["given"] for key, change in entry["settings"].items()})
    return config


def num_kept(checkpoints: Path, least: int, healthy_until: int, every: int) -> int:
    """Return the number of newest checkpoints to keep so that they include a regular one up to step `healthy_until`."""
    if not every:
        return least
    steps = [_step(path) for path in list_checkpoints(checkpoints)]
    for count, step in enumerate(steps, start=1):
        if step <= healthy_until and step % every == 0:
            return max(least, count + 1)  # one more is about to be written
    return max(least, len(steps) + 1)


def _remove_after(checkpoints: Path, step: int) -> None:
    found = list_checkpoints(checkpoints)
    try:
        for path in found:
            if _step(path) > step:
                path.rename(checkpoints / f".trash-{path.name}-{secrets.token_hex(4)}")
        (checkpoints / "LATEST").unlink(missing_ok=True)
        kept = list_checkpoints(checkpoints)
        if kept:
            write_bytes(checkpoints / "LATEST", f"{kept[0].name}\n".encode(), sync=True)
        sync_folder(checkpoints)
    except OSError as error:
        raise storage_error(error, checkpoints) from None
    sweep(checkpoints)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
