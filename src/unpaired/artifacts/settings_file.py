"""The settings of a run as plain values, read from config.yaml without the classes that they configure, nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import SCHEMA, from_dict, load_yaml
from unpaired.errors import ConfigError
from unpaired.storage import shown
from unpaired.training.schedule import ScheduleConfig

_RECIPE = "# recipe: "
_MAX_LINE = 1024


def read_settings(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the settings of a run by part and name, as in {"data": {"batch_size": 1}}.

    Only their form is checked. Raises ConfigError if the file is damaged or of another schema.
    """
    data, name = load_yaml(folder.config), shown(folder.config)
    if not isinstance(data, dict):
        raise ConfigError(f"The configuration {name} must be a mapping of settings, not {type(data).__name__}.")
    schema = data.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise ConfigError(f"The configuration {name} has schema {schema!r}; this version reads schema {SCHEMA}.")
    for part, values in data.items():
        if not isinstance(values, dict):
            raise ConfigError(f"The part {part!r} of {name} must be a mapping of settings; copy the run folder again.")
    return {str(part): values for part, values in data.items()}


def recipe_line(recipe: str) -> str:
    """Return the comment that names the recipe at the top of config.yaml, "" for none."""
    return f"{_RECIPE}{shown(recipe)}\n" if recipe else ""


def recorded_recipe(folder: RunFolder) -> str:
    """Return the recipe in that comment; "" if there is none, as for a run from Python or of an earlier version."""
    with folder.config.open("rb") as file:
        line = file.readline(_MAX_LINE).decode(errors="replace")
    return line.removeprefix(_RECIPE).strip() if line.startswith(_RECIPE) else ""


def schedule_in(settings: Mapping[str, Mapping[str, Any]]) -> tuple[ScheduleConfig, int]:
    """Return the schedule among the settings of a run, and its batch size. Raises ConfigError for invalid values."""
    schedule: ScheduleConfig = from_dict(ScheduleConfig, settings.get("schedule", {}), "schedule")
    batch = settings.get("data", {}).get("batch_size", 1)
    if type(batch) is not int or batch < 1:
        raise ConfigError(f"data.batch_size must be a whole number of at least 1, not {batch!r}.")
    return schedule, batch


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by dotted path, as in {"data.batch_size": 1}."""
    return {f"{part}.{name}": value for part, values in settings.items() for name, value in values.items()}
