"""Finds the answer files and the key of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unpaired.errors import DataError
from unpaired.storage import shown

KEY = "key.json"
"""Name of the key in a study folder."""


def answer_files(places: Sequence[Path]) -> list[Path]:
    """Return the given files, and the answer files (*.jsonl) of the given folders and those below them.

    Raises DataError if a place does not exist, or if there are no files.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.exists():
            raise DataError(f"{shown(place)} does not exist; give the study folder, or answer files.")
        files = sorted(path for path in place.rglob("*.jsonl") if path.is_file()) if place.is_dir() else [place]
        found |= dict.fromkeys(files)
    if not found:
        raise DataError(
            f"{shown(places[0])} holds no answer files (answers-….jsonl); put those that participants saved into its "
            "folder answers."
        )
    return list(found)


def find_key(places: Sequence[Path]) -> Path:
    """Return the key in one of the places, or in the folder of an answer file or the one above.

    Raises DataError if there is none.
    """
    for place in places:
        folder = place if place.is_dir() else place.absolute().parent
        for candidate in (folder / KEY, folder.absolute().parent / KEY):
            if candidate.is_file():
                return candidate
    raise DataError(f"There is no {KEY} at {shown(places[0])}; give the key of the study with --key FILE.")
