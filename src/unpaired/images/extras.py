"""Optional libraries for files that the core does not read, imported on first use."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any

from unpaired.errors import MissingExtraError

_LOGGERS = {"tifffile": "tifffile", "nibabel": "nibabel.global", "pydicom": "pydicom"}


def extra(module: str, feature: str) -> Any:
    """Import and return a module of the extra `sci`. Raises MissingExtraError with the name of the feature."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(feature, "sci") from None
    _quieten(_LOGGERS.get(module))
    return found


@lru_cache
def _quieten(logger: str | None) -> None:
    """Silence a library's log messages about odd files: faults that matter are raised."""
    if logger is not None:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
