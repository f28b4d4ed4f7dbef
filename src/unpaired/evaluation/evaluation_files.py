"""The files of an evaluation: those of another data set, or of other weights, in the same folder are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpaired.storage import shown

STEM = "evaluation"
_MOST_BYTES = 1 << 28  # 200,000 images take some 100 MB


def free_stem(folder: Path, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name, without suffix, of the files of an evaluation, and a sentence if it is not "evaluation".

    An evaluation of the same images and weights is replaced. Next to one of other images the name of the data folder is
    appended, and the first digits of its SHA-256 if that name is taken too; next to one of other weights their digits.

    facts: those of the new evaluation.
    """
    name = re.sub(r"[^\w.-]+", "_", Path(facts["data"]).resolve().name) or "data"
    digest = str(facts["data_sha256"])
    for stem in (STEM, f"{STEM}-{name}", f"{STEM}-{name}-{digest[:8]}"):
        path = folder / f"{stem}.json"
        before = _facts(path)
        if before.get("data_sha256") == digest:
            model = facts.get("model_sha256", "")
            if before.get("model_sha256", model) == model:  # files of earlier versions do not have it
                break
            own = f"{stem}-{model[:8]}"
            place = f"{shown(folder / stem)}.json"
            return own, f"{place} is of other weights{_step(before)} and is kept; this one is {own}.json."
        if not path.exists():
            break
    if stem == STEM:
        return stem, ""
    data = _facts(folder / f"{STEM}.json").get("data")
    whose = f"is the evaluation of {shown(data)}" if data else "is of something else"
    return stem, f"{shown(folder / STEM)}.json {whose} and is kept; this one is {shown(stem)}.json."


def _step(facts: Mapping[str, Any]) -> str:
    step = facts.get("step")
    return f" (step {step})" if isinstance(step, int) else ""


def _facts(path: Path) -> dict[str, Any]:
    """Return the content of an evaluation; {} for any other file."""
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= _MOST_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
