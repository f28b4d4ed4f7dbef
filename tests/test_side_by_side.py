"""The two cycles of CycleGAN on threads of their own: the same step, the same bits every time, an exact resume."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from unpaired.bench import cases
from unpaired.bench.cases import TrainingCase, config_at, counted
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.objectives import cyclegan as module
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.runs.footprint import footprint
from unpaired.side_by_side import side_by_side
from unpaired.training.run_config import Precision
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import train_step

GENERATOR = ResNetGenerator(base_channels=8, num_blocks=2)
DISCRIMINATOR = PatchGAN(base_channels=8, num_layers=2)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def objective(generator: ResNetGenerator = GENERATOR, **settings: Any) -> CycleGANObjective:
    return CycleGAN(pool_size=2, **settings).build(generator, DISCRIMINATOR, 3, 3, 0)


def batch_number(number: int, side: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(number)
    a, b = (torch.rand(1, 3, side, side, generator=generator) * 2 - 1 for _ in "ab")
    return Batch(a=a, b=b)


def trained(
    steps: int, precision: Precision = "fp32", *, start: TrainingState | None = None, double: bool = False
) -> TrainingState:
    built = objective().double() if double else objective()
    state = start or TrainingState(built, OptimizerConfig(ema_decay=0.9))
    for step in range(state.step + 1, steps + 1):
        batch = batch_number(step)
        train_step(state, Batch(a=batch.a.double(), b=batch.b.double()) if double else batch, precision)
        state.step = step
    return state


def cycles_of(found: CycleGANObjective, batch: Batch) -> int:
    """Return how many parts the generators' terms are differentiated in."""
    return len(found.independent_terms(batch, found.generator_losses(batch, found.generate(batch))))


def test_the_step_is_that_of_one_thread() -> None:
    there, other = trained(3, double=True), None
    torch.set_num_threads(1)
    other = trained(3, double=True)
    assert cycles_of(objective(), batch_number(1)) == 1
    for name, weight in other.objective.named_parameters():
        assert (weight - there.objective.get_parameter(name)).abs().max() < 1e-7  # Adam divides by tiny gradients
        if not name.endswith("bias"):  # in front of a norm they have no gradient but rounding
            assert (weight - there.objective.get_parameter(name)).abs().max() < 1e-10


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_bits_are_the_same_every_time(precision: Precision) -> None:
    assert cycles_of(objective(), batch_number(1)) == 2
    assert len({trained(4, precision).sha256() for _ in range(4)}) == 1


def test_augmentation_is_drawn_for_before_the_threads_begin() -> None:
    def step() -> str:
        torch.manual_seed(7)
        built = objective(augmentation=("colour", "translation", "cutout"), augmentation_probability=0.5)
        assert cycles_of(built, batch_number(1)) == 2
        state = TrainingState(built, OptimizerConfig())
        train_step(state, batch_number(1), "fp32")
        return state.sha256()

    assert len({step() for _ in range(4)}) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_goes_on_from_a_checkpoint_ends_in_the_same_bits(precision: Precision) -> None:
    half, resumed = trained(2, precision), TrainingState(objective(), OptimizerConfig(ema_decay=0.9))
    parts = {part: {name: value.clone() for name, value in tensors.items()} for part, tensors in half.parts().items()}
    resumed.restore(parts, half.counters())
    assert trained(4, precision, start=resumed).sha256() == trained(4, precision).sha256()


@pytest.mark.parametrize("settings", [{"identity_weight": 0.0}, {"cycle_weight_b": 0.0}, {"adversarial_weight": 0.0}])
def test_ablations_take_their_steps(settings: dict[str, float]) -> None:
    state = TrainingState(objective(**settings), OptimizerConfig())
    assert all(torch.isfinite(term) for term in train_step(state, batch_number(1), "fp32").values())
    assert all(weight.grad is not None for weight in state.objective.translators.parameters())


def test_what_shares_a_draw_or_a_statistic_stays_on_one_thread() -> None:
    batch = batch_number(1)
    for settings in ({"norm": "batch"}, {"dropout": True}):
        assert cycles_of(objective(dataclasses.replace(GENERATOR, **settings)), batch) == 1  # type: ignore[arg-type]
    assert cycles_of(objective(adversarial="wgan_gp"), batch) == 1


def test_large_images_have_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    small, *_, large = module.MODES
    monkeypatch.setattr(module, "MODES", (dataclasses.replace(small, pixels=32 * 32), large))
    assert cycles_of(objective(), batch_number(1, 32)) == 2
    assert cycles_of(objective(), batch_number(1, 36)) == 1


def test_each_has_a_thread_with_half_of_the_threads_and_the_callers_modes() -> None:
    meeting = threading.Barrier(2, timeout=10)  # both are there at the same time

    def reported() -> tuple[int, bool, bool, torch.dtype]:
        meeting.wait()
        made = torch.ones(2, 2) @ torch.ones(2, 2)
        return torch.get_num_threads(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), made.dtype

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert side_by_side(reported, reported) == ((1, False, True, torch.bfloat16),) * 2
    assert side_by_side(reported, reported) == ((1, True, False, torch.float32),) * 2
    assert torch.get_num_threads() == 2


def test_memory_and_operations_are_counted_as_if_there_were_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(config_at(64), {"generator.base_channels": 8, "generator.num_blocks": 2})
    monkeypatch.setattr(cases, "config_at", lambda size, batch: config)

    def operations() -> float:
        return counted(TrainingCase.at(64, "fp32", torch.device("cpu")))

    two, flop = footprint(config), operations()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert (footprint(config), operations()) == (two, flop)


def test_an_error_of_one_waits_for_the_other() -> None:
    ended = []

    def fails() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        side_by_side(fails, lambda: ended.append(True))
    assert ended == [True]
