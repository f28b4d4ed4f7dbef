"""Advice of the library in the words of the command line: options in place of settings."""

from __future__ import annotations

from unpaired.errors import UnpairedError

OPTIONS = {"max_pixels": "--max-pixels", "device": "--device", "precision": "--precision", "backend": "--backend"}
"""The option of each setting that an error may carry."""


def advice_of(error: UnpairedError) -> str:
    """Return the message of an error, with the option in place of the setting that its advice names."""
    text, option = str(error), OPTIONS.get(error.setting)
    before, name, after = text.rpartition(error.setting) if option else ("", "", "")
    return f"{before}{option}{after}" if name else text
