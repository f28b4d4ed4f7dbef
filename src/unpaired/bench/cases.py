"""Benchmark cases: one training step of CycleGAN, and the translation of one image, at a size and precision."""

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
from unpaired.networks.winograd import direct_convolutions
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config, at_size, build_objective, paper
from unpaired.side_by_side import in_this_thread
from unpaired.training.compiling import compile_networks
from unpaired.training.graph import Record, RecordedStep, as_graph
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.step import train_step
from unpaired.training.stepper import ROUNDING, rehearse
from unpaired.translate.fast import fast_form, fast_type

SMALL = 64
"""Image size with networks of the size usually trained on a CPU: 32 channels instead of 64."""


Way = Literal["usual", "channels-last", "compiled"]
"""Execution of the networks of a training step: `run.layout` and `run.acceleration`."""


@dataclass(frozen=True)
class Mode:
    """Precision and execution of a training step; its name is used in the report."""

    precision: Precision
    way: Way = "usual"

    @property
    def name(self) -> str:
        """Return the precision, and the way unless it is the usual one."""
        return self.precision if self.way == "usual" else f"{self.precision} {self.way}"


class Case(Protocol):
    """A benchmark case; `flop` is the number of operations per call, 0 if unknown."""

    flop: float

    @property
    def images(self) -> int:
        """Images per call."""
        ...

    def __call__(self) -> None:
        """Run once and synchronise with the device."""
        ...


def config_at(size: int, batch: int = 1) -> Config:
    """Return the paper's recipe at a size, with 32 base channels at 64 x 64 and default execution."""
    config = override(at_size(paper(), size), {"data.batch_size": batch})
    narrow = {"generator.base_channels": 32, "discriminator.base_channels": 32}
    return override(config, narrow) if size <= SMALL else config


def random_batch(config: Config, device: torch.device) -> Batch:
    """Return images of seeded noise, n c h w in [-1, 1]."""
    side, count = config.data.crop_size, config.data.batch_size
    with torch_seeded(0, "bench"):
        a, b = (torch.rand(count, 3, side, side) * 2 - 1 for _ in "ab")
    return Batch(a=a.to(device), b=b.to(device))


def new_objective(config: Config, device: torch.device, way: Way = "usual") -> CycleGANObjective:
    """Return the untrained CycleGAN of a configuration, with the memory layout of `way`."""
    layout = "channels_last" if way == "channels-last" else "nchw"
    built = build_objective(override(config, {"run.layout": layout})).to(device)
    assert isinstance(built, CycleGANObjective)
    return built


@dataclass
class TrainingCase:
    """One step of generators and discriminators on a batch in memory, without loading and logging."""

    state: TrainingState
    batch: Batch
    precision: Precision
    flop: float = 0.0

    @classmethod
    def at(
        cls, size: int, precision: Precision, device: torch.device, batch: int = 1, way: Way = "usual"
    ) -> TrainingCase:
        """Build the case and count the operations of its convolutions."""
        config = config_at(size, batch)
        state = TrainingState(new_objective(config, device, way), config.optimizer)
        case = cls(state, random_batch(config, device), precision)
        case.flop = counted(case)
        if way == "compiled":  # operations of compiled networks cannot be counted
            compile_networks(state.objective)
        return case

    @property
    def images(self) -> int:
        """Image pairs per step, as training counts them."""
        return len(self.batch.a)

    def __call__(self) -> None:
        """Take one step."""
        train_step(self.state, self.batch, self.precision)
        self.state.step += 1
        synchronise(self.batch.a.device)


@dataclass
class CapturedTrainingCase:
    """The same step replayed from a CUDA graph, as in training on a GPU."""

    usual: TrainingCase
    step: RecordedStep
    flop: float

    @classmethod
    def at(
        cls,
        size: int,
        precision: Precision,
        device: torch.device,
        batch: int = 1,
        way: Way = "usual",
        record: Record = as_graph,
    ) -> CapturedTrainingCase:
        """Capture and validate the step; raises UnpairedError if its losses differ from those of the usual step."""
        usual = TrainingCase.at(size, precision, device, batch, way)
        step = RecordedStep(usual.state, usual.batch, precision)
        step.record(record)
        difference = rehearse(step, usual.state, usual.batch, precision)
        if difference > ROUNDING[precision]:
            raise UnpairedError(
                f"The losses of the captured step at {size} x {size} in {precision} differ from those of the usual "
                f"step (relative difference {difference:.2g}), so it is not timed; train with --run.acceleration none."
            )
        return cls(usual, step, usual.flop)

    @property
    def images(self) -> int:
        """Image pairs per step, as training counts them."""
        return self.usual.images

    def __call__(self) -> None:
        """Replay one step."""
        self.step(self.usual.batch)
        self.usual.state.step += 1
        synchronise(self.usual.batch.a.device)


@dataclass
class TranslationCase:
    """One forward pass of the generator, as for translation of 8-bit images, on images in memory."""

    network: Any
    images_in: Tensor
    precision: Precision
    flop: float = 0.0

    @classmethod
    def at(cls, size: int, precision: Precision, device: torch.device, batch: int = 1) -> TranslationCase:
        """Build the case and count the operations of its convolutions."""
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
        """Images per call."""
        return len(self.images_in)

    def __call__(self) -> None:
        """Translate once."""
        with torch.inference_mode():
            self.network(self.images_in)
        synchronise(self.images_in.device)


def counted(case: Case) -> float:
    """Return the operations of one call with direct convolution; a multiplication and an addition count as two."""
    with in_this_thread(), direct_convolutions(), FlopCounterMode(display=False) as counter:
        case()
    return float(counter.get_total_flops())
