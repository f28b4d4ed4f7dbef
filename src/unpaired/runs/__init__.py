"""Runs: from a configuration to a trained model in a folder, and where such a folder stands."""

from unpaired.runs.run import default_out, train
from unpaired.runs.standing import RunInfo, info
from unpaired.runs.start import build_objective

__all__ = ["RunInfo", "build_objective", "default_out", "info", "train"]
