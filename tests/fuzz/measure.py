"""Reads files in a process of its own and prints their cost as JSON: `measure.py KIND FILE...`.

KIND is image, official (the files are .pth) or model (they are folders). For each file: the outcome ("read", the
message of an UnpairedError, or "BROKE" and the other exception), seconds of processor time, and the growth of peak
memory in MB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from unpaired.errors import UnpairedError
from unpaired.images import read_header, read_image
from unpaired.interop.official import read_state
from unpaired.translate import read_model


def _image(path: Path) -> None:
    read_header(path)
    read_image(path)


_READERS = {"image": _image, "official": read_state, "model": read_model}


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def measured(read: Any, path: Path) -> tuple[str, float, float]:
    """Return outcome, seconds and MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, started = _memory("VmRSS:"), time.process_time()
    try:
        read(path)
        outcome = "read"
    except UnpairedError as error:
        outcome = str(error)
    except BaseException as error:
        outcome = f"BROKE {error!r}"
    return outcome, time.process_time() - started, (_memory("VmHWM:") - before) / 1024


if __name__ == "__main__":
    reader = _READERS[sys.argv[1]]
    results = {path: measured(reader, Path(path)) for path in sys.argv[2:]}
    parsers = sorted(name for name in sys.modules if name.startswith("PIL.") and name.endswith("ImagePlugin"))
    print(json.dumps({"results": results, "parsers": parsers}))
