"""Builds a configuration from a recipe, a file of settings, a size, a length and single settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unpaired.config import convert, override, read_yaml, require, require_rebuildable
from unpaired.data.datasets import DataConfig
from unpaired.provenance import Provenance
from unpaired.recipes import Config, at_size, named
from unpaired.storage import shown

if TYPE_CHECKING:
    from unpaired.runs.start_settings import StartSettings


def configured(
    recipe: str | None = None,
    *,
    out: str | Path | None = None,
    file: Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    sources: Mapping[str, str] | None = None,
    option: str = "{}={}",
) -> Provenance[Config]:
    """Return the recipe at `size`, overridden by the file, the length and the settings in this order.

    The result also holds the source of each setting, as the caller typed it. With `start.weights` among the settings
    the networks are those of these weights, unless the file or the settings name others; without a recipe all settings
    of a run that is started from take its place.

    recipe: a name of `unpaired.recipes.RECIPES` (default: paper), or FILE.py:FUNCTION.
    out: the run folder, None for the default; a run there that continues is read in place of its source.
    file: YAML.
    size: side of the training crops in pixels.
    steps, epochs: length of the run, half of it with a decaying learning rate; at most one of them.
    settings: values by dotted path. sources: the sources of these settings.
    option: format of the other parameters' sources, from name and value.

    Raises ConfigError.
    """

    def typed(name: str, value: object = "") -> str:
        return option.format(name, value).rstrip(" =")

    settings = settings or {}
    source = _start_of(settings, file, out)
    if source is not None and recipe is None and source.config is not None:
        made = Provenance(source.config, source.words)
    else:
        config = named(recipe or "paper")
        require_rebuildable(config)
        made = Provenance(config, f"recipe {shown(recipe or 'paper')}")
    if size is not None:
        made.stage(at_size(made.config, convert(int, size, typed("size"))), typed("size", size))
    if source is not None:
        made.stage(source.with_networks(made.config), source.words)
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
    sources = {key.replace("-", "_"): key for key in settings} if sources is None else sources
    lengths = dict.fromkeys(length, typed("steps" if epochs is None else "epochs"))
    made.stage(override(made.config, {**length, **settings}), "options", {**lengths, **sources})
    return made


def _start_of(settings: Mapping[str, Any], file: Path | None, out: str | Path | None) -> StartSettings | None:
    """Return the settings of the weights to start from, if some are named; those of the run in `out` if it exists."""
    start = {key.removeprefix("start."): value for key, value in settings.items() if key.startswith("start.")}
    if not start.get("weights"):
        return None
    from unpaired.runs.start_settings import settings_of

    folders = {key: settings[key] for key in ("data.root", "data.a", "data.b") if key in settings}
    data = override(read_yaml(Config, file) if file is not None else Config(), folders).data
    return settings_of(start, Path(out) if out is not None else default_out(data))


def default_out(data: DataConfig) -> Path:
    """Return runs/NAME for the data: the folder's name, or "A to B" for two folders."""
    folders = [Path(folder).resolve().name for folder in (data.a, data.b) if folder]
    name = "2".join(folders) or Path(data.root).resolve().name
    return Path("runs") / name
