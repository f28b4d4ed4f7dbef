"""From options to a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unpaired.errors import ConfigError

if TYPE_CHECKING:
    from unpaired.recipes import Config


def dotted_settings(tokens: Sequence[str]) -> list[str]:
    """Return the command line with every setting given by its dotted name, --data.flip no, as --set data.flip=no."""
    rest = list(tokens)
    result: list[str] = []
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=")
        if token == "--":  # noqa: S105 - the end of options, not a password
            return [*result, token, *rest]
        if not name.startswith("--") or "." not in name:
            result.append(token)
            continue
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        result += ["--set", f"{name[2:]}={value}"]
    return result


def resolve(
    recipe: str,
    file: Path | None,
    size: int | None,
    steps: int | None,
    epochs: int | None,
    quick: dict[str, Any],
    settings: Sequence[str],
) -> Config:
    """Return the configuration: the recipe, over it the file, then the short options, then the dotted settings."""
    from unpaired.config import override, read_yaml, require_rebuildable
    from unpaired.recipes import Config, at_size, named

    config = named(recipe)
    require_rebuildable(config)
    if size is not None:
        config = at_size(config, size)
    if file is not None:
        config = read_yaml(Config, file, base=config)
    if steps is not None and epochs is not None:
        raise ConfigError("--steps and --epochs are both given; a run has one length, so give one of them.")
    if steps is not None:
        quick["schedule.num_steps"] = steps
    if epochs is not None:
        phases = {"schedule.num_epochs_constant": epochs - epochs // 2, "schedule.num_epochs_decay": epochs // 2}
        quick.update({**phases, "schedule.num_steps": None})
    pairs = [setting.split("=", 1) for setting in settings]
    return override(config, {**quick, **{pair[0]: pair[1] for pair in pairs}})
