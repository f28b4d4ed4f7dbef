"""The Backend protocol: loads a model folder as a function of batches, with any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unpaired.translate.precision import Computed, Precision

Batch = np.ndarray[Any, np.dtype[np.float32]]
"""Images n c h w, float32 in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The capabilities of a loaded generator on its device.

    Args:
        device: the name of the device, e.g. "cpu" or "cuda:0".
        precisions: those that `run` supports.
        fast_precisions: those that "auto" chooses from, as this device has instructions for them.
        max_batch: the most images per call of `run`, None for any number.
        pixels_at_once: the pixels of a batch up to which it is faster than its images one by one.
        one_by_one: precisions in which the last bits of a result depend on its neighbours in the batch, so that images
            are translated one at a time unless the user requests batches.
        bytes_per_pixel: the approximate memory of `run` for each pixel of a batch; 0 if unknown.
        masks: whether it has masks, which `ComputesMasks` returns.
    """

    device: str = "cpu"
    precisions: tuple[Computed, ...] = ("fp32",)
    fast_precisions: tuple[Computed, ...] = ("fp32",)
    max_batch: int | None = None
    pixels_at_once: int = 1
    one_by_one: tuple[Computed, ...] = ()
    bytes_per_pixel: int = 0
    masks: bool = False


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a batch.

    Args:
        precision: one of the capabilities' precisions.
        eight_bit: whether results are rounded to 8 bits, which permits a faster form with errors in the fifth digit.
        size: height and width of the images before padding to the right and below.
    """

    precision: Computed = "fp32"
    eight_bit: bool = False
    size: tuple[int, int] = (0, 0)


class LoadedGenerator(Protocol):
    """The generator of one direction, loaded by a backend.

    Optional capabilities, each with its own protocol: `EstimatesMemory`, `ComputesMasks`. Optional, for backends that
    compute with torch: `torch_device` and `run_tensor(images: Tensor, options: RunOptions) -> Tensor`, which avoid the
    conversion to NumPy.
    """

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities on this device."""

    def run(self, images: Batch, options: RunOptions) -> Batch:
        """Translate images n c h w, float32 in [-1, 1], into n c' h w, float32, without changing the input.

        Sides are multiples of the generator's `multiple` and at least its `min_size`; c and c' are the channels in
        model.json. The caller clamps results to [-1, 1]. Raises MemoryError if a batch does not fit.
        """

    def hash_into(self, update: Callable[[bytes], object]) -> None:
        """Call `update` with everything that results depend on: the weights and whatever else may change them.

        If it differs, `--resume` translates all images again.
        """


@runtime_checkable
class EstimatesMemory(Protocol):
    """A generator that knows its memory by precision. Others are tried with images of every size."""

    def expected_bytes(self, pixels: int, precision: Computed) -> int:
        """Return the approximate memory of a batch with this many pixels, in bytes and without weights."""

    def pixels_that_fit(self, precision: Computed) -> int | None:
        """Return the pixels of a batch for which there is free memory now; None if unknown."""


@runtime_checkable
class ComputesMasks(Protocol):
    """A generator with masks, if its capabilities say so."""

    def run_masks(self, images: Batch) -> Batch:
        """Return the masks n 1 h w in [0, 1] of images n c h w as for `run`: 0 keeps a pixel, 1 translates it."""


def expected_bytes(loaded: LoadedGenerator, pixels: int, precision: Computed) -> int:
    """Return the approximate memory of a batch with this many pixels, 0 if unknown."""
    if isinstance(loaded, EstimatesMemory):
        return loaded.expected_bytes(pixels, precision)
    return pixels * loaded.capabilities.bytes_per_pixel


def pixels_that_fit(loaded: LoadedGenerator, precision: Computed) -> int | None:
    """Return the pixels of a batch for which there is free memory now; None if unknown."""
    return loaded.pixels_that_fit(precision) if isinstance(loaded, EstimatesMemory) else None


class Backend(Protocol):
    """Loads generators. Registered in BACKENDS under its kind, as in `Translator.load(..., backend=KIND)`.

    kind: its name. devices: the names that `load` accepts besides "auto".
    """

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of devices besides "auto"."""

    def load(self, model: Path, direction: str, *, device: str, precision: Precision) -> LoadedGenerator:
        """Load one direction, e.g. "AtoB", of a model folder; several threads may load directions at once.

        Raises ModelError for a folder that it cannot load, DeviceError for an unknown or unavailable device.

        Args:
            model: the model folder.
            direction: "AtoB" or "BtoA".
            device: one of `devices`, or "auto" for the best available one.
            precision: the requested precision, "auto" for any of its precisions.
        """
