"""Words of messages."""

from __future__ import annotations

_HOUR, _DAY = 3600, 86400


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, whose plural ends in s or ies: "1 file", "2,000 files", "3 entries", "6 days"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a duration in words: 45 s, 12:05 min, 3:20 h, 2 d 5 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}:{seconds % _HOUR // 60:02d} h"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def rough_duration(seconds: float) -> str:
    """Return an estimated duration in one unit: 45 s, 12 min, 1.5 h, 6 days."""
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 1.5 * _HOUR:
        return f"{round(seconds / 60)} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.2g} h"
    days = seconds / _DAY
    return f"{days:.2g} days" if days < 10 else f"{days:,.0f} days"
