"""`unpaired bench` in processor seconds of one thread, for a machine with other work on it.

    OMP_NUM_THREADS=1 python benchmarks/processor_seconds.py --size 64 128 --precision fp32 --official CHECKOUT

The arguments are those of `unpaired bench`; "seconds" of its report are then those during which the process had a
processor. With several threads they would hide that threads wait for one another, so more than one is refused.
"""

from __future__ import annotations

import sys
import time

import torch

from unpaired.cli import main

if __name__ == "__main__":
    if torch.get_num_threads() != 1:
        sys.exit("Processor seconds compare steps of one thread only; set OMP_NUM_THREADS=1.")
    time.perf_counter = time.process_time
    main(["bench", *sys.argv[1:]])
