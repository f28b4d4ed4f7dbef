"""Image-to-image translation learnt from two folders of images that were never matched up.

import unpaired

run = unpaired.train("datasets/summer2winter")      # or: unpaired train DATA
translator = unpaired.load(run.path)
winter = translator(PIL.Image.open("summer.jpg"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unpaired import errors
from unpaired.version import __version__

if TYPE_CHECKING:
    from unpaired import recipes
    from unpaired.images import Image
    from unpaired.recipes import Config
    from unpaired.registering import register
    from unpaired.runs import RunInfo, info, train
    from unpaired.training.callbacks import Callback, StepView
    from unpaired.translate.translator import Translator

    load = Translator.load

__all__ = [
    "Callback",
    "Config",
    "Image",
    "RunInfo",
    "StepView",
    "Translator",
    "__version__",
    "errors",
    "info",
    "load",
    "recipes",
    "register",
    "train",
]

# Names are imported when first used: torch takes a second to import, and `unpaired --help` does not need it.
_HOMES = {
    "Callback": "unpaired.training.callbacks",
    "Config": "unpaired.recipes",
    "Image": "unpaired.images",
    "RunInfo": "unpaired.runs",
    "StepView": "unpaired.training.callbacks",
    "Translator": "unpaired.translate.translator",
    "info": "unpaired.runs",
    "register": "unpaired.registering",
    "train": "unpaired.runs",
}


def __getattr__(name: str) -> Any:
    if name == "recipes":
        return importlib.import_module("unpaired.recipes")
    if name == "load":
        return __getattr__("Translator").load
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unpaired' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
