"""The protocol of a training method's settings: a dataclass that builds an `Objective`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Objective

Pairing = Literal["unpaired", "paired", "noise"]


@runtime_checkable
class MethodConfig(Protocol):
    """Settings of a published training method, a frozen dataclass.

    pairing: type of training data: two folders without correspondence, aligned pairs, or noise and images.
    adversarial: kind of the adversarial loss, a setting; omitted by methods without one.

    Optional capabilities:

    - `validate(config)`: raises ConfigError if the rest of the configuration is incompatible.
    - `without_draws()`: returns settings whose steps use no random numbers and need the same memory.
    - `pinned(config)`: returns the settings with the SHA-256 of the files that they name, which the run keeps.
    - `takes_masks`: True if its objective uses the masks of batches, see `unpaired.objectives.masked`.
    - `described()`: returns the method in words for model cards.
    """

    kind: ClassVar[str]
    pairing: ClassVar[str]

    def build(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        channels_a: int,
        channels_b: int,
        seed: int,
    ) -> Objective[Any]:
        """Return the untrained method for images with these channel counts, its weights drawn from `seed`.

        Raises ConfigError if the method cannot use these networks or channels.
        """
        ...


def described(method: Any) -> str:
    """Return the method in words, its kind if it has no description of its own."""
    describe = getattr(method, "described", None)
    return str(method.kind if describe is None else describe())


def method_fault(part: Any) -> str:
    """Return the reason why a class is unsuitable as a method's settings, "" if it is suitable.

    Checked in addition to `config_fault`.
    """
    known = ("unpaired", "paired", "noise")
    return "" if part.pairing in known else f"its pairing must be one of {', '.join(known)}, not {part.pairing!r}"
