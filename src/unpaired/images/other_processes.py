"""Transfer of formats registered by a program or a recipe to its loader processes.

A new process knows the package's formats and the installed ones. The others are sent to it, each preceded by its
module, because the module of a recipe cannot be imported by its name.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from unpaired.errors import ConfigError
from unpaired.images.formats import ImageFormat
from unpaired.images.registered import FORMATS
from unpaired.registry import registering_from
from unpaired.storage import shown


@dataclass(frozen=True)
class DefinedIn:
    """The module of a class; unpickling it in another process puts the module into `sys.modules`."""

    module: str
    file: str

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return _loaded, (self.module, self.file)


Sent = tuple[tuple[DefinedIn, ImageFormat], ...]


def to_send() -> Sent:
    """Return the formats that another process cannot find by itself.

    Raises ConfigError if the class of a format is defined in a function and cannot be imported.
    """
    others = [known for known in FORMATS.lookup.known if known.origin is not None and not known.origin.package]
    for known in others:
        if "<locals>" in type(known.format).__qualname__:
            raise ConfigError(
                f"The class of the image format {shown(known.kind)} is defined in a function, and loader processes "
                "cannot import it; move it to the top of its file, or set --data.num-workers 0."
            )
    return tuple((_place(type(known.format).__module__), known.format) for known in others)


def receive(formats: Sent) -> None:
    """Register received formats unless importing their module has done so."""
    for _, part in formats:
        if part.kind not in FORMATS:
            FORMATS.register(part)


def _place(module: str) -> DefinedIn:
    return DefinedIn(module, getattr(sys.modules[module], "__file__", "") or "")


def _loaded(module: str, file: str) -> DefinedIn:
    """Import a module by its name, or else from its file."""
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            spec = importlib.util.spec_from_file_location(module, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[module] = importlib.util.module_from_spec(spec)
            with registering_from(Path(file)):
                spec.loader.exec_module(sys.modules[module])
    return DefinedIn(module, file)
