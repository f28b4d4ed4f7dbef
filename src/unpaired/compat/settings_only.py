"""Imports the classes of settings without torch, for `unpaired train --dry-run`.

Settings are dataclasses beside the networks and losses that they configure, in modules that import torch, which takes
more than a second. A dry run of a built-in recipe needs the dataclasses alone. So torch is replaced by placeholders
while these modules are imported: enough to define classes and functions with, and nothing else. From then on any use
of a placeholder raises `TorchNeeded`, and the command starts again with torch itself: a result never depends on them.
"""

from __future__ import annotations

import abc
import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

_REPLACED = ("torch", "safetensors", "numpy", "PIL")
_FULL = "UNPAIRED_WITH_TORCH"
_using = False  # whether the imports are done, so that placeholders refuse


class TorchNeeded(BaseException):
    """A placeholder was used. No Exception, so that no handler for errors takes it for one."""


class _Kind(abc.ABCMeta):
    """The class of placeholder classes: their attributes are placeholders too."""

    def __getattr__(cls, name: str) -> Any:
        return _placeholder(name)


class _Placeholder(metaclass=_Kind):
    """Stands for a class, a function or a value of torch: it can be a base class, a decorator, an attribute."""

    def __new__(cls, *_: Any, **__: Any) -> _Placeholder:
        _refuse_use()
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __class_getitem__(cls, _: Any) -> Any:
        return cls

    def __getattr__(self, name: str) -> Any:
        return _placeholder(name)

    def __call__(self, *values: Any, **_: Any) -> Any:
        _refuse_use()
        return values[0] if len(values) == 1 and callable(values[0]) else self  # as a decorator


class _Module(types.ModuleType):
    """Stands for a module."""

    __path__: list[str] = []  # noqa: RUF012 - a package, as the import system reads it

    def __getattr__(self, name: str) -> Any:
        return _placeholder(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _REPLACED:
            return None
        _refuse_use()
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def suits(tokens: Sequence[str]) -> bool:
    """Return whether a command line is likely to need nothing but settings.

    A guess that only saves time: anything that needs torch after all raises `TorchNeeded`.
    """
    words = " ".join(tokens)
    return (
        tokens[:1] == ["train"]
        and "--dry-run" in tokens
        and not any(word in words for word in (".py", "memory", "explain", "bf16", "cuda", "mps"))
        and not any(name in sys.modules for name in _REPLACED)
        and _FULL not in os.environ
        and "WORLD_SIZE" not in os.environ
        and sys.platform != "win32"  # whose exec starts a second process
    )


@contextmanager
def without_torch(*modules: str) -> Iterator[None]:
    """Import modules with placeholders for torch, and run the block; start the command again if it needs torch."""
    global _using
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        for name in modules:
            importlib.import_module(name)
        _using = True
        yield
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:  # TorchNeeded, or a module that cannot be imported so
        _start_again()


def _start_again() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _FULL: "1"})  # noqa: S606


def _placeholder(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    _refuse_use()
    return type(name, (_Placeholder,), {})


def _refuse_use() -> None:
    if _using:
        raise TorchNeeded
