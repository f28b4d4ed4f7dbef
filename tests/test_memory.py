"""Less memory for the same result: activation checkpointing, and the messages when memory runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from test_methods import METHODS, batch_of, config_of
from unpaired.config import override
from unpaired.errors import ConfigError
from unpaired.networks import AttentionGenerator, ResNetGenerator, UNetGenerator
from unpaired.networks.recompute import recomputing_networks
from unpaired.recipes import Config
from unpaired.runs import build_objective, info, train
from unpaired.training.machine import memory_advice
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.step import gradients_of, train_step

TRANSLATING = [name for name, case in METHODS.items() if getattr(case.generator, "recomputes", False)]


def recomputed(config: Config, *, on: bool) -> Config:
    return replace(config, run=replace(config.run, recompute=on))


def kept_bytes(network: nn.Module, images: Tensor) -> int:
    """The memory that one forward keeps for the backward pass, without the weights."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(images).sum()
    return sum(kept.values())


# --- activations computed again --------------------------------------------------------------------


def steps(config: Config, name: str, precision: Precision) -> tuple[list[dict[str, Tensor]], TrainingState]:
    state = TrainingState(build_objective(config), config.optimizer)
    state.objective.train()
    terms = []
    for step in range(3):
        torch.manual_seed(step)
        terms.append(train_step(state, batch_of(name, 3, step), precision))
        state.step += 1
    return terms, state


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", TRANSLATING)
def test_recomputing_takes_the_same_steps_bit_for_bit(name: str, precision: Precision) -> None:
    """Losses, gradients, dropout, the statistics of batch norms, pools and both Adams."""
    config = config_of(name)
    (terms, state), (terms_again, again) = (steps(recomputed(config, on=on), name, precision) for on in (False, True))
    assert [{key: value.item() for key, value in each.items()} for each in terms] == [
        {key: value.item() for key, value in each.items()} for each in terms_again
    ]
    gradients = gradients_of(again.objective)
    assert all(torch.equal(value, gradients[key]) for key, value in gradients_of(state.objective).items())
    assert state.sha256() == again.sha256()


@pytest.mark.parametrize(
    "generator",
    [
        ResNetGenerator(base_channels=4, num_blocks=2, norm="batch", dropout=True),
        ResNetGenerator(base_channels=4, num_blocks=2, upsampling="resize"),
        ResNetGenerator(base_channels=4, num_blocks=2, antialias=True, norm="batch"),
        UNetGenerator(base_channels=4, num_downs=5, dropout=True, upsampling="resize"),
        UNetGenerator(base_channels=4, num_downs=5, norm="instance"),
        AttentionGenerator(base_channels=4, num_blocks=2, norm="batch", dropout=True),
    ],
)
def test_every_kind_of_generator_recomputes_to_the_same_bits(generator: Any) -> None:
    config = replace(config_of("gan-forward"), generator=generator)
    one, other = (steps(recomputed(config, on=on), "gan-forward", "fp32")[1].sha256() for on in (False, True))
    assert one == other


@pytest.mark.parametrize(
    ("generator", "share"),
    [(ResNetGenerator(base_channels=8, num_blocks=9), 0.35), (UNetGenerator(base_channels=8, num_downs=6), 0.8)],
)
def test_a_forward_keeps_much_less_when_it_is_computed_again(generator: Any, share: float) -> None:
    network, images = generator.build(3, 3), torch.rand(1, 3, 64, 64)
    whole = kept_bytes(network, images)
    network.recompute = True
    assert 0 < held_bytes(network, images) < share * whole


def held_bytes(network: nn.Module, images: Tensor) -> int:
    """Return the memory of the inputs of all parts, which activation checkpointing keeps."""
    (module,) = recomputing_networks(network)
    held: dict[int, int] = {}
    original = module.run

    def run(part: Any, *inputs: Tensor) -> Tensor:
        held.update({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in inputs})
        return original(part, *inputs)

    module.run = run  # type: ignore[method-assign]
    made = network(images)
    assert made.requires_grad
    return sum(held.values())


def test_nothing_is_computed_again_where_no_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ResNetGenerator(base_channels=4, num_blocks=1).build(3, 3)
    network.recompute = True
    monkeypatch.setattr("unpaired.networks.recompute.checkpoint", None)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_a_generator_that_cannot_recompute_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError,
        match=r"run\.recompute needs a generator with activation checkpointing.* not dcgan",
    ):
        build_objective(recomputed(config_of("gan"), on=True))


def test_a_run_goes_on_recomputing_and_ends_in_the_same_state(drawn_folders: Path, tmp_path: Path) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 4})
    whole = train(config, out=tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 4:
            raise StopError

    with pytest.raises(StopError):
        train(config, out=tmp_path / "parts", listener=stop)
    assert info(tmp_path / "parts").step == 3
    rest = train(override(config, {"run.recompute": True}), out=tmp_path / "parts")
    assert rest.state_sha256 == whole.state_sha256
    assert rest.bit_exact


# --- memory that runs out --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "recompute", "num_parts", "batch_size", "lower", "sentence"),
    [
        ("batch", False, 1, 4, True, "Continue with --run.recompute, which trains the same in less memory, or lower "
         "--data.batch-size in a new --out."),
        ("instance", False, 1, 1, True, "Continue with --run.recompute, which trains the same in less memory, or "
         "take --run.precision bf16 in a new --out."),
        ("batch", True, 1, 4, True, "Lower --data.batch-size or take --run.precision bf16, in a new --out."),
        ("batch", True, 1, 4, False, "Lower --data.batch-size or lower --size, in a new --out."),
        ("instance", True, 1, 1, True, "Take --run.precision bf16 or lower --size, in a new --out."),
        ("instance", True, 1, 1, False, "Lower --size, in a new --out."),
        ("instance", False, 1, 4, True, "Continue with --run.accumulate 2 or --run.recompute, which train the same in "
         "less memory."),
        ("instance", False, 2, 4, True, "Continue with --run.accumulate 4 or --run.recompute, which train the same in "
         "less memory."),
        ("instance", True, 3, 6, True, "Continue with --run.accumulate 6, which trains the same in less memory, or "
         "take --run.precision bf16 in a new --out."),
        ("instance", False, 4, 4, False, "Continue with --run.recompute, which trains the same in less memory, or "
         "lower --size in a new --out."),
    ],
)  # fmt: skip
def test_the_settings_to_change_are_those_that_are_not_used_up(
    norm: str, recompute: bool, num_parts: int, batch_size: int, lower: bool, sentence: str
) -> None:
    settings = {"discriminator.norm": norm, "run.recompute": recompute, "run.accumulate": num_parts}
    networks = build_objective(override(config_of("cyclegan"), settings))
    assert memory_advice(networks, batch_size, lower=lower) == sentence


def test_noise_has_no_generator_that_recomputes() -> None:
    networks = build_objective(config_of("gan"))
    assert (
        memory_advice(networks, 128, lower=True)
        == "Lower --data.batch-size or take --run.precision bf16, in a new --out."
    )
