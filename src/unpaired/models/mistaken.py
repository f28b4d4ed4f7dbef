"""Paths that are no model folder: what was given, and the fix."""

from __future__ import annotations

from pathlib import Path

from unpaired.errors import ModelError
from unpaired.images import is_image_name
from unpaired.models.by_name import hidden, hint
from unpaired.storage import shown

_WEIGHTS = (".pth", ".pt", ".ckpt")
_NAMED = 3  # maximum number of runs in a message


def no_model(path: Path) -> ModelError:
    """Return the error for a path that is neither a run nor a model folder."""
    name = shown(path)
    if not path.exists():
        return ModelError(hint(path) or f"There is no run or model folder {name}; check the name.")
    behind = hidden(path)
    if behind is not None and not (path / "config.yaml").exists():
        return ModelError(
            f"{name} here is neither a run nor a model, and hides the model of that name; give {shown(behind)}"
        )
    run = next((folder for folder in path.absolute().parents if (folder / "checkpoints").is_dir()), None)
    if (path.parent / "model.json").is_file():
        return ModelError(f"{name} is a file of a model; give its folder: {shown(path.parent)}")
    if not path.is_dir():
        return ModelError(
            f"{name} is a file; give the run folder or the model folder (it contains model.json), or convert official "
            "weights with import_weights.",
            setting="import_weights",
        )
    if (path / "config.yaml").exists():
        return ModelError(f"The run {name} has no model yet; train it until its first checkpoint.")
    if run is not None and (run / "config.yaml").is_file() and "checkpoints" in path.absolute().relative_to(run).parts:
        return ModelError(f"{name} belongs to a run; give the folder of the run: {shown(run)}")
    files = [each.name for each in path.iterdir()]
    if any(file.lower().endswith(_WEIGHTS) for file in files):
        return ModelError(
            f"{name} is neither a run nor a model folder but weights of another program; convert them with "
            "import_weights.",
            setting="import_weights",
        )
    runs = sorted(file for file in files if (path / file / "config.yaml").is_file())
    if runs:
        more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
        return ModelError(f"{name} holds runs ({', '.join(map(shown, runs[:_NAMED]))}{more}); give one of them.")
    if any(map(is_image_name, files)) or {"trainA", "testA", "trainB", "testB"} & {*files}:
        return ModelError(
            f"{name} is a folder of images and neither a run nor a model: it contains no model.json; the run comes "
            "first, then the images."
        )
    return ModelError(f"{name} is neither a run nor a model folder: it contains no model.json; check the name.")
