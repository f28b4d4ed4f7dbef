"""Converts options into a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unpaired.storage import shown

if TYPE_CHECKING:
    from unpaired.provenance import Provenance
    from unpaired.recipes import Config

OPTIONS = {
    "data.root": "DATA",
    "data.a": "--a",
    "data.b": "--b",
    "data.range": "--range",
    "run.seed": "--seed",
    "run.device": "--device",
    "run.memory": "--memory",
    "run.checkpoint_every": "--checkpoint-every",
    "run.stop_when_flat": "--stop-when-flat",
    "schedule.num_steps": "--steps",
    "start.weights": "--from",
    "start.step": "--from-step",
    "start.warmup": "--from-warmup",
}
"""Settings that have a short option of `unpaired train`; its help is the docstring of the setting."""


def dotted_settings(tokens: Sequence[str]) -> list[str]:
    """Return the command line with dotted settings, such as --data.flip no, converted to --set data.flip=no."""
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
    recipe: str | None,
    file: Path | None,
    size: int | None,
    steps: int | None,
    epochs: int | None,
    quick: dict[str, Any],
    settings: Sequence[str],
    *,
    out: Path | None = None,
) -> Provenance[Config]:
    """Return the configuration: the recipe, overridden by the file, the short options and the dotted settings.

    The result also holds the source of each setting as it is typed: "--size 128", "--optimizer.learning-rate".
    Resolvers that depend on the images or the machine add further stages: `made.stage(config, "the images")`.
    """
    from unpaired.runs.configure import configured

    pairs = dict(setting.split("=", 1) for setting in settings)
    sources = {key: OPTIONS.get(key, f"--{key}") for key in quick}
    sources.update({key.replace("-", "_"): f"--{shown(key)}" for key in pairs})
    return configured(
        recipe,
        out=out,
        file=file,
        size=size,
        steps=steps,
        epochs=epochs,
        settings={**quick, **pairs},
        sources=sources,
        option="--{} {}",
    )
