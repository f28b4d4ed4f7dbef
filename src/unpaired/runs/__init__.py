"""Runs: from a configuration to a trained model in a folder, and the progress of such a run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpaired.recipes import build_objective
    from unpaired.runs.configure import default_out
    from unpaired.runs.entry import train
    from unpaired.runs.resolvers import dry_run
    from unpaired.runs.standing import RunInfo, info

# Imported when first used: `info` reads files and needs no torch.
_HOMES = {
    "RunInfo": "unpaired.runs.standing",
    "build_objective": "unpaired.recipes",
    "default_out": "unpaired.runs.configure",
    "dry_run": "unpaired.runs.resolvers",
    "info": "unpaired.runs.standing",
    "train": "unpaired.runs.entry",
}

__all__ = ["RunInfo", "build_objective", "default_out", "dry_run", "info", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unpaired.runs' has no attribute {name!r}; it has {', '.join(__all__)}")
