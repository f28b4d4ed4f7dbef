"""Runs command lines bound by the modes of files, root or not: `python -m faults.unprivileged < LINES.json`.

Standard input is a JSON list of command lines; prints a JSON list of [exit code, standard output, standard error].
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import struct
import sys

from unpaired import cli

_VERSION_3 = 0x20080522  # capget(2)
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # capabilities(7): what lets root read and write everything


def obey_modes() -> None:
    """Give up what root has over other users, so that modes of files hold for this process, too (Linux)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (
        struct.pack("Ii", _VERSION_3, 0),
        ctypes.create_string_buffer(24),
    )  # 2 x effective, permitted, inherited
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    values = list(struct.unpack("6I", sets.raw))
    for index in range(3):
        values[index] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(header, struct.pack("6I", *values)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def main() -> None:
    """Run the lines of standard input."""
    lines, results = json.load(sys.stdin), []
    obey_modes()
    for line in lines:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                cli.main(line)
            except SystemExit as left:
                results.append((left.code, out.getvalue(), err.getvalue()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
