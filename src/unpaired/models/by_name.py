"""Models by name: those that come with the package, and those in the user's data folder.

A name is used only if no file or folder of that name exists: `unpaired translate horse2zebra photo.jpg` takes the
folder horse2zebra if there is one, else the model of that name.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from unpaired.models.published_weights import PUBLISHED_WEIGHTS
from unpaired.storage import shown
from unpaired.suggestions import nearest

BUNDLED = Path(__file__).parent.parent / "bundled"
"""Folder of the models that come with the package."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def data_folder() -> Path:
    """Return the folder of fetched models: unpaired/models below XDG_DATA_HOME or ~/.local/share.

    On Windows below LOCALAPPDATA.
    """
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", "")
    if not Path(base).is_absolute():  # the specification has relative ones ignored
        base = os.path.expanduser("~/.local/share")  # noqa: PTH111 - Path.expanduser fails without a home
    return Path(base) / "unpaired" / "models"


def models_in(folder: Path) -> dict[str, Path]:
    """Return the model folders in a folder by name; none if it is missing or unreadable."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return {}
    return {name: folder / name for name in names if _NAME.fullmatch(name) and _has_model(folder / name)}


def named_models() -> dict[str, Path]:
    """Return every model that can be used by name; one of the package precedes a fetched one of the same name."""
    return models_in(data_folder()) | models_in(BUNDLED)


def located(path: Path) -> Path:
    """Return `path`, or the folder of the model of that name if nothing exists at `path`."""
    name = str(path)
    if not _NAME.fullmatch(name) or os.path.lexists(path):
        return path
    for folder in (BUNDLED, data_folder()):
        if _has_model(folder / name):
            return folder / name
    return path


def results_folder(model: Path, *parts: str) -> Path:
    """Return the default folder for results: below the model, but PART/NAME/... below the current one for a name.

    parts: such as "translated" and "AtoB". A model by name keeps no results in its own folder, which may be read-only.
    """
    if located(model) == model:
        return model.joinpath(*parts)
    return Path(parts[0], model.name, *parts[1:])


def hint(path: Path) -> str:
    """Return the message for a name that no model on this machine has, "" if no name is near."""
    name = str(path)
    if not _NAME.fullmatch(name):
        return ""
    if name in PUBLISHED_WEIGHTS:
        return f"The model {name} is not fetched yet; fetch it with `unpaired models get {name}`."
    near = nearest(name, [*named_models(), *PUBLISHED_WEIGHTS])
    return (
        f"There is no run or model {shown(name)}; did you mean {near}? (`unpaired models` lists all.)" if near else ""
    )


def hidden(path: Path) -> Path | None:
    """Return the model that a file or folder hides because it has its name; None if it hides none."""
    return named_models().get(str(path))


def _has_model(folder: Path) -> bool:
    return os.path.isfile(folder / "model.json")  # noqa: PTH113 - unlike Path.is_file False without permission
