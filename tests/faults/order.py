"""Effects of a power cut: scans a log of strace for names that were given before their content was on the disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath as Path

from faults.tracing import Call

_PATH = re.compile(r'<([^<>]*)>|"([^"]*)"')
_SHOWN_ONLY = ("/report.html", "/samples", "/LOCK")
"""A file that a power cut may lose: it is written again, or is empty."""


def violations(calls: Iterable[Call], below: str) -> list[str]:
    """Return the faults in the order of writes, syncs and renames below a folder, a sentence each.

    A file is on the disk before it, or its folder, is renamed; a folder is synced after a change of its names; no file
    of a folder is removed before the first rename of the removal is on the disk; the log is on the disk before a
    checkpoint that counts its lines has its name.
    """
    unsynced: dict[str, str] = {}  # unsynced changes by file or folder
    found: list[str] = []
    for call in calls:
        paths = [first or second for first, second in _PATH.findall(call.text)]
        paths = [path for path in paths if path.startswith(below)]
        if " = -1 " in call.text or not paths:
            continue
        path = paths[-1]  # that of the new descriptor, or the new name
        if call.name == "openat" and ("O_CREAT" in call.text or "O_TRUNC" in call.text):
            unsynced[path] = "written"
            if "O_EXCL" in call.text or "O_TRUNC" in call.text:
                unsynced[str(Path(path).parent)] = f"{Path(path).name} made"
        elif call.name in ("write", "pwrite64", "ftruncate", "truncate"):
            unsynced[paths[0]] = "written"
        elif call.name in ("fsync", "fdatasync"):
            unsynced.pop(paths[0], None)
        elif call.name in ("mkdir", "mkdirat"):
            unsynced[str(Path(path).parent)] = f"{Path(path).name} made"
        elif call.name.startswith("rename"):
            found += _renamed(paths[0], path, unsynced)
        elif call.name in ("unlink", "unlinkat") and unsynced.get(str(Path(paths[0]).parent), "").startswith(".trash"):
            found.append(f"{path} is removed before its folder's new name is on the disk")
    return found + [f"{path} is never synced after: {what}" for path, what in unsynced.items() if _matters(path, what)]


def _renamed(old: str, new: str, unsynced: dict[str, str]) -> list[str]:
    """Return the faults of a rename, and record it."""
    found = []
    for path in [path for path in unsynced if path == old or path.startswith(f"{old}/")]:
        if _matters(new, ""):
            found.append(f"{path} is not on the disk when it becomes {new}")
        del unsynced[path]
    if re.fullmatch(r"step-\d+", Path(new).name):
        found += [f"{path} is not on the disk before {new}" for path in unsynced if path.endswith("log.jsonl")]
    if _matters(new, ""):
        unsynced[str(Path(new).parent)] = f"{Path(new).name} named"
    elif unsynced.get(str(Path(new).parent), "").startswith(".unpaired-"):
        del unsynced[str(Path(new).parent)]
    return found


def _matters(path: str, what: str) -> bool:
    name = f"{path}/{what}"
    return not any(part in name for part in _SHOWN_ONLY) and "log.jsonl" not in path
