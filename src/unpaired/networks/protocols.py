"""What a generator and a discriminator are to the rest of the package: settings that build a module.

Both are frozen, keyword-only dataclasses whose fields are the settings (numbers, text, true or false, tuples of these),
so that config.yaml and model.json hold all that is needed to build the network again.
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

    A generator may have more than is required here; each capability has a protocol or an attribute of its own:

    - `at_size(size)`: `Scaling`, follows `--size`.
    - `bytes_per_pixel`: `Measured`, memory while translating.
    - `from_noise = True`: it makes images of noise n c 1 1, and its `size` is their side.
    - `recomputes = True`: its module derives from `Recomputing`, for activation checkpointing.
    - `crop_shares`: the shares of the crop size that `run.memory` may choose instead, e.g. (1 / 2, 1 / 4).
    - `validate(config)`: raises ConfigError if the rest of the configuration does not go with it.
    - its module has `features(image)`: `HasFeatures`, which CUT needs.
    """

    kind: ClassVar[str]

    @property
    def multiple(self) -> int:
        """Sides of an input must be multiples of this, in pixels, for the output to have the same size."""
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
    """Settings of a network that scores images. Optional: `at_size(size)` and `validate(config)`, as of generators."""

    kind: ClassVar[str]

    @property
    def min_size(self) -> int:
        """Smallest side of an image that gets a score, in pixels."""
        ...

    def build(self, in_channels: int) -> nn.Module:
        """Return the untrained module: n in_channels h w in [-1, 1] to raw scores n k h' w', without a sigmoid."""
        ...


@runtime_checkable
class Scaling(Protocol):
    """Settings that follow the size of the images."""

    def at_size(self, size: int) -> Self:
        """Return the settings for crops of size x size pixels, or these if they fit any size."""
        ...


@runtime_checkable
class Measured(Protocol):
    """Settings of a generator whose memory was measured."""

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes for each pixel of an image that is translated in float32."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A generator's module whose encoder's activations can be contrasted (Park et al. 2020, section 4)."""

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Return activations of the encoder, n c' h' w' each, of images n c h w in [-1, 1]."""
        ...


def at_size(part: Any, size: int) -> Any:
    """Return the settings of a network for crops of size x size pixels; themselves if they do not follow a size."""
    return part.at_size(size) if isinstance(part, Scaling) else part


def makes_from_noise(generator: GeneratorConfig) -> bool:
    """Return whether a generator makes images of noise instead of translating images."""
    return bool(getattr(generator, "from_noise", False))


def validate(part: Any, config: Any) -> None:
    """Let a part of a configuration check the others. Raises ConfigError."""
    check = getattr(part, "validate", None)
    if check is not None:
        check(config)


def config_fault(part: Any) -> str:
    """Return the reason why a class cannot hold settings, "" if it can."""
    if not (isinstance(part, type) and is_dataclass(part)):
        return "its settings must be the fields of a dataclass"
    return "" if part.__dataclass_params__.frozen else "its dataclass must be frozen"  # type: ignore[attr-defined]


def require_same_size(setting: str, made: int, crop_size: int) -> None:
    """Raise ConfigError unless networks for one size of image get crops of that size."""
    require(made == crop_size, f"{setting} ({made}) must be data.crop_size ({crop_size}).")
