"""Whether another process holds the lock of a run, found without taking the lock."""

from __future__ import annotations

import os
from pathlib import Path

_TABLE = Path("/proc/locks")


def is_locked(path: Path) -> bool | None:
    """Return whether a process of this machine holds the lock on a file; None if the system does not list its locks.

    Trying the lock instead would make a trainer fail that starts at that moment.
    """
    try:
        lines = _TABLE.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    try:
        stat = path.stat()
    except OSError:
        return False
    place = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    # 1: FLOCK  ADVISORY  WRITE 9490 fe:00:2383934 0 EOF
    return any(fields[1:2] == ["FLOCK"] and place in fields for fields in map(str.split, lines))
