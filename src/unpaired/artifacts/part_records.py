"""RUN/parts.json: the origin of those parts of a run that are not from this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from unpaired.artifacts.changes import Change
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import read_json
from unpaired.config import read_yaml
from unpaired.errors import ConfigError, DataError, MissingPartError, UnknownKindError
from unpaired.recipe_files import origins_of
from unpaired.recipes import Config
from unpaired.registry import LOADER, Origin, not_installed, origin_from_json
from unpaired.storage import shown, write_bytes


def read_config(folder: RunFolder) -> Config:
    """Return the configuration of a run.

    Raises ConfigError, or MissingPartError naming the package or file that a missing part came from.
    """
    try:
        return read_yaml(Config, folder.config)
    except UnknownKindError as error:
        origins: dict[str, Origin] = {}
        with suppress(DataError):  # a damaged parts.json, which `verify` reports
            origins = read_origins(folder)
        origin = origins.get(f"{error.noun} {error.kind}", Origin())
        sentence = f"{shown(folder.path)}: {not_installed(error.noun, error.kind, origin)}"
        raise MissingPartError(sentence, setting=LOADER) from None


def write_origins(folder: RunFolder, config: Config) -> None:
    """Write parts.json if the run has parts that are not from this package."""
    found = {name: origin.to_json() for name, origin in origins_of(config).items()}
    if found:
        write_bytes(folder.parts, (json.dumps(found, indent=1) + "\n").encode(), sync=True)


def read_origins(folder: RunFolder) -> dict[str, Origin]:
    """Return the origins in parts.json by part and kind, as in "generator wide"; none without the file."""
    if not folder.parts.exists():
        return {}
    found = read_json(folder.parts)
    if not isinstance(found, dict):
        raise DataError(f"{shown(folder.parts)} is damaged (it is not a JSON object); copy the run folder again.")
    return {str(name): origin_from_json(entry) for name, entry in found.items()}


def parts_change(run: str, saved: Mapping[str, Origin], now: Mapping[str, Origin], *, allowed: bool) -> list[Change]:
    """Return the change of the code of own parts, none if it is the same.

    Raises ConfigError if the content of a recipe file changed, unless that is allowed: its networks or losses may have
    changed. Another version of a package is recorded.
    """
    changed = [name for name in now if name in saved and saved[name] != now[name]]
    files = [name for name in changed if saved[name].sha256 and saved[name].sha256 != now[name].sha256]
    if files and not allowed:
        raise ConfigError(
            f"{shown(saved[files[0]].file)} changed since {run} was started; restore that "
            "file to continue it, add --allow-config-change, or give another --out."
        )
    if not changed:
        return []
    listed = "; ".join(f"{name}: {saved[name]} -> {now[name]}" for name in changed)
    details = {name: {"saved": saved[name].to_json(), "given": now[name].to_json()} for name in changed}
    return [Change("parts", f"The code of own parts changed: {listed}.", {"parts": details})]
