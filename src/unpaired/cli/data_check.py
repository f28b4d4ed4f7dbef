"""The output of `unpaired data check`: a table of the folders and a table of the findings."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from rich.markup import escape
from rich.table import Table

from unpaired.cli.output import console
from unpaired.storage import shown

if TYPE_CHECKING:
    from unpaired.doctor.checkup import Checkup
    from unpaired.doctor.findings import Finding

_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}
_MOST_EXAMPLES = 3

_COLUMNS = {"finding": 13, "where": 15, "training": 18, "what to do": 21}
"""Columns of the findings, and widths on a terminal of 80 columns that leave their words and options whole."""

_BORDERS = 13  # columns of lines and spaces between four columns


def print_checkup(checkup: Checkup) -> None:
    """Print the folders, then the findings with a few names each, the gravest first."""
    from unpaired.doctor.findings import SEVERITIES

    folders = Table(title=escape(shown(f"{checkup.title}")), title_justify="left")
    for name in ("folder", "images", "files", "formats", "modes", "shorter side"):
        folders.add_column(name, justify="right" if name in ("images", "files") else "left")
    for scan in checkup.scans:
        facts = scan.facts()
        sides = facts["shorter_side"]
        folders.add_row(
            escape(shown(facts["place"])),
            f"{facts['images']:,}",
            f"{facts['files']:,}",
            ", ".join(facts["formats"]),
            ", ".join(mode or "other" for mode in facts["modes"]),
            " to ".join(dict.fromkeys((str(sides[0]), str(sides[-1])))) if sides else "",
        )
    console().print(folders)
    table = Table(show_lines=True)
    least = sum(_COLUMNS.values()) + _BORDERS
    for name, width in _COLUMNS.items():
        table.add_column(name, width=width if least <= console().width < 100 else None, overflow="fold")
    for fault, findings in itertools.groupby(checkup.findings, lambda finding: finding.fault):
        title = f"[{_STYLES[fault.severity]}]{fault.severity}[/] {escape(fault.title)}"
        where = "\n".join(map(_where, findings))
        table.add_row(title, where, escape(fault.training), escape(fault.remedy))
    if checkup.findings:
        console().print(table)
    counts = [(checkup.count(severity), severity) for severity in SEVERITIES]
    listing = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for number, severity in counts if number)
    print(f"{listing or 'Nothing found'}.{' --json names every file, --html FILE shows them.' if listing else ''}")


def _where(finding: Finding) -> str:
    """Return the place, the number of files, and the first files with their details."""
    lines = [f"{finding.place}: {finding.num_files:,}" if finding.num_files else finding.place]
    for item in finding.items[:_MOST_EXAMPLES]:
        names = ", ".join(path.name for path in item.paths[:_MOST_EXAMPLES])
        lines.append(" ".join(filter(None, [names, f"({item.detail})" if names and item.detail else item.detail])))
    return "\n".join(escape(shown(line)) for line in lines)


@contextlib.contextmanager
def decoders_silent() -> Iterator[None]:
    """Suppress messages of native decoders about damaged files on standard error; the findings report these files.

    Messages of this package still arrive there.
    """
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - no path, a device
            os.dup2(nothing.fileno(), 2)
        own = open(kept, "w", buffering=1, closefd=False)  # noqa: SIM115 - a descriptor, which stays open
        with contextlib.redirect_stderr(own if _is_second(sys.stderr) else sys.stderr):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_second(stream: TextIO) -> bool:
    """Return whether a stream writes to the descriptor of standard error."""
    try:
        return stream.fileno() == 2
    except (OSError, ValueError, AttributeError):
        return False
