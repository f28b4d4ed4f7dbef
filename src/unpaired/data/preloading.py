"""The first import of the loader processes' fork server. Importing it has a side effect, so nothing else imports it.

The server and the loader processes would outlive a killed trainer: the server until it has imported torch, a loader
process until it next sends a batch, which may be never. On Linux the system ends both: the server with the thread that
started it, so only the main thread requests this, and each loader process with the server. On other systems they check
for the trainer themselves: the server after importing torch, a loader process when it sends.
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
