"""Reads the records of a run's images, data.json and images.json, which may be damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unpaired.artifacts.run_folder import RunFolder
from unpaired.compat.collector import collector_paused
from unpaired.errors import DataError
from unpaired.storage import shown

if TYPE_CHECKING:
    from unpaired.data.sources import ImageList

_LISTS = ("skipped", "skipped_test", "classes")


def read_data(folder: RunFolder) -> dict[str, Any]:
    """Return the facts of data.json by domain: name, folder, images, fingerprint, and lists of skipped images.

    Raises DataError if it cannot be read or has another content.
    """
    data: dict[str, Any] = read_json(folder.data)
    both = isinstance(data, dict) and set(data) == {"A", "B"}
    _require(both, folder.data, "it does not describe the domains A and B")
    for domain, facts in data.items():
        sound = (
            isinstance(facts, dict)
            and all(isinstance(facts.get(key), str) for key in ("name", "fingerprint"))
            and type(facts.get("images")) is int
            and 0 <= facts["images"] < 2**63
            and all(_is_texts(facts.get(key, [])) for key in _LISTS)
        )
        _require(sound, folder.data, f"the facts of domain {domain} are invalid")
    return data


def read_images(folder: RunFolder) -> dict[str, ImageList]:
    """Return the files of images.json by domain. Raises DataError as `read_data` does."""
    images: dict[str, ImageList] = read_json(folder.images)
    sound = isinstance(images, dict) and all(isinstance(files, dict) for files in images.values())
    _require(sound, folder.images, "it does not list files by domain")
    return images


def encoded_images(images: dict[str, ImageList]) -> bytes:
    """Return the content of images.json."""
    return (json.dumps(images) + "\n").encode()


def holds_images(folder: RunFolder, images: dict[str, ImageList]) -> bool:
    """Return whether images.json lists exactly these files; quicker than `read_images` if they are a million."""
    try:
        with collector_paused():
            return folder.images.read_bytes() == encoded_images(images)
    except OSError:
        return False


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a run, without NaN and infinite numbers. Raises DataError."""
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant, parse_float=_finite)
    except OSError as error:
        raise DataError(f"Cannot read {shown(path)}: {error.strerror}; check the disk and its permissions.") from None
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits[:20])
    return number


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _require(sound: bool, path: Path, reason: str) -> None:
    if not sound:
        raise _damaged(path, reason)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{shown(path)} is damaged ({reason}); copy the run folder again.")
