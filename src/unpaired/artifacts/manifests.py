"""The manifests of checkpoints, and the checkpoints of a run by step; does not import torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpaired.errors import CheckpointError

FORMAT = 1
"""Version of the format of checkpoints."""

MANIFEST = "MANIFEST.json"
"""Name of the manifest in a checkpoint."""

_SEAL = "manifest_sha256"
_NAME = re.compile(r"step-[0-9]+")


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints below `folder`, newest step first; none when the folder is missing."""
    found = [path for path in folder.glob("step-*") if named_as_checkpoint(path.name) and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; raises CheckpointError if it is missing or was changed."""
    path = checkpoint / MANIFEST
    try:
        content = path.read_bytes()
        manifest = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not of format {FORMAT}; it is damaged, or a newer version wrote it.")
    if sealed({key: value for key, value in manifest.items() if key != _SEAL}) != content:
        raise CheckpointError(f"{path} was changed after it was written: its SHA-256 is not the one in it.")
    return manifest


def named_as_checkpoint(name: str) -> bool:
    """Return whether a name is that of a finished checkpoint."""
    return _NAME.fullmatch(name) is not None


def json_bytes(data: Any) -> bytes:
    """Return a value as the bytes of a JSON file, equal for equal values."""
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest with the SHA-256 of all else in it, so that every change of a byte is detected."""
    return json_bytes({**manifest, _SEAL: hashlib.sha256(json_bytes(dict(manifest))).hexdigest()})


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step-"))
