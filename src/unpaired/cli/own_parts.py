"""`--recipe FILE.py` of every verb except train: registers the user's own parts."""

from __future__ import annotations

from pathlib import Path


def load_parts(file: Path | None) -> None:
    """Execute the user's file, which registers its parts; FILE.py:FUNCTION is accepted too."""
    if file is None:
        return
    from unpaired.recipes import load_file, named

    name = str(file)
    if ".py:" in name:
        named(name)
    else:
        load_file(name)
