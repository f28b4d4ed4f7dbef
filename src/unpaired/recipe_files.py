"""Recipe files: a user's own code, executed because the user named it, and the parts that it registers."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from unpaired.errors import ConfigError, UnpairedError
from unpaired.networks import DISCRIMINATORS, GENERATORS
from unpaired.objectives import LOSSES, METHODS
from unpaired.registry import Origin, Registry, registering_from
from unpaired.storage import at_home, shown


def load_file(file: str | Path) -> ModuleType:
    """Execute a user's recipe file and return its module.

    Registers its networks and methods (classes with a `kind`), in addition to those that it passes to
    `unpaired.register`. The file may import modules beside it. Only for files that the user named as code. Raises
    ConfigError if the file is missing or fails.
    """
    path = at_home(file)
    if path.suffix != ".py":
        raise ConfigError(f"{shown(file)} is no file of your own; --recipe takes FILE.py here.")
    spec = importlib.util.spec_from_file_location(f"user_recipe_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"The recipe file {shown(file)} does not exist; check --recipe.")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that modules beside the file cannot replace installed ones
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their annotations there
    with user_code(path):
        spec.loader.exec_module(module)
        for part in vars(module).values():
            if isinstance(part, type) and part.__module__ == module.__name__ and "kind" in vars(part):
                _register_class(part)
    return module


def _register_class(part: type) -> None:
    """Register a class of a recipe file if it is a method or a network."""
    for registry in (METHODS, GENERATORS, DISCRIMINATORS):
        if registry.accepts(part):
            registry.register(part)
            return


def origins_of(config: Any) -> dict[str, Origin]:
    """Return the origins of components that are not built in, as {"generator wide": ...}."""
    found: dict[str, Origin] = {}
    for part, registry in _parts_of(config):
        found |= registry.origins([part.kind])
    loss = getattr(config.objective, "adversarial", None)
    return found if loss is None else found | LOSSES.origins([loss])


def register_parts(config: Any) -> None:
    """Register the classes of a configuration's networks and method if they are not registered yet.

    Raises ConfigError if a class lacks an attribute or its kind is a built-in one.
    """
    for part, registry in _parts_of(config):
        if type(part) not in registry.own():
            registry.register(type(part))


def _parts_of(config: Any) -> list[tuple[Any, Registry[Any]]]:
    return [(config.objective, METHODS), (config.generator, GENERATORS), (config.discriminator, DISCRIMINATORS)]


@contextmanager
def user_code(file: Path) -> Iterator[None]:
    """Attribute the parts that the block registers to `file`, and raise ConfigError with the line if its code fails."""
    try:
        with registering_from(file):
            yield
    except UnpairedError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        place = f" in line {line}" if line else ""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"The recipe file {shown(file)} fails{place} ({reason}); fix it.") from error
