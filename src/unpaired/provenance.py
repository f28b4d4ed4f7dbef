"""Provenance of settings: which stage of making a configuration gave each setting its value.

A configuration is made in stages, each a function from one configuration to the next: recipe, size, file, options, and
resolvers that look at the data or the machine. To have a stage on record, pass its result through `stage`:

    provenance = Provenance(paper(), "recipe paper")
    provenance.stage(at_size(provenance.config, 128), "--size 128")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from unpaired.config import flatten
from unpaired.errors import ConfigError

ConfigT = TypeVar("ConfigT")

DEFAULT = "default"
"""Source of a setting that has the default of its class."""


class Provenance(Generic[ConfigT]):
    """A configuration in the making, with the source of each of its settings.

    config: as the last stage left it. sources: by dotted name, in the tree's order, e.g. {"run.seed": "--seed"}.
    """

    def __init__(self, config: ConfigT, source: str) -> None:
        self.config = config
        defaults = _defaults(config)
        self.sources = {
            key: DEFAULT if defaults.get(key, _NONE) == value else source for key, value in flatten(config).items()
        }

    def stage(self, config: ConfigT, source: str, named: Mapping[str, str] | None = None) -> ConfigT:
        """Record the configuration that a stage made of the last one, and return it.

        A setting whose value is new has `source`, but DEFAULT if a new `kind` of its part brought it. named: settings
        that the stage was given by name, with a source of their own, which they have even if the value is the old one.
        """
        named, old, defaults = named or {}, flatten(self.config), _defaults(config)
        new, sources = flatten(config), {}
        for key, value in new.items():
            kind = f"{key.rpartition('.')[0]}.kind"
            fresh = kind in named or old.get(kind) != new.get(kind)
            if key in named:
                sources[key] = named[key]
            elif old.get(key, _NONE) == value:
                sources[key] = self.sources[key]
            else:
                sources[key] = DEFAULT if fresh and defaults.get(key, _NONE) == value else source
        self.config, self.sources = config, sources
        return config


_NONE = object()


def _defaults(config: Any) -> dict[str, Any]:
    """Return the settings of each part of a configuration by default, but for the kinds; {} of parts without any."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        try:
            plain = flatten(type(part)(), field.name)
        except (TypeError, ConfigError):  # a field without default, or with one that needs others
            continue
        found.update({key: value for key, value in plain.items() if key != f"{field.name}.kind"})
    return found
