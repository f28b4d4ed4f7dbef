"""The output of the commands: sentences, progress, tables."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from unpaired.training.terminal import print_sentence

if TYPE_CHECKING:
    from unpaired.demo import DemoResult


def console(width: int = 100) -> Console:
    """Return the console for tables: in colour on a terminal, plain text of `width` columns in a file."""
    return Console(width=None if sys.stdout.isatty() else width)


def print_below(sentence: str) -> None:
    """Print a sentence on a separate line, below the progress line of a terminal."""
    print_sentence("\n" * sys.stdout.isatty() + sentence)


class ByteLines:
    """Prints the progress of a download: on a terminal one updated line, in a log file one every ten seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._printed = 0.0

    def __call__(self, received: int, total: int) -> None:
        """Print the bytes received and their total (0: unknown), if enough time has passed."""
        now, last = time.monotonic(), received == total
        if not last and now - self._printed < (0.2 if self._terminal else 10.0):
            return
        self._printed = now
        share = f" of {total / 1e6:.1f} MB  {received / total:.0%}" if total else " MB"
        line = f"{received / 1e6:.1f}{share}"
        print(
            f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal and not last else "\n", flush=True
        )


def print_demo(result: DemoResult, out: Path) -> None:
    """Print the demo's table, with the model's row in bold, and the paths of the pictures."""
    titles = {
        "none": "no translation",
        "colour": "best colour transform*",
        "model": "this model",
    }
    table = Table(title="Against truth, on scenes never seen in training")
    table.add_column("")
    for title in ("→ winter L1", "PSNR", "SSIM", "→ summer L1", "PSNR", "SSIM"):
        table.add_column(title, justify="right")
    for name, title in titles.items():
        cells = []
        for direction in ("AtoB", "BtoA"):
            scores = result.scores[name][direction]
            cells += [f"{scores.l1:.3f}", f"{scores.psnr:.2f}", f"{scores.ssim:.3f}"]
        table.add_row(title, *cells, style="bold" if name == "model" else "")
    console().print(table)
    print("* a polynomial of degree 4 in (r, g, b) for each channel, fitted with the truth that the model never sees")
    print(f"{result.seconds:.0f} seconds.  Pictures: {out / 'demo.png'}   Report: {out / 'report.html'}")
