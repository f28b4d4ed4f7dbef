"""Runs: from a configuration to a trained model in a folder, and where such a folder stands."""

from unpaired.recipes import build_objective
from unpaired.runs.run import default_out, train
from unpaired.runs.standing import RunInfo, info

__all__ = ["RunInfo", "build_objective", "default_out", "info", "train"]
