"""The settings of a training method, to the rest of the package: a dataclass that builds an `Objective`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.objectives.base import Objective

Pairing = Literal["unpaired", "paired", "noise"]


@runtime_checkable
class MethodConfig(Protocol):
    """Settings of a published training method, a frozen dataclass.

    pairing: the data it learns from: two folders without correspondence, aligned pairs, or noise and images.
    adversarial: kind of its adversarial loss, a setting; methods without one leave it out.
    Optional: `validate(config)`, which raises ConfigError if the rest of the configuration does not go with it;
    `without_draws()`, which returns settings whose steps read no random numbers and take the same memory.
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

        Raises ConfigError if it cannot use these networks or channels.
        """
        ...


def method_fault(part: Any) -> str:
    """Return the reason why a class cannot be a method besides what a generator's settings need, "" if it can."""
    known = ("unpaired", "paired", "noise")
    return "" if part.pairing in known else f"its pairing must be one of {', '.join(known)}, not {part.pairing!r}"
