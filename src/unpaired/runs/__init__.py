"""Runs: from a configuration to a trained model in a folder, and the progress of such a run."""

from unpaired.recipes import build_objective
from unpaired.runs.entry import default_out, train
from unpaired.runs.resolvers import dry_run
from unpaired.runs.standing import RunInfo, info

__all__ = ["RunInfo", "build_objective", "default_out", "dry_run", "info", "train"]
