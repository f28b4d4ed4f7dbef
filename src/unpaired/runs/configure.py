"""A configuration from what a caller names: a recipe, a file of settings over it, a size, a length, single settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpaired.config import override, read_yaml, require, require_rebuildable
from unpaired.recipes import Config, at_size, named


def configured(
    recipe: str = "paper",
    *,
    file: Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> Config:
    """Return the recipe at `size`, over it the file, then the length, then the settings by their dotted paths.

    recipe: a name of `unpaired.recipes.RECIPES`, or FILE.py:FUNCTION. file: YAML. size: side of the training crops in
    pixels. steps, epochs: length of the run, half of it decaying; a run has one of them. prefix: of the parameters'
    names in messages, "--" on a command line. Raises ConfigError.
    """
    require(
        steps is None or epochs is None,
        f"{prefix}steps and {prefix}epochs are both given; a run has one length, so give one of them.",
    )
    config = named(recipe)
    require_rebuildable(config)
    if size is not None:
        config = at_size(config, size)
    if file is not None:
        config = read_yaml(Config, file, base=config)
    length: dict[str, Any] = {}
    if steps is not None:
        length = {"schedule.num_steps": steps}
    if epochs is not None:
        phases = {"schedule.num_epochs_constant": epochs - epochs // 2, "schedule.num_epochs_decay": epochs // 2}
        length = {**phases, "schedule.num_steps": None}
    return override(config, {**length, **(settings or {})})
