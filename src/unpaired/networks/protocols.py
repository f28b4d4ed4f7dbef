"""Protocols of generators and discriminators: settings that build a module.

Both are frozen, keyword-only dataclasses whose fields are numbers, strings, booleans or tuples of these. config.yaml
and model.json store the fields, which suffice to rebuild the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from unpaired.config import require


@runtime_checkable
class GeneratorConfig(Protocol):
    """Settings of a network that maps images to images of the same size, or noise to images.

    Optional capabilities, each with its own protocol or attribute:

    - `at_size(size)`: `Scaling`, follows `--size`.
    - `bytes_per_pixel`: `Measured`, memory for translation; `bf16_bytes_per_pixel`, `buffer_bytes`: `MeasuredInBf16`.
    - `from_noise = True`: generates images from noise n c 1 1; `size` is their side.
    - `searches = True`: translates by an optimisation for each image: in float32 only, slow, and not exportable.
    - `recomputes = True`: the module derives from `Recomputing`, for activation checkpointing.
    - `crop_shares`: fractions of the crop size that `run.memory` may choose instead, e.g. (1 / 2, 1 / 4).
    - `validate(config)`: raises ConfigError if the rest of the configuration is incompatible.
    - the module has `features(image)`: `HasFeatures`, required by CUT.
    - the module has `mask(image)`: `HasMask`, shown in sample grids and returned by `Translator.masks`.
    """

    kind: ClassVar[str]

    @property
    def multiple(self) -> int:
        """Sides of the input must be multiples of this, in pixels, for the output to have the same size."""
        ...

    @property
    def min_size(self) -> int:
        """Smallest side of an input, in pixels."""
        ...

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the untrained module: n in_channels h w in [-1, 1] to n out_channels h w in [-1, 1], float32."""
        ...


@runtime_checkable
class DiscriminatorConfig(Protocol):
    """Settings of a network that scores images. Optional: `at_size(size)` and `validate(config)`, as for generators."""

    kind: ClassVar[str]

    @property
    def min_size(self) -> int:
        """Smallest side of an image with at least one score, in pixels."""
        ...

    def build(self, in_channels: int) -> nn.Module:
        """Return the untrained module: n in_channels h w in [-1, 1] to raw scores n k h' w', without a sigmoid."""
        ...


@runtime_checkable
class Scaling(Protocol):
    """Settings that depend on the image size."""

    def at_size(self, size: int) -> Self:
        """Return the settings for crops of size x size pixels, or self if they fit any size."""
        ...


@runtime_checkable
class Measured(Protocol):
    """Settings of a generator whose memory use was measured."""

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel of an image during translation in float32."""
        ...


@runtime_checkable
class MeasuredInBf16(Protocol):
    """Settings of a generator whose memory use was measured at several sizes and in bfloat16 as well."""

    @property
    def bf16_bytes_per_pixel(self) -> int:
        """Peak bytes per pixel of an image during translation in bfloat16."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Bytes that translation needs besides those per pixel, in either precision."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A generator module that returns encoder activations for contrastive losses (Park et al. 2020, section 4)."""

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Return the encoder's activations, n c' h' w' each, for images n c h w in [-1, 1]."""
        ...


@runtime_checkable
class HasMask(Protocol):
    """A generator module that translates only the pixels which its mask selects.

    mask_weight: weight of the mask's own loss. open: whether a forward pass translates all pixels, whatever the mask;
    set in training steps if `mask_weight` is above 0.
    """

    mask_weight: float
    open: bool

    def mask(self, image: Tensor) -> Tensor:
        """Return masks n 1 h w in [0, 1] for images n c h w in [-1, 1]: 0 keeps a pixel, 1 translates it."""
        ...

    def mask_logits(self, image: Tensor) -> Tensor:
        """Return the logits n 1 h w of the probabilities that pixels are to be translated, for the mask's loss."""
        ...


def at_size(part: Any, size: int) -> Any:
    """Return the settings of a network for crops of size x size pixels, unchanged if they do not depend on a size."""
    return part.at_size(size) if isinstance(part, Scaling) else part


def makes_from_noise(generator: GeneratorConfig) -> bool:
    """Return whether a generator generates images from noise instead of translating images."""
    return bool(getattr(generator, "from_noise", False))


def translates_by_search(generator: GeneratorConfig) -> bool:
    """Return whether a generator translates by an optimisation for each image instead of a forward pass."""
    return bool(getattr(generator, "searches", False))


def validate(part: Any, config: Any) -> None:
    """Call the `validate` method of a part of a configuration, if it has one. Raises ConfigError."""
    check = getattr(part, "validate", None)
    if check is not None:
        check(config)


def config_fault(part: Any) -> str:
    """Return the reason why a class is unsuitable as settings, "" if it is suitable."""
    if not (isinstance(part, type) and is_dataclass(part)):
        return "its settings must be the fields of a dataclass"
    return "" if part.__dataclass_params__.frozen else "its dataclass must be frozen"  # type: ignore[attr-defined]


def require_same_size(setting: str, made: int, crop_size: int) -> None:
    """Raise ConfigError unless a network of fixed image size gets crops of that size."""
    require(made == crop_size, f"{setting} ({made}) must be data.crop_size ({crop_size}).")
