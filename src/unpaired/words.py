"""Words of messages."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, whose plural ends in s or ies: "1 file", "2,000 files", "3 entries"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
