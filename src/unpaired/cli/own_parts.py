"""`--recipe FILE.py` of every verb but train: the user's own parts, known to the command from then on."""

from __future__ import annotations

from pathlib import Path


def load_parts(file: Path | None) -> None:
    """Execute the file that the user named, so that its parts can be named; a function after a colon is left out."""
    if file is None:
        return
    from unpaired.recipes import load_file, named

    name = str(file)
    if ".py:" in name:
        named(name)
    else:
        load_file(name)
