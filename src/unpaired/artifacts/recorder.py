"""Writes the files of a run while it trains: log lines, sample grids, checkpoints, the model, the report page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unpaired.artifacts.checkpoint import save_checkpoint, sweep
from unpaired.artifacts.history import ALARMS, History
from unpaired.artifacts.report import write_report
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.samples import draw_samples, write_samples
from unpaired.data.datasets import Batch
from unpaired.errors import MissingExtraError
from unpaired.live_line import rewrite
from unpaired.models.model_folder import sweep_model
from unpaired.objectives.base import Direction, samples_with_masks
from unpaired.randomness import torch_seeded
from unpaired.selection.early_stopping import early_stopping_reason, had_plateau
from unpaired.selection.validation import StepEvaluation, read_evaluations
from unpaired.training.inference_weights import ema_weights, inference_mode
from unpaired.training.machine import peak_memory
from unpaired.training.progress import Progress
from unpaired.training.state import TrainingState
from unpaired.words import duration

TRAINING = "training"
"""The state of a run that goes on, in its report."""

# Between sample grids the report is written again at a logged step, so that a page that reloads itself has news.
_FIRST_REPORT, _LEAST_SPACING = 20.0, 60.0  # seconds
_TIMES = 300  # times its own duration that must pass: a third of a percent of the run


class Guardian(Protocol):
    """The part of the guardian that the recorder needs."""

    @property
    def ailments(self) -> list[str]:
        """Return the names of the present failures."""
        ...

    def num_kept(self, checkpoints: Path, least: int) -> int:
        """Return the number of checkpoints to keep, at least `least`, so that there is one to rewind to."""
        ...


class CheckpointSelection(Protocol):
    """The part of checkpoint selection that the recorder needs."""

    evaluations: list[StepEvaluation]
    best: StepEvaluation | None

    @property
    def selected(self) -> StepEvaluation | None:
        """Return the evaluation of the step to publish in model/; None for the last step."""
        ...

    def to_save(self, step: int) -> dict[str, Tensor]:
        """Return the weights that a checkpoint of a step holds besides its state."""
        ...

    def applied(self, state: TrainingState) -> AbstractContextManager[int]:
        """Load the weights to publish into the translators for the duration of the block; yield their step."""
        ...


Publish = Callable[[dict[Direction, nn.Module], int, int], None]
"""Writes the model folder from the generators, the step of their weights, and the present step of the run."""


class RunRecorder:
    """The loop's Recorder for a run folder.

    names: the names of the domains, by "A" and "B".
    facts: the sections "config" (YAML text), "data" and "machine" of the report.
    publish: writes model/.
    listener: called with each logged step, e.g. to print it.
    selection: the checkpoint selection, if the run has validation.
    """

    def __init__(
        self,
        folder: RunFolder,
        preview: Batch,
        *,
        names: Mapping[str, str],
        facts: Mapping[str, Any],
        publish: Publish,
        listener: Callable[[Progress], None],
        keep_checkpoints: int,
        tensorboard: bool = False,
        selection: CheckpointSelection | None = None,
    ) -> None:
        self._folder, self._preview, self._names, self._facts = folder, preview, names, facts
        self._publish, self._listener, self._keep = publish, listener, keep_checkpoints
        self._history = History(folder.path)
        records = folder.records()
        self._num_lines = len(folder.lines())
        self._latest = _progress_of(records[-1]) if records else None
        next_step = self._latest.step + 1 if self._latest else 0
        self._board = _summary_writer(folder, next_step) if tensorboard else None
        self._selection = selection
        self.guardian: Guardian | None = None
        self._next_report = time.monotonic() + _FIRST_REPORT

    def progress(self, progress: Progress) -> None:
        """Write a line of log.jsonl and TensorBoard's scalars (if enabled), and call the listener."""
        record = {
            **{key: _rounded(value) for key, value in asdict(progress).items()},
            "peak_memory": peak_memory(self._preview.b.device),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        if self.guardian is not None and self.guardian.ailments:
            record["ailments"] = self.guardian.ailments
        self._folder.append(record)
        self._num_lines += 1
        self._latest = progress
        if self._board is not None:
            for name, value in progress.losses.items():
                self._board.add_scalar(f"loss/{name}", value, progress.step)
            self._board.add_scalar("learning_rate", progress.learning_rate, progress.step)
            self._board.add_scalar("images_per_second", progress.images_per_second, progress.step)
        self._listener(progress)
        if time.monotonic() >= self._next_report:
            self.report(TRAINING)

    def sample(self, state: TrainingState) -> None:
        """Draw real | fake | reconstructed | identity of the preview images, with the EMA weights if there are any."""
        rewrite("Drawing the sample grid")
        with ema_weights(state), inference_mode(state.objective), torch_seeded(0, "samples"):
            samples = samples_with_masks(state.objective, self._preview)
        grid = draw_samples(samples, names=self._names, caption=f"step {state.step}")
        write_samples(self._folder.sample(state.step), grid)
        if self._board is not None:
            pixels = torch.frombuffer(bytearray(grid.convert("RGB").tobytes()), dtype=torch.uint8)
            self._board.add_image("samples", pixels.view(grid.height, grid.width, 3), state.step, dataformats="HWC")
        self.report(TRAINING)

    def event(self, step: int, kind: str, sentence: str) -> None:
        """Write a line of history.jsonl."""
        self._history.note(step, kind, sentence)

    def checkpoint(self, state: TrainingState) -> None:
        """Save the state, then refresh the report, then publish the generators as the model folder."""
        self._folder.sync_log()
        save_checkpoint(
            self._folder.checkpoints,
            state.parts(),
            state.counters(),
            log_lines=self._num_lines,
            made_with=self._facts["machine"],
            keep=self._keep if self.guardian is None else self.guardian.num_kept(self._folder.checkpoints, self._keep),
            best_step=None if self._selection is None or self._selection.best is None else self._selection.best.step,
            best=None if self._selection is None else self._selection.to_save(state.step),
        )
        self._show(state)

    def catch_up(self, state: TrainingState) -> None:
        """Refresh report and model if a crash came after the checkpoint of `state` and before them.

        Removes leftovers of the crash too, since a finished run saves nothing more.
        """
        sweep(self._folder.checkpoints)
        sweep_model(self._folder.model)
        chosen = None if self._selection is None else self._selection.selected
        counted = chosen is not None or (self._selection is not None and had_plateau(self._history.up_to(state.step)))
        if self._published() != (state.step if chosen is None else chosen.step, state.step, counted):
            self._show(state)

    def _show(self, state: TrainingState) -> None:
        # The model comes last, so that its step proves that all of this was done.
        finished = self._latest is not None and state.step == self._latest.num_steps
        early = early_stopping_reason(self._history.entries())
        self.report("finished early" if early else "finished" if finished else TRAINING)
        if self._selection is None:
            with ema_weights(state):
                self._publish(state.objective.generators(), state.step, state.step)
            return
        with self._selection.applied(state) as step:
            self._publish(state.objective.generators(), step, state.step)

    def _published(self) -> tuple[int, int, bool] | None:
        """Return the step of the model folder, the step of the run then, and whether it was selected by validation.

        None if there is no readable model folder.
        """
        try:
            model = json.loads((self._folder.model / "model.json").read_bytes())
            step: int = model["training"]["step"]
            return step, model.get("choice", {}).get("run_step", step), "choice" in model
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def report(self, condition: str) -> None:
        """Write report.html from the present files of the folder."""
        begun = time.monotonic()
        status, entries = {"state": condition}, self._history.entries()
        if self._latest is not None:
            latest = self._latest
            status["step"] = f"{latest.step} of {latest.num_steps}"
            status["epoch"] = str(latest.epoch)
            status["speed"] = f"{latest.images_per_second:.1f} images/s"
            if condition == TRAINING:
                status["time left"] = duration(latest.seconds_left)
        write_report(
            self._folder.report,
            title=f"{self._folder.path.resolve().name}: {self._names['A']} ↔ {self._names['B']}",
            status=status,
            log=self._folder.records(),
            samples=self._folder.sample_paths(),
            config_yaml=self._facts["config"],
            data=self._facts["data"],
            machine=self._facts["machine"],
            notes=[entry["sentence"] for entry in entries if entry["kind"] not in ALARMS],
            warnings=[entry["sentence"] for entry in entries if entry["kind"] in ALARMS],
            live=condition == TRAINING,
            checks=read_evaluations(self._folder.path / "guardian.jsonl"),
            held_out=self._selection.evaluations if self._selection is not None else (),
            best_step=None if self._selection is None or self._selection.best is None else self._selection.best.step,
            publishes_best=self._selection is not None and self._selection.selected is not None,
        )
        now = time.monotonic()
        self._next_report = now + max(_LEAST_SPACING, _TIMES * (now - begun))


def _progress_of(record: Mapping[str, Any]) -> Progress | None:
    """Return the Progress that a line of log.jsonl was written from; None if a field is missing."""
    try:
        return Progress(**{field.name: record[field.name] for field in fields(Progress)})
    except KeyError:
        return None


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _summary_writer(folder: RunFolder, next_step: int) -> Any:
    """Return TensorBoard's writer; records that an interrupted process wrote for later steps are purged."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--run.tensorboard", "tensorboard") from None
    return SummaryWriter(folder.path / "tensorboard", purge_step=next_step)
