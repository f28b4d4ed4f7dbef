"""From options to a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from unpaired.runs.configure import configured

    pairs = [setting.split("=", 1) for setting in settings]
    return configured(
        recipe,
        file=file,
        size=size,
        steps=steps,
        epochs=epochs,
        settings={**quick, **{pair[0]: pair[1] for pair in pairs}},
        prefix="--",
    )
