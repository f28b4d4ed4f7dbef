"""The first import of the fork server of the loader processes; importing it has an effect, so nothing else does.

The server and the loader processes would outlive a trainer that was killed: the server by the seconds that torch takes
to import, a loader process until it next sends a batch, which may be never. On Linux the system ends both instead: the
server with the thread that started it, so only the main thread asks for this, and each loader process with the server.
Elsewhere they check for the trainer themselves: the server after importing torch, a loader process while sending.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if sys.platform == "linux":
    _die_with_parent()
    os.register_at_fork(after_in_child=_die_with_parent)

from unpaired.data import loading  # noqa: E402, F401 - the slow part
