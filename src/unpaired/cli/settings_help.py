"""The verb `settings`, and the rows of the manual's tables: every setting with its default, values and meaning."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.cli.explaining import plain, wrapped
from unpaired.cli.own_parts import load_parts
from unpaired.errors import ConfigError
from unpaired.registry import Registry, registry_of
from unpaired.setting_docs import class_doc, field_docs
from unpaired.storage import printable
from unpaired.suggestions import unknown

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}


@dataclass(frozen=True)
class Row:
    """A setting as a row of a table."""

    name: str
    """Dotted name, e.g. data.load_size."""
    kind: str
    """Kind of its part, e.g. unet; "" for a part without kinds."""
    default: str
    """Default of its class as it is typed; "" for an empty text or list, or without a default."""
    values: str
    """Accepted values: a type in words, or the choices."""
    free: bool
    """Whether it may differ when a run is continued, since it cannot change the result."""
    meaning: str
    """Docstring of the field, one line."""


@app.command(name="settings")
def print_settings(
    names: Annotated[tuple[str, ...], Parameter(name="NAME", negative=())] = (),
    /,
    *,
    recipe: Path | None = None,
) -> None:
    """List the settings of a run, with their defaults, values and meaning.

    Parameters
    ----------
    names
        A part of the settings (data, objective, generator...), a kind of a part (generator.unet) or one setting
        (data.load_size). Default: the parts.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.recipes import Config

    if not names:
        for part, classes in parts().items():
            kinds = ", ".join(cls.kind for cls in classes if hasattr(cls, "kind"))
            print(wrapped(f"{field_docs(Config)[part]}{f' Kinds: {kinds}.' if kinds else ''}", f"{part:15}", " " * 15))
        print("\n`unpaired settings PART` lists the settings of a part. free: may differ when a run is continued.")
    for name in names:
        print(printable("\n\n".join(_blocks(name.replace("-", "_")))))


def parts(*, own: bool = False) -> dict[str, list[Any]]:
    """Return the possible classes of each part of a configuration, the default first.

    own: only those of this package, without installed and registered ones.
    """
    from unpaired.recipes import Config

    hints = get_type_hints(Config)
    return {field.name: _members(hints[field.name], own) for field in dataclasses.fields(Config)}


def rows(part: str, cls: Any) -> list[Row]:
    """Return the settings of one class of a part, in the order of its fields."""
    hints, docs = get_type_hints(cls, include_extras=True), field_docs(cls)
    found = []
    for field in dataclasses.fields(cls):
        factory = field.default_factory
        default = factory() if factory is not dataclasses.MISSING else field.default
        found.append(
            Row(
                name=f"{part}.{field.name}",
                kind=getattr(cls, "kind", ""),
                default="" if default is dataclasses.MISSING else plain(default),
                values=values_of(hints[field.name]),
                free=bool(field.metadata.get("free")),
                meaning=docs[field.name],
            )
        )
    return found


def kind_row(part: str, classes: list[Any]) -> list[Row]:
    """Return the setting that selects the class of a part; none for a part with one class."""
    from unpaired.recipes import Config

    kinds = [cls.kind for cls in classes if hasattr(cls, "kind")]
    if not kinds:
        return []
    default, meaning = getattr(Config(), part).kind, field_docs(Config)[part]
    return [Row(f"{part}.kind", kind="", default=default, values=", ".join(kinds), free=False, meaning=meaning)]


def all_rows(part: str, classes: list[Any]) -> list[Row]:
    """Return the settings of every class of a part, its kind first."""
    return [*kind_row(part, classes), *(row for cls in classes for row in rows(part, cls))]


def values_of(annotation: Any) -> str:
    """Return the values of a setting of this type in words: "whole number or none", "nchw, channels_last"."""
    options, origin = get_args(annotation), get_origin(annotation)
    if origin is Annotated and isinstance(options[1], Registry):
        return ", ".join(options[1].kinds())
    if origin in (Union, types.UnionType):
        return " or ".join(map(values_of, options))
    if origin is Literal:
        return ", ".join(map(str, options))
    if origin is tuple:
        return f"list of {values_of(options[0])}"
    return _WORDS.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _members(annotation: Any, own: bool) -> list[Any]:
    registry = registry_of(annotation)
    return [annotation] if registry is None else registry.own() if own else list(registry)


def _blocks(name: str) -> Iterator[str]:
    """Yield the paragraphs for a name; raises ConfigError if there is no such part, kind or setting."""
    everything = parts()
    part, _, kind = name.partition(".")
    classes = everything.get(part, [])
    choosing = kind_row(part, classes)
    chosen = [cls for cls in classes if kind in ("", getattr(cls, "kind", None))]
    if not chosen:
        known = [row for key, found in everything.items() for row in all_rows(key, found)]
        found = [_paragraph(row) for row in known if row.name == name]
        if not found:
            names = [*everything, *dict.fromkeys(row.name for row in known), *_kinds(everything)]
            raise ConfigError(unknown(name, names, "setting"))
        yield from found
        return
    if not kind:
        yield from map(_paragraph, choosing)
    for cls in chosen:
        if hasattr(cls, "kind"):
            yield wrapped(f"--{part}.kind {cls.kind}: {class_doc(cls)}")
        yield from map(_paragraph, rows(part, cls))


def _kinds(everything: dict[str, list[Any]]) -> list[str]:
    """Return the kinds of all parts, such as generator.unet."""
    return [f"{part}.{cls.kind}" for part, classes in everything.items() for cls in classes if hasattr(cls, "kind")]


def _paragraph(row: Row) -> str:
    facts = [row.values, *([f"kind {row.kind}"] if row.kind else []), *(["free"] if row.free else [])]
    head = f"{row.name}: {row.default or '(empty)'}   ({'; '.join(facts)})"
    return f"{head}\n{wrapped(row.meaning, ' ' * 4, ' ' * 4)}"
