"""The minority of a domain: files with another type of values, or with a measurement as alpha."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path

from unpaired.storage import shown


def other_types(types: Mapping[Path, str]) -> tuple[list[tuple[Path, str]], str]:
    """Return the files with another type than most, each with its type, and the type of most; types: by file."""
    counts = collections.Counter(types.values())
    most = counts.most_common(1)[0][0] if counts else ""
    return [(path, kind) for path, kind in types.items() if kind != most], most


def types_note(folder: Path, files: Mapping[Path, str]) -> list[str]:
    """Return a sentence about files with another type than most, if there are any; files: the type of each."""
    others, most = other_types(files)
    if not others:
        return []
    path, kind = others[0]
    return [
        f"{len(others)} of {len(files)} files in {shown(folder)} are not {most} like most (first: "
        f"{shown(path.name)}, {kind}); the domain has the smallest type that "
        "holds all, and one --range for all of them unless it is dtype."
    ]


def band_note(folder: Path, names: Sequence[str], count: int, channels: int, letter: str) -> list[str]:
    """Return a sentence about images whose alpha looks like a measurement, if there are any.

    names: of these images.
    count: of all images.
    channels: without alpha.
    letter: of the domain, "a" or "b".
    """
    if not names:
        return []
    return [
        f"{len(names)} of {count} images in {shown(folder)} tag their last band as alpha, though it is neither "
        f"transparent nor opaque in most pixels, as near infrared is (first: {shown(names[0])}). They are composited "
        f"over data.background; to train on it as a band, give --data.channels-{letter} {channels + 1}."
    ]
