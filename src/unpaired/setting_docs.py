"""Documentation of settings, read from the docstrings below the fields of a dataclass.

A string literal below a field documents it for editors, and here for the command line and the manual:

    learning_rate: float = 2e-4
    \"\"\"Learning rate of Adam, above 0.\"\"\"
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType


def field_docs(cls: type) -> Mapping[str, str]:
    """Return the docstring of each field of a dataclass by its name, as one line; "" for a field without one.

    Fields of base classes count, those of the class itself first. A class whose source is not to be had (compiled, or
    made in a console) gives empty texts.
    """
    return _field_docs(cls)


def class_doc(cls: type) -> str:
    """Return the first sentence or paragraph of a class's docstring as one line; "" if it has none of its own."""
    text = cls.__dict__.get("__doc__") or ""
    generated = dataclasses.is_dataclass(cls) and text.startswith(f"{cls.__name__}(")
    return "" if generated else " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


@cache
def _field_docs(cls: type) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found.update(_docs_below_fields(base))
    names = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    return MappingProxyType({name: found.get(name, "") for name in names})


def _docs_below_fields(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the fields that the body of a class annotates and that a string follows, with that string."""
    if cls.__module__ == "builtins":
        return
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or none that stands by itself
        return
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                yield name, " ".join(doc.split())
