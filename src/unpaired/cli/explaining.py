"""`unpaired train --explain`: a configuration as YAML, each setting with its source and its meaning as a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from unpaired.config import SCHEMA, to_dict
from unpaired.setting_docs import class_doc, field_docs
from unpaired.storage import shown

WIDTH = 100
"""Width of the text in columns."""


def explained(config: Any, sources: Mapping[str, str]) -> str:
    """Return the YAML of a configuration with comments, which --config accepts.

    sources: source of each setting, by its dotted name.
    """
    blocks = [f"schema: {SCHEMA}"]
    for part, values in to_dict(config).items():
        blocks += ["", *_comment(field_docs(type(config)).get(part, "")), f"{part}:"]
        cls = type(getattr(config, part))
        docs = {"kind": class_doc(cls), **field_docs(cls)}
        for name, value in values.items():
            source = sources[f"{part}.{name}"]
            blocks += [*_comment(f"[{source}] {docs.get(name, '')}", "  "), *_entry(name, value)]
    return "\n".join(blocks) + "\n"


def wrapped(text: str, first: str = "", later: str = "") -> str:
    """Return text in lines of WIDTH columns, which begin with `first` and `later`."""
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def plain(value: Any) -> str:
    """Return the value of a setting as it is typed: true, none, 0.0002, 255,255,255."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _comment(text: str, indent: str = "") -> Iterator[str]:
    start = f"{indent}# "
    yield from wrapped(shown(text.strip()), start, start).splitlines()


def _entry(name: str, value: Any) -> list[str]:
    """Return the lines of one setting, indented as in a part."""
    return textwrap.indent(yaml.safe_dump({name: value}, allow_unicode=True), "  ").splitlines()
