"""The runs below a folder, and what differs between two runs; read without torch."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.settings_file import flat_settings, read_settings
from unpaired.errors import DataError, UnpairedError
from unpaired.runs.standing import RunInfo, info, refuse_starting
from unpaired.selection.validation import read_evaluations
from unpaired.storage import is_junk_folder, refuse_folder, shown

_MOST_BYTES = 1 << 26  # of an evaluation


def is_run(path: Path) -> bool:
    """Return whether a folder is that of a run."""
    return (path / "config.yaml").is_file() and not (path / "model.json").is_file()


def runs_below(folder: Path) -> dict[Path, RunInfo | UnpairedError]:
    """Return the runs below a folder by path, sorted, each with its RunInfo or the reason why that cannot be read.

    Folders of runs are not searched, nor hidden ones or links. Raises DataError if there is none.
    """
    found: dict[Path, RunInfo | UnpairedError] = {}
    for root, folders, _ in os.walk(folder, onerror=refuse_folder):
        path = Path(root)
        if is_run(path):
            folders.clear()
            try:
                found[path] = info(path)
            except UnpairedError as error:
                found[path] = error
        folders[:] = sorted(name for name in folders if not is_junk_folder(name) and not name.startswith("."))
    if not found:
        refuse_starting(RunFolder(folder))
        raise DataError(
            f"{shown(folder)} holds no run (no config.yaml), no model (no model.json) and no folder of runs; give the "
            "folder that `unpaired train` wrote."
        )
    return found


def setting_differences(a: Path, b: Path) -> dict[str, tuple[Any, Any]]:
    """Return the settings of two runs that differ, by dotted path; None for a setting that one of them lacks."""
    one, other = (flat_settings(read_settings(RunFolder(path))) for path in (a, b))
    keys = dict.fromkeys([*one, *other])
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def figures(path: Path, found: RunInfo) -> dict[str, str]:
    """Return the figures of a run as text by name: the last losses, the last validation, and evaluations.

    An evaluation has its interval, and the name and the fingerprint of its data set in its name, so that only equal
    data sets are compared; of several models on the same data the last evaluation counts.
    """
    table = {f"loss {name}": _text(value) for name, value in found.losses.items()}
    evaluations = read_evaluations(path / "held_out.jsonl")
    if evaluations:
        last = evaluations[-1]
        table |= {f"validation {name}": _text(value) for name, value in {"step": last.step, **last.figures}.items()}
    for file in sorted(path.glob("evaluation*/*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
        table |= _evaluated(file)
    return {name: text for name, text in table.items() if text}


def _evaluated(file: Path) -> dict[str, str]:
    """Return the figures of an evaluation; none of a file that is damaged."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            return {}
        content = json.loads(file.read_bytes())
        data = f"{Path(str(content['data'])).name} {str(content['data_sha256'])[:8]}"
        found = {f"step evaluated on {data}": _text(content.get("step"))}
        for direction, result in content["directions"].items():
            for name, row in result["figures"].items():
                made = row["made"]
                if made is not None:
                    low, high = _text(made["low"]), _text(made["high"])
                    found[f"{data} {direction} {name}"] = f"{_text(made['value'])} ({low} to {high})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def _text(value: Any) -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
