"""The output of the commands: sentences, progress, tables."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from unpaired.headway import REFRESH, SPACING
from unpaired.live_line import has_live_line, rewrite
from unpaired.training.terminal import print_sentence
from unpaired.words import duration

if TYPE_CHECKING:
    from unpaired.demo import DemoResult

_NARROWEST = 80  # columns that tables are made for


def console(width: int = 100) -> Console:
    """Return the console for tables: in colour on a terminal, plain text of `width` columns in a file.

    A terminal of fewer than 80 columns wraps the lines itself: rich would cut figures and whole columns.
    """
    if not sys.stdout.isatty():
        return Console(width=width)
    terminal = Console()
    return terminal if terminal.width >= _NARROWEST else Console(width=_NARROWEST)


def print_below(sentence: str) -> None:
    """Print a sentence on a line of its own, in place of the ^C that a terminal shows."""
    rewrite("")
    print_sentence(sentence)


class ByteLines:
    """Shows the progress of a download: as the live line of a terminal, in a log file as a line every 30 seconds.

    The last line, of all bytes, is always printed.
    """

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None
        self._shown = 0.0

    def __call__(self, received: int, total: int) -> None:
        """Show the bytes received and their total (0: unknown), if enough time has passed."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, received
        if received == total:
            print_sentence(_megabytes(received, total))
        elif now - self._shown >= (REFRESH if has_live_line() else SPACING):
            self._shown = now
            line = _megabytes(received, total) + _time_left(self._begun, now, received, total)
            (rewrite if has_live_line() else print_sentence)(line)


def _megabytes(received: int, total: int) -> str:
    share = f" of {total / 1e6:.1f} MB  {received / total:.0%}" if total else " MB"
    return f"{received / 1e6:.1f}{share}"


def _time_left(begun: tuple[float, int], now: float, received: int, total: int) -> str:
    """Return the time left by the mean speed since `begun`, a time and a number of bytes; "" if it is unknown."""
    if not total or received == begun[1]:
        return ""
    return f"  {duration((now - begun[0]) / (received - begun[1]) * (total - received))} left"


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
