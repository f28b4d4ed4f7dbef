"""`--recipe FILE.py` of every verb except train: registers the user's own parts."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from unpaired.errors import ConfigError


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


def option_of(recipe: str, config: Any) -> str:
    """Return " --recipe FILE.py" if the generator of a run, or an image format, is from the file of its recipe."""
    from unpaired.images import FORMATS
    from unpaired.networks import GENERATORS

    file, is_file, _ = recipe.rpartition(".py:")
    if not is_file:
        return ""
    origins = [GENERATORS.origin(config.generator.kind)]
    for kind in FORMATS.kinds():
        with suppress(ConfigError):  # of an installed package that fails
            origins.append(FORMATS.origin(kind))
    own = any(origin is not None and origin.file for origin in origins)
    return f" --recipe {shlex.quote(f'{file}.py')}" if own else ""
