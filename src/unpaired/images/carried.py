"""Contents of a file beside its image that a result cannot keep: found file by file, reported once per kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from unpaired.errors import UnpairedError
from unpaired.images.files import read_header
from unpaired.images.formats import HEAD_BYTES, Carried
from unpaired.images.registered import FORMATS, lost

WORDS: Mapping[Carried, str] = {
    "pages": "the further pages",
    "frames": "the further frames",
    "planes": "the names of the z, c and t axes",
    "georeference": "the georeference",
    "pyramid": "the pyramid of smaller copies",
    "physical size": "the physical size of a pixel",
    "no-data": "the no-data value",
    "band descriptions": "the descriptions, scales and units of the bands",
}
"""The contents beside an image in plain words, in the order in which they are reported."""


def lost_from(path: str | os.PathLike[str], suffix: str) -> frozenset[Carried]:
    """Return the contents beside the image of a file that a result with this suffix cannot keep.

    Files of formats that carry nothing are not opened. The result is empty for a file that cannot be read.
    """
    path = Path(path)
    known = FORMATS.named(path)
    if known is not None and known.carries is not None and not known.carries:
        return frozenset()
    try:
        if known is not None and known.quick is not None and known.content is not None and path.is_file():
            with path.open("rb") as file:
                if known.content.recognises(file.read(HEAD_BYTES)):
                    return known.quick.carried(file)
        return lost(read_header(path), suffix)
    except (UnpairedError, OSError):
        return frozenset()


def in_order(kinds: Iterable[Carried]) -> list[Carried]:
    """Return kinds in the order in which they are reported."""
    found = set(kinds)
    return [kind for kind in WORDS if kind in found]
