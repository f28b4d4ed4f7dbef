"""Builds a configuration from a recipe, a file of settings, a size, a length and single settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpaired.config import convert, override, read_yaml, require, require_rebuildable
from unpaired.data.datasets import DataConfig
from unpaired.provenance import Provenance
from unpaired.recipes import Config, at_size, named
from unpaired.storage import shown


def configured(
    recipe: str = "paper",
    *,
    file: Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    sources: Mapping[str, str] | None = None,
    option: str = "{}={}",
) -> Provenance[Config]:
    """Return the recipe at `size`, overridden by the file, the length and the settings in this order.

    The result also holds the source of each setting, as the caller typed it.

    recipe: a name of `unpaired.recipes.RECIPES`, or FILE.py:FUNCTION.
    file: YAML.
    size: side of the training crops in pixels.
    steps, epochs: length of the run, half of it with a decaying learning rate; at most one of them.
    settings: values by dotted path. sources: the sources of these settings.
    option: format of the other parameters' sources, from name and value.

    Raises ConfigError.
    """

    def typed(name: str, value: object = "") -> str:
        return option.format(name, value).rstrip(" =")

    config = named(recipe)
    require_rebuildable(config)
    made = Provenance(config, f"recipe {shown(recipe)}")
    if size is not None:
        made.stage(at_size(made.config, convert(int, size, typed("size"))), typed("size", size))
    if file is not None:
        made.stage(read_yaml(Config, file, base=made.config), typed("config", shown(file)))
    require(
        steps is None or epochs is None,
        f"{typed('steps')} and {typed('epochs')} are both given; a run has one length, so give one of them.",
    )
    length: dict[str, Any] = {}
    if steps is not None:
        length = {"schedule.num_steps": steps}
    if epochs is not None:
        phases = {"schedule.num_epochs_constant": epochs - epochs // 2, "schedule.num_epochs_decay": epochs // 2}
        length = {**phases, "schedule.num_steps": None}
    settings = settings or {}
    sources = {key.replace("-", "_"): key for key in settings} if sources is None else sources
    lengths = dict.fromkeys(length, typed("steps" if epochs is None else "epochs"))
    made.stage(override(made.config, {**length, **settings}), "options", {**lengths, **sources})
    return made


def default_out(data: DataConfig) -> Path:
    """Return runs/NAME for the data: the folder's name, or "A to B" for two folders."""
    folders = [Path(folder).resolve().name for folder in (data.a, data.b) if folder]
    name = "2".join(folders) or Path(data.root).resolve().name
    return Path("runs") / name
