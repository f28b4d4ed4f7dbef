"""What is timed: one training step of CycleGAN, and the translation of one image, at a size and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unpaired.bench.ceilings import synchronise
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.errors import UnpairedError
from unpaired.networks.winograd import as_defined
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config, at_size, build_objective, paper
from unpaired.side_by_side import in_this_thread
from unpaired.training.compiling import compile_networks
from unpaired.training.graph import Capture, CapturedStep, capture_graph
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.step import train_step
from unpaired.training.stepper import ROUNDING, validate_capture
from unpaired.translate.fast import fast_form, fast_type

SMALL = 64
"""The size at which the networks are those that people train on a processor: 32 channels instead of 64."""


Way = Literal["usual", "channels-last", "compiled"]
"""How the networks of a training step are carried out: `run.layout` and `run.acceleration`."""


@dataclass(frozen=True)
class Mode:
    """What a training step is timed in; its name is what the page calls it."""

    precision: Precision
    way: Way = "usual"

    @property
    def name(self) -> str:
        """Return the precision, and the way where it is not the usual one."""
        return self.precision if self.way == "usual" else f"{self.precision} {self.way}"


class Case(Protocol):
    """Something to time; `flop` counts the operations of one call, 0 where nobody counted."""

    flop: float

    @property
    def images(self) -> int:
        """Images that one call is about."""
        ...

    def __call__(self) -> None:
        """Do the work once and wait for it."""
        ...


def config_at(size: int, batch: int = 1) -> Config:
    """Return the paper's recipe at a size, with 32 base channels at 64 x 64, carried out as usual."""
    config = override(at_size(paper(), size), {"data.batch_size": batch})
    narrow = {"generator.base_channels": 32, "discriminator.base_channels": 32}
    return override(config, narrow) if size <= SMALL else config


def random_batch(config: Config, device: torch.device) -> Batch:
    """Return images of noise, the same ones each time, n c h w in [-1, 1]."""
    side, count = config.data.crop_size, config.data.batch_size
    with torch_seeded(0, "bench"):
        a, b = (torch.rand(count, 3, side, side) * 2 - 1 for _ in "ab")
    return Batch(a=a.to(device), b=b.to(device))


def new_objective(config: Config, device: torch.device, way: Way = "usual") -> CycleGANObjective:
    """Return the untrained CycleGAN of a configuration, its weights laid out as the way has them."""
    layout = "channels_last" if way == "channels-last" else "nchw"
    built = build_objective(override(config, {"run.layout": layout})).to(device)
    assert isinstance(built, CycleGANObjective)
    return built


@dataclass
class TrainingCase:
    """One step of both players on a batch that is at hand: no loading, no log."""

    state: TrainingState
    batch: Batch
    precision: Precision
    flop: float = 0.0

    @classmethod
    def at(
        cls, size: int, precision: Precision, device: torch.device, batch: int = 1, way: Way = "usual"
    ) -> TrainingCase:
        """Build the case, and count the operations of its convolutions."""
        config = config_at(size, batch)
        state = TrainingState(new_objective(config, device, way), config.optimizer)
        case = cls(state, random_batch(config, device), precision)
        case.flop = counted(case)
        if way == "compiled":  # what is compiled cannot be counted
            compile_networks(state.objective)
        return case

    @property
    def images(self) -> int:
        """Pairs of images a step, as training counts them."""
        return len(self.batch.a)

    def __call__(self) -> None:
        """Take one step."""
        train_step(self.state, self.batch, self.precision)
        self.state.step += 1
        synchronise(self.batch.a.device)


@dataclass
class RecordedTrainingCase:
    """The same step played from a recording, as training plays it on a GPU."""

    usual: TrainingCase
    step: CapturedStep
    flop: float

    @classmethod
    def at(
        cls,
        size: int,
        precision: Precision,
        device: torch.device,
        batch: int = 1,
        way: Way = "usual",
        record: Capture = capture_graph,
    ) -> RecordedTrainingCase:
        """Capture the step and validate it; raises UnpairedError if its losses are not those of the usual step."""
        usual = TrainingCase.at(size, precision, device, batch, way)
        step = CapturedStep(usual.state, usual.batch, precision)
        step.capture(record)
        difference = validate_capture(step, usual.state, usual.batch, precision)
        if difference > ROUNDING[precision]:
            raise UnpairedError(
                f"The recorded step at {size} x {size} in {precision} has other losses than the usual one (by "
                f"{difference:.2g} of their size), so it is not timed; train with --run.acceleration none."
            )
        return cls(usual, step, usual.flop)

    @property
    def images(self) -> int:
        """Pairs of images a step, as training counts them."""
        return self.usual.images

    def __call__(self) -> None:
        """Play one step."""
        self.step(self.usual.batch)
        self.usual.state.step += 1
        synchronise(self.usual.batch.a.device)


@dataclass
class TranslationCase:
    """One forward of the generator, in the form that translates images of 8 bits, on images in memory: no files."""

    network: Any
    images_in: Tensor
    precision: Precision
    flop: float = 0.0

    @classmethod
    def at(cls, size: int, precision: Precision, device: torch.device, batch: int = 1) -> TranslationCase:
        """Build the case, and count the operations of its convolutions."""
        config = config_at(size, batch)
        network = new_objective(config, device).a_to_b.eval().requires_grad_(False)
        images = random_batch(config, device).a
        flop = counted(cls(network, images, precision))
        dtype = fast_type(network, device, precision, size * size)
        if dtype:
            network, images = fast_form(network, device, dtype), images.to(dtype, memory_format=torch.channels_last)
        return cls(network, images, precision, flop)

    @property
    def images(self) -> int:
        """Images a call."""
        return len(self.images_in)

    def __call__(self) -> None:
        """Translate once."""
        with torch.inference_mode():
            self.network(self.images_in)
        synchronise(self.images_in.device)


def counted(case: Case) -> float:
    """Return the operations of one call as it is defined, a multiplication and an addition being two."""
    with in_this_thread(), as_defined(), FlopCounterMode(display=False) as counter:
        case()
    return float(counter.get_total_flops())
