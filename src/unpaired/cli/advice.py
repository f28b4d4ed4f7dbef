"""Advice of the library in the words of the command line: options in place of settings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from unpaired.cli.misunderstood import given_folder, without
from unpaired.errors import LayoutError, UnpairedError

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


def advice_of(error: UnpairedError, words: Sequence[str] = ()) -> str:
    """Return the message of an error, with the setting that its advice ends in named as an option.

    words: the command line; a command that the error suggests gets its other options.
    """
    if isinstance(error, LayoutError) and words[:1] == ["train"] and not error.complete:
        return f"{error.lead}: {shlex.join(['unpaired', 'train', *error.words, *_others(error, words)])}"
    return advised(str(error), error.setting)


def _others(error: LayoutError, words: Sequence[str]) -> list[str]:
    """Return the words of `unpaired train` without the command, the folder, and options that the error replaces."""
    rest = without(words[1:], [given_folder(words)])
    kept: list[str] = []
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if name.startswith("--") and name in error.words:
            rest = rest if equals else rest[1:]
        else:
            kept.append(word)
    return kept


def advised(text: str, setting: str) -> str:
    """Return the text with the last mention of a setting replaced by its option."""
    option = OPTIONS.get(setting)
    before, name, after = text.rpartition(setting) if option else ("", "", "")
    return f"{before}{option}{after}" if name else text
