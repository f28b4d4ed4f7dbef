"""Translators of earlier steps of a run, from the checkpoints that it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.artifacts.part_records import read_config
from unpaired.artifacts.run_folder import RunFolder
from unpaired.errors import CheckpointError, ConfigError, ModelError
from unpaired.models.model_folder import read_info
from unpaired.recipes import build_objective
from unpaired.storage import shown
from unpaired.translate.translator import Translator


def translator_of_step(run: str | Path, step: int, **options: Any) -> Translator:
    """Return the translator of a run after `step`: of the published model if that is its step, else of a checkpoint.

    options: those of `Translator.load`. Raises ModelError, listing the kept steps, if the run does not keep this one,
    ConfigError for another backend than torch, CheckpointError if the checkpoint is damaged, else as `Translator.load`.
    """
    folder = RunFolder(Path(run))
    published = read_info(folder.path)
    if published.training.step == step:
        return Translator.load(run, **options)
    kept = {int(path.name.removeprefix("step-")): path for path in list_checkpoints(folder.checkpoints)}
    if step not in kept:
        steps = sorted({*kept, *([] if published.training.step is None else [published.training.step])})
        listed = f"only {', '.join(map(str, steps))}" if steps else "as it is a model folder and no run"
        raise ModelError(
            f"{shown(folder.path)} does not hold step {step}, {listed}; a run keeps more checkpoints with "
            "--run.keep-checkpoints."
        )
    if options.pop("backend", "torch") != "torch":
        raise ConfigError("A step of a checkpoint is translated by the backend torch; leave out --backend or --step.")
    config, saved = read_config(folder), load_checkpoint(kept[step])
    objective = build_objective(config)
    try:
        objective.load_state_dict(saved.parts["weights"])
        if "average" in saved.parts:
            objective.translators.load_state_dict(saved.parts["average"])
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{shown(kept[step])} does not fit the configuration of its run ({reason}).") from None
    info = replace(published, training=replace(published.training, step=step), choice=None)
    networks = {}
    for direction, network in objective.generators().items():
        training = info.directions[direction].mode == "training"
        networks[str(direction)] = network.requires_grad_(False).train(training)
    return Translator(info, networks, **options)
