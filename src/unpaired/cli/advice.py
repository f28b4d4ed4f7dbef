"""Advice of the library in the words of the command line: options in place of settings."""

from __future__ import annotations

from unpaired.errors import UnpairedError

OPTIONS = {
    "max_pixels": "--max-pixels",
    "device": "--device",
    "precision": "--precision",
    "backend": "--backend",
    "format": "--format",
    "class_name": "--class",
    "recipes.load_file": "--recipe",
    "import_weights": "`unpaired import`",
}
"""The option of each setting that an error may carry."""


def advice_of(error: UnpairedError) -> str:
    """Return the message of an error, with the setting that its advice ends in named as an option."""
    return advised(str(error), error.setting)


def advised(text: str, setting: str) -> str:
    """Return the text with the last mention of a setting replaced by its option."""
    option = OPTIONS.get(setting)
    before, name, after = text.rpartition(setting) if option else ("", "", "")
    return f"{before}{option}{after}" if name else text
