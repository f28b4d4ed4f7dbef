"""The direction that a user means, as typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unpaired.errors import ConfigError
from unpaired.suggestions import unknown


def direction_named(text: str, directions: Sequence[str], domains: Mapping[str, str]) -> str:
    """Return the direction of a model that a user names.

    Case is ignored. Known are AtoB, A2B, a_to_b, A-B and the like, the same with the names of the domains
    (summer2winter), and the domain of the results alone (B, winter, "to winter"). Raises ConfigError for anything else.

    directions: those of the model. domains: the names of domains A and B.
    """
    wanted = _plain(text)
    for direction in directions:
        source, target = direction[0], direction[-1]
        ends = [(source.lower(), target.lower()), (_plain(domains[source]), _plain(domains[target]))]
        if wanted in {f"{a}{between}{b}" for a, b in ends for between in ("to", "2", "")}:
            return direction
        if wanted in {target.lower(), f"to{target.lower()}"} or (
            ends[1][1] != ends[1][0] and wanted in {ends[1][1], f"to{ends[1][1]}"}
        ):
            return direction
    raise ConfigError(unknown(repr(text), directions, "direction"))


def _plain(name: str) -> str:
    """Return a name in lower case without spaces, dashes, underscores and arrows."""
    return re.sub(r"[\s_>→-]+", "", name.lower())
