"""Suppression of image libraries' warnings about odd files: faults that matter are raised."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

_lock = threading.Lock()
_filters = contextlib.ExitStack()
_count = 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings of Pillow and pydicom in the block.

    Filters are global to the process: of several threads the first one sets them and the last one restores them.
    """
    global _count
    with _lock:
        if _count == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\.")
        _count += 1
    try:
        yield
    finally:
        with _lock:
            _count -= 1
            if _count == 0:
                _filters.close()
