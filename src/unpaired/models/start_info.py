"""The entry "started_from" of model.json: the weights that the training of a model started from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StartInfo:
    """The weights that training started from instead of new ones.

    source: name of the run, model folder or file, without its place. step: its step, None if unknown.
    sha256: of all its weights.
    """

    source: str
    step: int | None
    sha256: str
