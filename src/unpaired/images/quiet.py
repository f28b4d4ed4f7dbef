"""Keep the warnings of image libraries about odd files from the user: what matters is raised."""

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
    """Ignore warnings of Pillow and pydicom inside of the block.

    Filters belong to the whole process, so that of several threads the first sets them, the last restores.
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
