"""The sentence for a name that does not exist, with the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from unpaired.storage import shown

MAX_LISTED = 30
"""Names that are listed if none is near; of more, only the first ones."""


def unknown(name: str, known: Iterable[str], noun: str) -> str:
    """Return the sentence for a name that does not exist, with the nearest existing one as a suggestion."""
    names = list(known)
    near = difflib.get_close_matches(name.replace("-", "_"), names, n=1, cutoff=0.6)
    if not near:  # the group may be forgotten: crop_size -> data.crop_size
        leaf = name.rsplit(".", 1)[-1].replace("-", "_")
        near = [path for path in names if path.rsplit(".", 1)[-1] == leaf][:1]
    more = f", ... ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    hint = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(names[:MAX_LISTED])}{more}."
    return f"Unknown {noun} {shown(name)}; {hint}"
