"""Settings of a start from existing weights: their source, the parts to take, and the warm-up of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unpaired.config import require


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """The weights that a new run starts from; by default the published initial weights, drawn from the seed.

    The source is read once, when the run starts. The learning-rate schedule and the image pools start afresh.
    """

    weights: str = ""
    """Run folder, model folder or official .pth file whose weights a new run starts from, the generators' and those of
    other networks if it has them. Empty: new weights.
    """
    step: int | None = None
    """Step of the run to start from, one of its checkpoints. none: the newest, resolved when a run starts."""
    parts: Literal["networks", "generators", "all"] = "networks"
    """Parts to take from a run. networks: generators (EMA weights if there are any), discriminators and other networks;
    generators: these alone; all: raw weights, EMA weights and Adam's moments, for the same method and networks only.
    """
    exchange: bool = False
    """Exchange the domains of the source: its generator of A to B starts that of B to A, its discriminator of A that of
    B.
    """
    warmup: int = 20
    """First steps in which only networks and layers learn that the source does not have; 0 for none."""
    sha256: str = ""
    """SHA-256 of the source's weights. Resolved when a run starts; leave it empty, or give one to require it."""

    def __post_init__(self) -> None:
        require(self.warmup >= 0, f"start.warmup must not be negative, not {self.warmup}.")
        require(self.step is None or self.step >= 0, f"start.step must not be negative, not {self.step}.")
        others = (self.step is not None, self.parts != "networks", self.exchange, bool(self.sha256))
        require(
            bool(self.weights) or not any(others),
            "start.step, start.parts, start.exchange and start.sha256 need weights to start from (start.weights, "
            "--from).",
        )


def source_name(weights: str) -> str:
    """Return the name of a source without its place: that of the run for RUN/model."""
    path = Path(weights).absolute()
    return path.parent.name if path.name == "model" else path.name
