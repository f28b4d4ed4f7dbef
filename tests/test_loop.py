"""The context of a step: learning rate, dropout, mode and EMA weights; previews leave them unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from unpaired.artifacts.checkpoint import list_checkpoints
from unpaired.config import override
from unpaired.data.datasets import Batch, DataConfig, StepDataset
from unpaired.networks import PatchGAN, ResNetGenerator, UNetGenerator
from unpaired.objectives import CycleGAN, Pix2Pix
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.training.inference_weights import ema_weights, inference_mode
from unpaired.training.loop import fit
from unpaired.training.progress import Progress
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import Schedule, ScheduleConfig
from unpaired.training.state import OptimizerConfig, TrainingState, WeightEMA

GENERATOR = ResNetGenerator(base_channels=3, num_blocks=1)
DISCRIMINATOR = PatchGAN(base_channels=3, num_layers=1)
EPOCHS = Schedule(ScheduleConfig(num_epochs_constant=2, num_epochs_decay=2), epoch_length=2, batch_size=1)
RUN = RunConfig(device="cpu", num_threads=1, log_every=1, sample_every=0, checkpoint_every=0)


class OneBatch(StepDataset):
    """The same two images in every step."""

    def __init__(self) -> None:
        super().__init__(2, DataConfig(), 0)

    def preview(self, count: int) -> Batch:
        return self[1]

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        a, b = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return a, b

    def _name(self, sample: int) -> str:
        return "the one"


class Watcher:
    """A recorder of the reports and of the learning rates of both players."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.reported: list[Progress] = []
        self.rates: dict[str, list[float]] = {player: [] for player in state.optimizers}

    def progress(self, progress: Progress) -> None:
        self.reported.append(progress)
        for player, optimizer in self.state.optimizers.items():
            self.rates[player] += [group["lr"] for group in optimizer.param_groups]

    def sample(self, state: TrainingState) -> None: ...

    def checkpoint(self, state: TrainingState) -> None: ...

    def event(self, step: int, kind: str, sentence: str) -> None: ...

    def finish(self) -> None: ...


def state_of(optimizer: OptimizerConfig, dropout: bool = False) -> TrainingState:
    generator = replace(GENERATOR, dropout=dropout)
    return TrainingState(CycleGAN(pool_size=0).build(generator, DISCRIMINATOR, 3, 3, 0), optimizer)


def fitted(state: TrainingState, seed: int = 0) -> Watcher:
    watcher = Watcher(state)
    fit(state, OneBatch(), EPOCHS, replace(RUN, seed=seed), torch.device("cpu"), watcher)
    return watcher


# --- the rate --------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 5])
def test_both_players_step_at_the_rate_of_the_step_also_after_resuming(done: int) -> None:
    state = state_of(OptimizerConfig(learning_rate=3e-4, discriminator_learning_rate=1e-3))
    state.step = done
    watcher = fitted(state)
    published = [1, 1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3][done:]
    assert watcher.rates["generator"] == pytest.approx([3e-4 * share for share in published])
    assert watcher.rates["discriminator"] == pytest.approx([1e-3 * share for share in published])
    assert [progress.learning_rate for progress in watcher.reported] == watcher.rates["generator"]


# --- dropout and mode ------------------------------------------------------------------------------


def translations(done: int, seed: int = 0) -> list[Tensor]:
    """The output of the generator for the same image in each step, with frozen weights."""
    state = state_of(OptimizerConfig(learning_rate=1e-30), dropout=True)
    state.step = done
    made: list[Tensor] = []
    generator = state.objective.translators["AtoB"]
    generator.blocks.register_forward_hook(lambda _, inputs, out: made.append(out.detach()[0].clone()))
    fitted(state, seed)
    per_step = len(made) // (EPOCHS.num_steps - done)
    return made[::per_step]


def test_dropout_is_drawn_anew_in_every_step_and_decided_by_seed_and_step() -> None:
    whole = translations(0)
    assert len(whole) == EPOCHS.num_steps
    for index, made in enumerate(whole):
        assert not any(torch.equal(made, other) for other in whole[:index])
    assert all(map(torch.equal, translations(5), whole[5:]))
    assert not torch.equal(translations(7, seed=1)[0], whole[7])


@pytest.mark.parametrize("stays", [False, True])
def test_a_preview_is_drawn_as_the_model_is_used_and_leaves_no_trace(stays: bool) -> None:
    objective: Any
    if stays:
        objective = Pix2Pix().build(UNetGenerator(base_channels=3, num_downs=5, dropout=True), DISCRIMINATOR, 3, 3, 0)
    else:
        objective = CycleGAN(pool_size=0).build(replace(GENERATOR, norm="batch"), DISCRIMINATOR, 3, 3, 0)
    objective.train()
    batch = Batch(a=torch.rand(2, 3, 32, 32), b=torch.rand(2, 3, 32, 32))
    objective.generate(batch)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    with inference_mode(objective):
        assert all(module.training == stays for module in objective.modules())
        objective.samples(batch)
    assert all(module.training for module in objective.modules())
    for name, value in objective.state_dict().items():
        assert torch.equal(value, before[name]), name


# --- the average -----------------------------------------------------------------------------------


def test_the_average_follows_its_formula() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average = WeightEMA(network, 0.4)
    expected = network.weight.item()
    for step in range(1, 30):
        with torch.no_grad():
            network.weight.fill_(step)
        average.update(network, step)
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_the_average_stands_in_for_the_trained_weights_and_makes_room_for_them_again() -> None:
    state = state_of(OptimizerConfig(ema_decay=0.5))
    fitted(state)
    assert state.ema is not None
    translators = state.objective.translators
    trained = {name: value.clone() for name, value in translators.state_dict().items()}
    assert any(not torch.equal(value, state.ema.weights[name]) for name, value in trained.items())
    with ema_weights(state):
        for name, value in translators.state_dict().items():
            assert torch.equal(value, state.ema.weights[name])
    for name, value in translators.state_dict().items():
        assert torch.equal(value, trained[name])


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_published_weights_are_the_average_where_one_is_kept(
    toy_config: Config, two_folders: Path, tmp_path: Path, ema_decay: float
) -> None:
    settings = {"data.root": str(two_folders), "optimizer.ema_decay": ema_decay, "schedule.num_steps": 2}
    train(override(toy_config, settings), out=tmp_path / "run")
    checkpoint = list_checkpoints(tmp_path / "run" / "checkpoints")[0]
    part, prefix = ("average", "AtoB.") if ema_decay else ("weights", "translators.AtoB.")
    saved = safetensors.torch.load_file(checkpoint / f"{part}.safetensors")
    published = safetensors.torch.load_file(tmp_path / "run" / "model" / "AtoB.safetensors")
    assert {prefix + name for name in published} == {name for name in saved if name.startswith(prefix)}
    assert all(torch.equal(value, saved[prefix + name]) for name, value in published.items())
