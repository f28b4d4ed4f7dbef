"""The beginning of a run that starts from existing weights: they are copied, recorded, and saved as step 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unpaired.artifacts.checkpoint import save_checkpoint
from unpaired.artifacts.history import STARTED, History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.recipes import Config, build_objective
from unpaired.runs.taken_weights import start_from, taken_weights
from unpaired.training.state import TrainingState, copied


class Beginning:
    """Reads the weights that `config.start` names and compares them with the networks of the run.

    Raises ConfigError, ModelError or CheckpointError if they cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._start = config.start
        self._keep = config.run.keep_checkpoints
        self._taken = taken_weights(config, build_objective(config))

    def apply(self, state: TrainingState) -> None:
        """Copy the weights into the untrained `state`."""
        start_from(state, self._taken, self._start.parts)

    def record(self, folder: RunFolder, state: TrainingState, made_with: Mapping[str, Any]) -> None:
        """Write the start into the history, and the state as a checkpoint, so that the source is not read again."""
        history = History(folder.path)
        if not any(entry["kind"] == STARTED for entry in history.entries()):
            details = {"source": self._start.weights, "sha256": self._start.sha256}
            history.note(0, STARTED, self._taken.sentence(), **details)
        parts, counters = copied(state.parts()), state.counters()
        save_checkpoint(folder.checkpoints, parts, counters, log_lines=0, made_with=made_with, keep=self._keep)
