"""All faults one after the other: `python -m faults` in tests/, or `make faults`."""

from __future__ import annotations

import subprocess
import sys

PARTS = ("system_calls", "random_kills", "full_disk")


def main() -> None:
    """Run every part, whatever became of the one before; leave with 1 where one found something."""
    codes = [subprocess.run([sys.executable, "-m", f"faults.{part}"], check=False).returncode for part in PARTS]
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
