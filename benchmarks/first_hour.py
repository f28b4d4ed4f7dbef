"""Records a newcomer's first commands on a terminal of 80 columns, as the page docs/first-hour.md.

    python benchmarks/first_hour.py --photographs HORSE2ZEBRA --out docs/first-hour.md
    python benchmarks/first_hour.py "unpaired data draw scenes" "unpaired train scenes # Ctrl-C after 60"

The commands run in a pseudo-terminal in an empty folder, one after the other; `unpaired` must be on the path.
HORSE2ZEBRA holds trainA, trainB, testA and testB with photographs; a few of each are copied to `photographs`. Each line
begins with the time since the first command. A line that begins with ~ is a state of the live line, which the terminal
rewrites in place; of these the transcript has one every twenty seconds at most. The exit code is 1 if a minute passed
without a new text, or a command failed that was not stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCENES = """
unpaired data draw seasons --count 200 --num-test 20
unpaired data check seasons --size 64
unpaired train seasons --size 64 # Ctrl-C after 45
unpaired info runs/seasons
unpaired train seasons --recipe fast --steps 400 --out runs/first
unpaired translate runs/first seasons/testA --scores
unpaired evaluate runs/first seasons
"""
"""The commands on drawn scenes."""

PHOTOGRAPHS = """
unpaired data check photographs --size 64
unpaired train photographs --recipe fast # Ctrl-C after 60
unpaired train photographs --recipe fast # Ctrl-C after 30
unpaired translate runs/photographs photographs/testA
"""
"""The commands on photographs."""

COPIED = {"trainA": 100, "trainB": 100, "testA": 4, "testB": 4}
"""Photographs of each folder."""

PAGE = """# The first hour

The first commands of a newcomer and everything that a terminal of 80 columns shows of them, recorded
from an empty folder.
The first column is the time since the first command in minutes and seconds.
A line that begins with `~` is a state of the live line, which the terminal rewrites in place; of these
the page has one every twenty seconds at most.
`# Ctrl-C after 45` is a command that was stopped after 45 seconds.
The longest time without a new text was {silence:.0f} seconds.

Recorded on {day} by [benchmarks/first_hour.py](../benchmarks/first_hour.py) on {machine}.

## With drawn scenes

Drawing them needs no download, and their test images have a truth to compare with.
The first training has the networks and the length of the paper, and is stopped once its estimate is
read.
The second one is far too short for good translations, as the figures at its end say.

{scenes}

## With photographs

{count} photographs of horses and as many of zebras, from [horse2zebra](data.md), are in the folders
`photographs/trainA` and `photographs/trainB`.
The training is stopped, continued by the same command and stopped again.

{photographs}

The run of an hour goes on from there; the [tutorial](tutorial.md) has the steps after it.
"""

COLUMNS, ROWS = 80, 40
KEPT = 20.0
"""Seconds between two states of the live line in the transcript."""

STOP = "# Ctrl-C after "
"""Comment of a command that is stopped, before the number of seconds."""

SILENCE = 60.0
"""Seconds without a new text that are a fault."""


@dataclass
class Terminal:
    """The lines that a terminal shows: whole ones, and the one that is still rewritten."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    current: str = ""

    def feed(self, text: str, now: float) -> None:
        """Take output; knows line ends, the return to the first column, and the erasure of a line."""
        for part in re.split(r"(\r\n|\n|\r|\x1b\[K)", text):
            if part in ("\r\n", "\n"):
                self.lines.append((now, self.current))
                self.current = ""
            elif part in ("\r", "\x1b[K"):
                self.current = ""  # the package rewrites whole lines only
            else:
                self.current += re.sub(r"\x1b\[[0-9;]*m", "", part)


@dataclass
class Transcript:
    """The lines of the page, and the longest time without a new text."""

    start: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)
    silence: float = 0.0

    def block(self) -> str:
        """Return the lines so far as an indented block, and forget them."""
        lines, self.lines = self.lines, []
        return "\n".join(f"    {line}".rstrip() for line in lines)

    def add(self, text: str, at: float) -> None:
        """Add a line with its time."""
        seconds = int(at - self.start)
        self.lines.append(f"{seconds // 60:2d}:{seconds % 60:02d}  {text}".rstrip())

    def run(self, line: str, command: Sequence[str], folder: Path, stop_after: float | None) -> int:
        """Run a command in a pseudo-terminal and record it as `line`; returns its exit code, 0 if it was stopped.

        stop_after: seconds until Ctrl-C.
        """
        begun = time.monotonic()
        self.add(f"$ {line}", begun)
        sys.stderr.write(f"{self.lines[-1]}\n")
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(folder)
            os.execvp(command[0], list(command))  # noqa: S606 - no shell, as the words are split already
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        screen, heard, kept, stopped = Terminal(), begun, begun - KEPT + 1, False
        while True:
            ready = select.select([terminal], [], [], 0.2)[0]
            now = time.monotonic()
            if ready:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # its last process has ended
                    break
                if not data:
                    break
                before = len(screen.lines), screen.current
                screen.feed(data.decode(errors="replace"), now)
                for at, line in screen.lines[before[0] :]:
                    self.add(line, at)
                if (len(screen.lines), screen.current) != before:
                    self.silence, heard = max(self.silence, now - heard), now
            if not ready and screen.current and now - kept >= KEPT:
                kept = now
                self.add(f"~ {screen.current}", now)
            if stop_after is not None and now - begun > stop_after and not stopped:
                os.write(terminal, b"\x03")
                stopped = True
        self.silence = max(self.silence, time.monotonic() - heard)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return 0 if stopped and code == 128 + signal.SIGINT else code


def main() -> int:
    """Run the commands and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the page")
    parser.add_argument("--photographs", type=Path, help="a folder with trainA, trainB, testA and testB")
    parser.add_argument("--machine", default="two CPU cores without a GPU, other programs running", help="in words")
    parser.add_argument("commands", nargs="*", help="commands to print instead, each as one argument")
    given = parser.parse_args()
    transcript = Transcript()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.commands:
            failed = record(transcript, given.commands, folder)
            print(transcript.block())
        else:
            copy(given.photographs, folder / "photographs")
            failed = record(transcript, SCENES.split("\n"), folder)
            scenes = transcript.block()
            failed += record(transcript, PHOTOGRAPHS.split("\n"), folder)
            facts = {"silence": transcript.silence, "day": time.strftime("%d %B %Y"), "machine": given.machine}
            count = COPIED["trainA"]
            given.out.write_text(PAGE.format(scenes=scenes, photographs=transcript.block(), count=count, **facts))
    print(f"Longest time without a new text: {transcript.silence:.0f} s. Commands that failed: {failed}.")
    return 1 if failed or transcript.silence > SILENCE else 0


def copy(photographs: Path, folder: Path) -> None:
    """Copy the first photographs of each folder to a folder of the same name, numbered."""
    for name, count in COPIED.items():
        (folder / name).mkdir(parents=True)
        for number, path in enumerate(sorted((photographs / name).iterdir())[:count], start=1):
            shutil.copyfile(path, folder / name / f"{name}-{number:03d}{path.suffix}")


def record(transcript: Transcript, lines: Sequence[str], folder: Path) -> int:
    """Run commands, a line each; return the number of those that failed without being stopped."""
    failed = 0
    for line in filter(None, lines):
        command, _, seconds = line.partition(STOP)
        failed += bool(transcript.run(line, shlex.split(command), folder, float(seconds) if seconds else None))
    return failed


if __name__ == "__main__":
    sys.exit(main())
