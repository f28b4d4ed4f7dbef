"""Records a newcomer's first commands on a terminal of 80 columns as the text of docs/first-hour.md.

    python benchmarks/first_hour.py --out docs/first-hour.md [--photographs FOLDER]

The commands run in a pseudo-terminal in an empty folder, one after the other. A line that begins with ~ is a state of
the live line, which the terminal rewrites in place; of these the transcript has one every twenty seconds at most. Each
line begins with the time since the first command. The exit code is 1 if a minute passed without a new text.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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

    def add(self, text: str, at: float) -> None:
        """Add a line with its time."""
        seconds = int(at - self.start)
        self.lines.append(f"{seconds // 60:2d}:{seconds % 60:02d}  {text}".rstrip())

    def run(self, command: Sequence[str], folder: Path, stop_after: float | None = None) -> int:
        """Run a command in a pseudo-terminal and record it; stop_after: seconds until Ctrl-C. Returns its exit code."""
        begun = time.monotonic()
        self.add(f"$ {shlex.join(command)}", begun)
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
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Run the commands and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the page (default: print the transcript)")
    parser.add_argument("--photographs", type=Path, help="a folder with trainA, trainB, testA and testB")
    parser.add_argument("commands", nargs="*", help="commands to run instead, each as one argument")
    given = parser.parse_args()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    transcript = Transcript()
    with tempfile.TemporaryDirectory() as folder:
        for line in given.commands:
            command, _, seconds = line.partition(STOP)
            transcript.run(shlex.split(command), Path(folder), float(seconds.split()[0]) if seconds else None)
    print("\n".join(transcript.lines))
    print(f"Longest silence: {transcript.silence:.0f} s")
    return 1 if transcript.silence > SILENCE else 0


if __name__ == "__main__":
    sys.exit(main())
