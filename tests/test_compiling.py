"""Equivalent steps: weights in channels_last order, compiled networks, and the messages for unsupported ones.

Except in one slow test, compiled graphs are only traced and reassembled by torch, without a compiler.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from conftest import logged_to
from test_methods import METHODS, batch_of, config_of
from unpaired.artifacts.changes import machine_change
from unpaired.artifacts.history import History
from unpaired.bench.cases import CapturedTrainingCase, Mode, Way
from unpaired.bench.gradients import check_gradients
from unpaired.config import override
from unpaired.errors import ConfigError
from unpaired.recipes import Config, build_objective
from unpaired.runs import train
from unpaired.runs.memory_plan import alternatives
from unpaired.training import compiling
from unpaired.training.compiling import CompiledForward, compile_networks, compiled_cosine, uncompile_networks
from unpaired.training.gradient_check import LEAST_COSINE, median_cosine, step_gradients
from unpaired.training.graph import capture_call
from unpaired.training.machine import made_with
from unpaired.training.run_config import Precision
from unpaired.training.state import TrainingState
from unpaired.training.step import leave_gradients, train_step
from unpaired.training.stepper import stepper

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which torch hides by itself

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Any:
    """Enough of them for the two cycles of a small step to run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def state_in(config: Config, **settings: Any) -> TrainingState:
    config = override(config, {"optimizer.ema_decay": 0.9, **settings})
    state = TrainingState(build_objective(config), config.optimizer)
    state.objective.double().train()
    state.ema = None if state.ema is None else type(state.ema)(state.objective.translators, 0.9)
    return state


def trained(state: TrainingState, name: str, steps: range) -> list[dict[str, float]]:
    losses = []
    for step in steps:
        batch = batch_of(name, step=step)
        double = type(batch)(a=batch.a.double(), b=batch.b.double())
        torch.manual_seed(step)
        losses.append({name: float(term) for name, term in train_step(state, double, "fp32").items()})
        state.step += 1
    return losses


# --- channels_last ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_weights_in_memory_changes_nothing_that_is_learnt(name: str, two_threads: None) -> None:
    """Fused Adam pairs weight, gradient and moments by their place in memory: another order would be other weights."""
    usual, other = state_in(config_of(name)), state_in(config_of(name), **{"run.layout": "channels_last"})
    weights = [weight for weight in other.objective.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert any(not weight.is_contiguous() for weight in weights)
    for one, two in zip(trained(usual, name, range(3)), trained(other, name, range(3)), strict=True):
        assert two == pytest.approx(one, rel=1e-9)
    for part, tensors in usual.parts().items():
        for key, value in tensors.items():
            if value.ndim > 1:  # a bias in front of instance norm has no gradient but rounding, which Adam enlarges
                torch.testing.assert_close(other.parts()[part][key], value, rtol=1e-6, atol=1e-9, msg=f"{part} {key}")
    assert any(not weight.is_contiguous() for weight in weights)


def test_gradients_are_in_the_order_in_memory_of_their_weights() -> None:
    """Those that two halves leave come in the order of whatever they flowed through, here not that of the weight."""
    layouts = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    values, factors = torch.randn(4, 3, 5, 5), torch.randn(2, 4, 3, 5, 5)
    moved = {}
    for name, layout in layouts.items():
        network = torch.nn.Conv2d(3, 4, 5, bias=False)
        network.weight.data = values.clone().contiguous(memory_format=layout)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
        for rounds in (1, 2):
            leave_gradients(network, [{"half": (network.weight * factor).sum()} for factor in factors])
            assert network.weight.grad is not None
            assert network.weight.grad.stride() == network.weight.stride()
            torch.testing.assert_close(network.weight.grad, rounds * factors.sum(0))
        optimizer.step()
        moved[name] = network.weight.detach()
    torch.testing.assert_close(moved["channels_last"], moved["nchw"])


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_a_run_in_channels_last_goes_on_bit_for_bit(name: str, two_threads: None) -> None:
    config = override(config_of(name), {"run.layout": "channels_last"})
    whole, first = state_in(config), state_in(config)
    trained(whole, name, range(4))
    trained(first, name, range(2))
    saved = {
        part: {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
        for part, tensors in first.parts().items()
    }
    second = state_in(config)
    second.restore(saved, first.counters())
    for optimizer in second.optimizers.values():
        for weight, moments in optimizer.state.items():
            assert moments["exp_avg"].stride() == weight.stride()
    trained(second, name, range(2, 4))
    assert second.sha256() == whole.sha256()


def test_a_run_may_go_on_in_another_way_and_its_history_says_so(
    drawn_folders: Path, tmp_path: Path, said: list[str]
) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 4})

    def stop(progress: Any) -> None:
        if progress.step == 4:  # the checkpoint is at 3
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(config, out=tmp_path / "run", listener=stop)
    said.clear()
    train(override(config, {"run.layout": "channels_last"}), out=tmp_path / "run")
    (reported,) = (each for each in said if "layout" in each)
    assert reported.startswith(
        "Resuming with a different environment (layout: nchw -> channels_last). Training is valid but no longer"
    )
    assert any("layout" in each["sentence"] for each in History(tmp_path / "run").entries())


def test_checkpoints_from_before_there_were_other_ways_were_made_in_the_usual_one() -> None:
    usual = made_with(CPU)
    assert not {"layout", "compile"} & usual.keys()
    settings = {"run.layout": "channels_last", "run.acceleration": "compile"}
    other = made_with(CPU, override(config_of("cyclegan"), settings).run)
    assert machine_change(usual, usual) == []
    (change,) = machine_change(usual, other)
    assert "compile: off -> on, layout: nchw -> channels_last" in change.sentence


# --- compiled --------------------------------------------------------------------------------------


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have torch trace forward passes and run the parts unchanged; the list holds the number of operations of each."""
    made: list[int] = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        made.append(len(graph.graph.nodes))
        return graph.forward  # type: ignore[no-any-return]

    monkeypatch.setattr(compiling, "BACKEND", backend)
    torch._dynamo.reset()
    return made


def test_compiled_steps_have_the_losses_of_the_usual_ones(
    drawn_folders: Path, tmp_path: Path, without_compiler: list[int], said: list[str]
) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 3})
    said.clear()
    usual = train(config, out=tmp_path / "usual")
    compiled = train(override(config, {"run.acceleration": "compile"}), out=tmp_path / "run")
    assert len(without_compiler) >= 2  # a translator and a discriminator
    assert all(count > 5 for count in without_compiler)
    assert compiled.state_sha256 == usual.state_sha256
    assert [each for each in said if each.startswith("The networks")] == []
    assert "run.acceleration compile is experimental: it was never measured on a GPU." in said


@pytest.mark.parametrize("name", METHODS)
def test_the_check_leaves_no_trace_in_any_method(
    name: str, monkeypatch: pytest.MonkeyPatch, without_compiler: list[int]
) -> None:
    config = config_of(name)
    state = TrainingState(build_objective(config), config.optimizer)
    state.objective.train()
    trained_once = train_step(state, batch_of(name), "fp32")
    before, draws = state.sha256(), torch.get_rng_state()
    sizes = {domain: pool.size for domain, pool in state.objective.pools.items()}
    agreement = compiled_cosine(state.objective, batch_of(name), "fp32")
    uncompile_networks(state.objective)
    assert trained_once
    assert agreement > 0.99999
    assert state.sha256() == before
    assert torch.equal(torch.get_rng_state(), draws)
    assert sizes == {domain: pool.size for domain, pool in state.objective.pools.items()}
    assert all(weight.grad is None for weight in state.objective.parameters())
    assert not any("forward" in vars(module) for module in state.objective.modules())


def refused(drawn_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any) -> str:
    """Train with networks compiled by `backend`, which must not change the run; return its log message."""
    monkeypatch.setattr(compiling, "BACKEND", backend)
    torch._dynamo.reset()
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 2})
    sentences: list[str] = []
    usual = train(config, out=tmp_path / "usual")
    with logged_to(sentences):
        run = train(override(config, {"run.acceleration": "compile"}), out=tmp_path / "run")
    assert run.state_sha256 == usual.state_sha256
    (reported,) = (each for each in sentences if each.startswith("The networks"))
    assert [each["sentence"] for each in History(tmp_path / "run").entries() if each["kind"] == "way"] == [reported]
    return reported


def test_where_nothing_can_be_compiled_steps_are_taken_as_usual(
    drawn_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler here\nand a long story")

    reported = refused(drawn_folders, tmp_path, monkeypatch, backend)
    assert reported.startswith("The networks are not compiled (")
    assert "no C++ compiler here" in reported
    assert reported.endswith("); only the time of a step changes.")
    assert "\n" not in reported


def test_wrong_gradients_are_not_trained_with_though_the_losses_are_right(
    drawn_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        def right_values_only(*given: Any) -> Any:
            made = graph.forward(*given)
            return tuple(value.detach() * 2 - value if value.requires_grad else value for value in made)

        return right_values_only

    reported = refused(drawn_folders, tmp_path, monkeypatch, backend)
    assert "their gradients differ: cosine 0." in reported


def test_previews_and_copies_of_networks_are_not_compiled(without_compiler: list[int]) -> None:
    """The network is an argument of each compiled call, so that a copy of it computes with its own weights."""
    objective = build_objective(config_of("cyclegan")).train()
    compile_networks(objective)
    batch, network = batch_of("cyclegan"), objective.a_to_b
    with torch.no_grad():
        network(batch.a)
    objective.eval()
    network(batch.a)
    assert not without_compiler
    objective.train()
    twin = copy.deepcopy(network)
    made = network(batch.a)
    assert len(without_compiler) == 1
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    assert not twin(batch.a).any()
    torch.testing.assert_close(network(batch.a), made)
    assert isinstance(vars(twin)["forward"], CompiledForward)


def test_what_is_recorded_is_compiled(without_compiler: list[int]) -> None:
    config = config_of("cyclegan")
    losses = []
    for compiled in (False, True):
        state = TrainingState(build_objective(config), config.optimizer)
        state.objective.train()
        notes: list[str] = []
        before = len(without_compiler)
        with stepper(
            state,
            "fp32",
            lambda batch, names, state=state: train_step(state, batch, "fp32"),
            notes.append,
            capture=capture_call,
            compiled=compiled,
        ) as take:
            losses.append(
                [float(term) for step in range(3) for term in take(batch_of("cyclegan", step=step), list).values()]
            )
        assert notes == []
        assert (len(without_compiler) > before) == compiled
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_compiling_and_computing_again_exclude_one_another() -> None:
    with pytest.raises(
        ConfigError, match=r"run\.acceleration compile and run\.recompute exclude one another; leave one of them out\."
    ):
        override(config_of("cyclegan"), {"run.acceleration": "compile", "run.recompute": True})
    config = override(config_of("cyclegan"), {"run.acceleration": "compile"})
    assert not any(each.run.recompute for size in alternatives(config) for each in size)


def test_gradients_that_are_missing_are_no_agreement() -> None:
    found = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
    assert median_cosine(found, found) == pytest.approx(1.0)
    assert median_cosine({"a": found["a"]}, found) == -1.0
    assert median_cosine({**found, "bias": torch.ones(2)}, {**found, "bias": -torch.ones(2)}) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the many modules of torch that compile
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a processor with a C++ compiler")
def test_what_torch_compiles_has_the_right_gradients() -> None:
    """The compiler itself, on the networks of CycleGAN, of which the losses alone would prove nothing."""
    config = config_of("cyclegan")
    objective = build_objective(config).train()
    compile_networks(objective)
    exact = build_objective(config).double().train()
    batch = batch_of("cyclegan")
    found = step_gradients(objective, batch, "fp32")
    truth = step_gradients(exact, type(batch)(a=batch.a.double(), b=batch.b.double()), "fp32")
    assert median_cosine(found, truth) > LEAST_COSINE["fp32"]
    assert compiled_cosine(objective, batch, "fp32") > LEAST_COSINE["fp32"]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("way", get_args(Way))
def test_every_way_has_the_right_gradients_on_a_gpu_and_can_be_recorded(way: Way, precision: Precision) -> None:
    cuda = torch.device("cuda")
    assert check_gradients(64, Mode(precision, way), cuda) >= LEAST_COSINE[precision]
    CapturedTrainingCase.at(64, precision, cuda, way=way)()
