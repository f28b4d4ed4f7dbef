"""Optional libraries for files that the core does not read, imported where they are needed."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any

from unpaired.errors import MissingExtraError

_LOGGERS = {"tifffile": "tifffile", "nibabel": "nibabel.global", "pydicom": "pydicom"}


def extra(module: str, feature: str) -> Any:
    """Return an imported module of the extra `sci`; raises MissingExtraError that names the feature without it."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(feature, "sci") from None
    _quieten(_LOGGERS.get(module))
    return found


@lru_cache
def _quieten(logger: str | None) -> None:
    """Keep a library's remarks on odd files from the terminal: what matters is raised."""
    if logger is not None:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
