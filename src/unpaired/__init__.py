"""Image-to-image translation learnt from two folders of images that were never matched up.

    import PIL.Image
    import unpaired

    run = unpaired.train("summer2winter", recipe="fast", steps=2000)      # or: unpaired train DATA
    translator = unpaired.load(run.path)
    winter = translator(PIL.Image.open("summer.jpg"))

The names below are the public interface; everything else may change between versions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unpaired import errors
from unpaired.version import __version__

if TYPE_CHECKING:
    from unpaired import recipes
    from unpaired.data.datasets import DataConfig
    from unpaired.images import Image
    from unpaired.networks import (
        AttentionGenerator,
        CoupledDiscriminator,
        CoupledGenerator,
        DCGANDiscriminator,
        DCGANGenerator,
        ImageGAN,
        PatchGAN,
        PixelGAN,
        PixelShuffleGenerator,
        ResNetGenerator,
        UNetGenerator,
    )
    from unpaired.objectives import CUT, GAN, BiGAN, CoGAN, CycleGAN, FeatureGAN, Loss, Pix2Pix, SimGAN
    from unpaired.public import check, evaluate, export, import_weights
    from unpaired.recipes import Config
    from unpaired.registering import register
    from unpaired.runs import RunInfo, info, train
    from unpaired.runs.verify import verify
    from unpaired.training.callbacks import Callback, StepView
    from unpaired.training.run_config import RunConfig
    from unpaired.training.schedule import ScheduleConfig
    from unpaired.training.state import OptimizerConfig
    from unpaired.translate.sampling import Sampler
    from unpaired.translate.translator import Translator

    load = Translator.load

# Names are imported when first used: torch takes a second to import, and `unpaired --help` does not need it.
_HOMES = {
    "AttentionGenerator": "unpaired.networks",
    "BiGAN": "unpaired.objectives",
    "CUT": "unpaired.objectives",
    "Callback": "unpaired.training.callbacks",
    "CoGAN": "unpaired.objectives",
    "Config": "unpaired.recipes",
    "CoupledDiscriminator": "unpaired.networks",
    "CoupledGenerator": "unpaired.networks",
    "CycleGAN": "unpaired.objectives",
    "DCGANDiscriminator": "unpaired.networks",
    "DCGANGenerator": "unpaired.networks",
    "DataConfig": "unpaired.data.datasets",
    "FeatureGAN": "unpaired.objectives",
    "GAN": "unpaired.objectives",
    "Image": "unpaired.images",
    "ImageGAN": "unpaired.networks",
    "Loss": "unpaired.objectives",
    "OptimizerConfig": "unpaired.training.state",
    "PatchGAN": "unpaired.networks",
    "Pix2Pix": "unpaired.objectives",
    "PixelGAN": "unpaired.networks",
    "PixelShuffleGenerator": "unpaired.networks",
    "ResNetGenerator": "unpaired.networks",
    "RunConfig": "unpaired.training.run_config",
    "RunInfo": "unpaired.runs",
    "Sampler": "unpaired.translate.sampling",
    "ScheduleConfig": "unpaired.training.schedule",
    "SimGAN": "unpaired.objectives",
    "StepView": "unpaired.training.callbacks",
    "Translator": "unpaired.translate.translator",
    "UNetGenerator": "unpaired.networks",
    "check": "unpaired.public",
    "evaluate": "unpaired.public",
    "export": "unpaired.public",
    "import_weights": "unpaired.public",
    "info": "unpaired.runs",
    "register": "unpaired.registering",
    "train": "unpaired.runs",
    "verify": "unpaired.runs.verify",
}

__all__ = [
    "CUT",
    "GAN",
    "AttentionGenerator",
    "BiGAN",
    "Callback",
    "CoGAN",
    "Config",
    "CoupledDiscriminator",
    "CoupledGenerator",
    "CycleGAN",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DataConfig",
    "FeatureGAN",
    "Image",
    "ImageGAN",
    "Loss",
    "OptimizerConfig",
    "PatchGAN",
    "Pix2Pix",
    "PixelGAN",
    "PixelShuffleGenerator",
    "ResNetGenerator",
    "RunConfig",
    "RunInfo",
    "Sampler",
    "ScheduleConfig",
    "SimGAN",
    "StepView",
    "Translator",
    "UNetGenerator",
    "__version__",
    "check",
    "errors",
    "evaluate",
    "export",
    "import_weights",
    "info",
    "load",
    "recipes",
    "register",
    "train",
    "verify",
]


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
