"""What a backend is: the way from a model folder to a function of batches, with any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unpaired.translate.precision import Computed, Precision

Batch = np.ndarray[Any, np.dtype[np.float32]]
"""Images n c h w, float32 in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a loaded generator can do, on the device that it was loaded on.

    device: the name of that device, e.g. "cpu" or "cuda:0".
    precisions: those that `run` computes in.
    fast_precisions: those among which "auto" chooses, as this device has instructions for them.
    max_batch: the most images that `run` takes at once, None for any number.
    pixels_at_once: the pixels of a batch up to which it is faster than its images one by one.
    one_by_one: precisions in which the last bits of a result depend on its neighbours in the batch, so that images
        are translated one at a time unless the user asks for batches.
    bytes_per_pixel: about how much memory `run` takes for each pixel of a batch; 0 if nobody knows.
    """

    device: str = "cpu"
    precisions: tuple[Computed, ...] = ("fp32",)
    fast_precisions: tuple[Computed, ...] = ("fp32",)
    max_batch: int | None = None
    pixels_at_once: int = 1
    one_by_one: tuple[Computed, ...] = ()
    bytes_per_pixel: int = 0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a batch is to be computed.

    precision: one of the capabilities' precisions.
    eight_bit: whether results are rounded to 8 bits, so that a faster form which is off in the fifth digit will do.
    size: height and width of the images before they were padded to the right and below.
    """

    precision: Computed = "fp32"
    eight_bit: bool = False
    size: tuple[int, int] = (0, 0)


class LoadedGenerator(Protocol):
    """The generator of one direction, loaded by a backend.

    Optional: `pixels_that_fit() -> int | None`, the pixels of a batch for which there is memory now, None if nobody
    knows; without it every size is tried. Optional, for backends that compute with torch: `torch_device` and
    `run_tensor(images: Tensor, options: RunOptions) -> Tensor`, which spare the way through NumPy.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def run(self, images: Batch, options: RunOptions) -> Batch:
        """Translate images n c h w, float32 in [-1, 1], into n c' h w, float32; they are left as they are.

        Sides are multiples of the generator's `multiple` and at least its `min_size`; c and c' are the channels in
        model.json. Beyond [-1, 1] results are clamped by the caller. Raises MemoryError if a batch does not fit.
        """

    def hash_into(self, update: Callable[[bytes], object]) -> None:
        """Call `update` with all that results depend on: the weights, and whatever else may change them.

        `--resume` makes results again if it differs.
        """


class Backend(Protocol):
    """Loads generators. Registered in BACKENDS under its kind, which `Translator.load(..., backend=KIND)` names.

    kind: its name. devices: the names of devices that `load` takes beside "auto".
    """

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of devices beside "auto"."""

    def load(self, model: Path, direction: str, *, device: str, precision: Precision) -> LoadedGenerator:
        """Load one direction, e.g. "AtoB", of a model folder; directions may be loaded in several threads at once.

        device: a name of `devices`, or "auto" for the best one that is there. precision: what it will be asked for,
        "auto" for any of its precisions. Raises ModelError for a folder that it cannot load, DeviceError for a device
        that is unknown or not there.
        """
