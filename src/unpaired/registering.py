"""`unpaired.register`: a part of the user's own, of any sort."""

from __future__ import annotations

import importlib
from typing import Any, TypeVar

from unpaired.errors import ConfigError
from unpaired.registry import Registry

PartT = TypeVar("PartT")

HOMES = (
    ("unpaired.objectives", "METHODS"),
    ("unpaired.networks", "GENERATORS"),
    ("unpaired.networks", "DISCRIMINATORS"),
    ("unpaired.objectives", "LOSSES"),
    ("unpaired.images", "FORMATS"),
    ("unpaired.evaluation", "METRICS"),
    ("unpaired.interop", "EXPORTERS"),
    ("unpaired.translate.backends", "BACKENDS"),
)
"""Where each registry is; of two that accept a part, the first one asks for more."""


def register(part: PartT) -> PartT:
    """Register a part of your own and return it; serves as a decorator of a class.

    part: settings of a generator, a discriminator or a method (the class), a loss or an image format (the object). The
    protocols state its attributes: in `unpaired.networks.protocols`, `unpaired.objectives.method`,
    `unpaired.objectives.losses` and `unpaired.images.formats`.
    From then on settings and files can name it by its `kind` in this process. An installed package registers by an
    entry point instead. Raises ConfigError if it is none of these or its kind belongs to the package.
    """
    found = [registry for registry in registries() if registry.accepts(part)]
    if not found:
        name = getattr(part, "__name__", type(part).__name__)
        nouns = ", ".join(registry.noun for registry in registries())
        raise ConfigError(f"{name} is none of: {nouns}; give it the attributes that the protocol of its sort states.")
    return found[0].register(part)  # type: ignore[no-any-return]


def registries() -> list[Registry[Any]]:
    """Return the registries of all sorts of parts."""
    return [getattr(importlib.import_module(module), name) for module, name in HOMES]
