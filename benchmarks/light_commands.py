"""Processor time and memory of the commands that need no torch, as ratios to `unpaired --help`.

    python benchmarks/light_commands.py
    python benchmarks/light_commands.py --against PATH_OF_ANOTHER_CHECKOUT

Each command is a process of its own, in turns, the two checkouts one after the other in each turn; user and system
time of the processor, and the peak of resident memory, as the kernel counts them for a finished child. The smallest of
the turns is printed, as other processes only add to it. The run is made of files alone: its log has a million lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from unpaired.artifacts.manifests import FORMAT, MANIFEST, sealed
from unpaired.artifacts.run_folder import RunFolder

LINE = {"step": 1, "epoch": 1, "losses": {"cycle_a": 1.0}, "images_per_second": 8.0, "seconds": 1.0}
HERE = Path(__file__).parents[1]


def make_run(folder: Path, num_lines: int) -> Path:
    """Write the files of a run that `info` reads, with a log of `num_lines` lines."""
    run = RunFolder(folder)
    run.create()
    command = [sys.executable, "-m", "unpaired", "train", "data", "--recipe", "demo", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src")}
    run.config.write_bytes(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    facts = {"name": "x", "folder": "", "images": 60, "fingerprint": ""}
    run.data.write_text(json.dumps({"A": facts, "B": facts}))
    block = (json.dumps(LINE) + "\n").encode() * 1000
    with run.log.open("wb") as file:
        for _ in range(num_lines // 1000):
            file.write(block)
    checkpoint = run.checkpoints / "step-00000010"
    checkpoint.mkdir()
    manifest = {"format": FORMAT, "step": 10, "state_sha256": "0" * 64, "files": {}, "made_with": {"device": "cpu"}}
    (checkpoint / MANIFEST).write_bytes(sealed(manifest))
    return folder


def measured(checkout: Path, arguments: Sequence[str]) -> tuple[float, float, int]:
    """Return processor seconds, peak resident MB and exit code of a command."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    command = [sys.executable, "-m", "unpaired", *arguments]
    child = os.posix_spawn(sys.executable, command, environment, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Measure and print; this process imports no torch, as a child's peak begins with its parent's memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    checkouts = [HERE] + ([given.against.resolve()] if given.against else [])
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        long, short = make_run(Path("runs/long"), 1_000_000), make_run(Path("runs/short"), 1000)
        commands = {
            "--help": ["--help"],
            "help": ["help"],
            "info, log of 1,000 lines": ["info", str(short)],
            "info, log of 1,000,000 lines": ["info", str(long)],
            "info of the folder of both": ["info", "runs"],
            "info of two runs": ["info", str(short), str(long)],
            "train --dry-run": ["train", "data", "--dry-run"],
            "train --dry-run --recipe fast": ["train", "data", "--dry-run", "--recipe", "fast"],
        }
        best: dict[tuple[str, Path], tuple[float, float, int]] = {}
        for _ in range(given.turns):
            for name, arguments in commands.items():
                for checkout in checkouts:
                    now = measured(checkout, arguments)
                    best[name, checkout] = min(best.get((name, checkout), now), now)
    for checkout in checkouts:
        print(f"\n{'this checkout' if checkout == HERE else checkout}")
        print(f"{'command':32} {'CPU s':>7} {'x --help':>9} {'MB':>6} {'exit':>5}")
        unit = best["--help", checkout][0]
        for name in commands:
            seconds, memory, code = best[name, checkout]
            print(f"{name:32} {seconds:7.3f} {seconds / unit:9.2f} {memory:6.1f} {code:5d}")


if __name__ == "__main__":
    main()
