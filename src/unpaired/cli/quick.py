"""Starting and ending fast: what a short command need not wait for when torch is imported."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

SHAPES = "torch._meta_registrations"
"""The part of torch that knows the shape of each operator's result without computing it, for compilers alone."""


@contextmanager
def importing() -> Iterator[None]:
    """Import in the body without looking for garbage, then or when the process ends, among what is imported.

    Importing torch makes half a million objects that live as long as the process. With torch 2.13 this takes a tenth of
    a second off the start of a command and three tenths off its end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def without_shapes() -> None:
    """Have torch, where it is not imported yet, import SHAPES and what that imports only when something asks for it.

    For commands that run networks and compile none: with torch 2.13 it is a third of `import torch`. A torch without
    that module never asks. What looks names up in it gets them; what only counts on its having been imported, as
    fake tensors do, needs `import_shapes` before.
    """
    if "torch" not in sys.modules:
        sys.modules[SHAPES] = _Shapes(SHAPES)


def import_shapes() -> ModuleType:
    """Return SHAPES, imported now if that was put off."""
    if isinstance(sys.modules.get(SHAPES), _Shapes):
        del sys.modules[SHAPES]
    return importlib.import_module(SHAPES)


class _Shapes(ModuleType):
    """Stands where SHAPES will be, and gives its names by importing it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(import_shapes(), name)
