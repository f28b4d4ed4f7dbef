"""Pages from templates, and the HTML that they share; everything is escaped unless a docstring calls it HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from unpaired.storage import printable, shown, write_bytes

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SCRIPTED = f"{_POLICY}; script-src 'unsafe-inline'"


def html_page(package: str, template: str, title: str, **parts: str) -> str:
    """Return a page: the template of a package with its parts, in the common skeleton.

    package, template: of a file with one style element and then the body; $name stands for a part, $title for the
        title.
    title: text.
    parts: HTML.

    The page loads no other files, and runs a script only if its template holds one.
    """
    style, _, body = (files(package) / template).read_text(encoding="utf-8").partition("</style>\n")
    heading = escaped(title)
    return Template((files(__package__) / "skeleton.html").read_text(encoding="utf-8")).substitute(
        policy=_SCRIPTED if "<script>" in body else _POLICY,
        title=heading,
        style=style.removeprefix("<style>\n"),
        body=Template(body).substitute(parts, title=heading),
    )


def write_page(path: Path, text: str) -> None:
    """Write a page as UTF-8, atomically, replacing an older one.

    Raises OutputError if the folder refuses the file, StorageError on a full or failing disk.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"))


def escaped(value: object) -> str:
    """Escape a value for HTML, on one line, with control characters spelled out."""
    return html.escape(shown(value))


def escaped_lines(value: object) -> str:
    """Escape a value as `escaped` does, but keep its line breaks."""
    return html.escape(printable(str(value)))


def table_row(cells: Iterable[object]) -> str:
    """Return a row of a table."""
    return f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in cells)}</tr>"


def terms(facts: Mapping[str, object], text: Callable[[object], str] = escaped) -> str:
    """Return facts by name as the content of a dl element; text: makes HTML of a name or a value."""
    return "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in facts.items())


def status_terms(facts: Mapping[str, object], text: Callable[[object], str] = escaped) -> str:
    """Return facts by name as the content of the dl element of class "status" under a title."""
    return "".join(f"<div>{terms({key: value}, text)}</div>" for key, value in facts.items())


def image_uri(content: bytes, kind: str) -> str:
    """Return an encoded image as a data URI, so that it is part of the page; kind: "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
