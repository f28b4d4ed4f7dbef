"""Convolutions by fewer products: the values and gradients of the definition, which stays where it is as fast."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from unpaired.bench.cases import TranslationCase
from unpaired.data.datasets import Batch
from unpaired.networks import PatchGAN, ResNetGenerator, winograd
from unpaired.networks.winograd import Convolution3x3
from unpaired.objectives import CycleGAN
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.training.gradient_check import step_gradients
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import train_step

GENERATOR = ResNetGenerator(base_channels=8, num_blocks=2)
DISCRIMINATOR = PatchGAN(base_channels=8, num_layers=2)


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every block of a small generator in Winograd's form, on whatever processor this is."""
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "LEAST_PIXELS", 1)
    monkeypatch.setattr(winograd, "INSTRUCTIONS", torch.backends.cpu.get_cpu_capability())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Return the shapes of the inputs of Winograd convolutions from here on."""
    found: list[torch.Size] = []
    whole = winograd.winograd

    def noted(x: Tensor, weight: Tensor) -> Tensor:
        found.append(x.shape)
        return whole(x, weight)

    monkeypatch.setattr(winograd, "winograd", noted)
    return found


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_gradients(convolve: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return the results and both gradients, in float64, of a convolution carried out in a type."""
    inputs = [value.to(dtype).detach().requires_grad_() for value in (x, weight)]
    made = convolve(*inputs)
    return [
        value.double() for value in (made, *torch.autograd.grad(made, inputs, drawn(*made.shape, seed=9).to(dtype)))
    ]


@pytest.fixture(params=[512, 8])
def strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all tiles at once, or one or a few rows of them."""
    monkeypatch.setattr(winograd, "_AT_ONCE", request.param)


# --- values and gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 4, 8, 12), (3, 2, 22, 6), (1, 5, 34, 34)])
@pytest.mark.usefixtures("strips")
def test_values_and_gradients_are_those_of_the_definition(shape: tuple[int, ...]) -> None:
    x, weight = drawn(*shape), drawn(6, shape[1], 3, 3, seed=1)
    found = with_gradients(winograd.winograd, x, weight, torch.float64)
    for mine, defined in zip(found, with_gradients(F.conv2d, x, weight, torch.float64), strict=True):
        assert mine.shape == defined.shape
        assert (mine - defined).abs().max() < 1e-13 * max(defined.abs().max(), 1) * weight[0].numel()


def test_in_float32_it_rounds_no_more_than_the_definition_does() -> None:
    x, weight = drawn(1, 256, 34, 34), 0.02 * drawn(256, 256, 3, 3, seed=1)
    truth = with_gradients(F.conv2d, x, weight, torch.float64)
    for convolve in (winograd.winograd, F.conv2d):
        found = with_gradients(convolve, x, weight, torch.float32)
        errors = [
            ((mine - true).abs().max() / true.abs().max()).item() for mine, true in zip(found, truth, strict=True)
        ]
        assert max(errors) < 5e-6, errors
        if convolve is winograd.winograd:
            assert max(errors) < 1e-6, errors


def test_each_gradient_is_there_without_the_other() -> None:
    x, weight = drawn(1, 3, 8, 8), drawn(4, 3, 3, 3, seed=1)
    truth = with_gradients(F.conv2d, x, weight, torch.float64)
    for wanted in (0, 1):
        inputs = [value.clone().requires_grad_(number == wanted) for number, value in enumerate((x, weight))]
        made = winograd.winograd(*inputs)
        (found,) = torch.autograd.grad(made, [inputs[wanted]], drawn(*made.shape, seed=9))
        assert torch.allclose(found, truth[1 + wanted], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("strips")
def test_an_image_has_the_same_bits_alone_and_in_a_batch() -> None:
    x, weight = drawn(3, 4, 18, 18, dtype=torch.float32), drawn(4, 4, 3, 3, dtype=torch.float32, seed=1)
    together = winograd.winograd(x, weight)
    for image, alone in zip(together, x, strict=True):
        assert torch.equal(image, winograd.winograd(alone[None], weight)[0])


def test_there_are_no_gradients_of_gradients_and_nobody_gets_wrong_ones() -> None:
    x, weight = drawn(1, 2, 6, 6).requires_grad_(), drawn(2, 2, 3, 3, seed=1).requires_grad_()
    (first,) = torch.autograd.grad(winograd.winograd(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# --- where it is used ------------------------------------------------------------------------------


@pytest.mark.usefixtures("everywhere")
def test_the_layer_has_the_weights_values_and_gradients_of_the_usual_one(calls: list[torch.Size]) -> None:
    layer, usual = Convolution3x3(3, 4, bias=True).double(), nn.Conv2d(3, 4, 3).double()
    usual.load_state_dict(layer.state_dict())
    x = drawn(2, 3, 10, 8)
    assert torch.equal(layer(x), usual(x))
    assert not calls  # in float64 it is the usual one
    layer, usual = layer.float(), usual.float()
    for convolution in (layer, usual):
        convolution(x.float()).square().sum().backward()
    assert len(calls) == 1
    gradients = [[weight.grad for weight in convolution.parameters()] for convolution in (layer, usual)]
    for mine, other in zip(*gradients, strict=True):
        assert isinstance(mine, Tensor)
        assert isinstance(other, Tensor)
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.usefixtures("everywhere")
def test_it_stands_aside_wherever_it_is_not_for(calls: list[torch.Size], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Convolution3x3(2, 2, bias=False), drawn(1, 2, 8, 8, dtype=torch.float32)

    def used(x: Tensor = x) -> bool:
        calls.clear()
        layer(x)
        return bool(calls)

    assert used()
    assert not used(x[..., 1:])  # a side is odd
    assert not used(x[..., 1:, :])
    assert not used(drawn(2, 2, 8, 8, dtype=torch.float32).contiguous(memory_format=torch.channels_last))
    with torch.autocast("cpu", torch.bfloat16):
        assert not used()
    calls.clear()
    traced = torch.jit.trace(layer, x, check_trace=False)
    assert not calls
    assert torch.equal(traced(x), F.conv2d(x, layer.weight))
    for name, least in (("LEAST_CHANNELS", 3), ("LEAST_PIXELS", 37)):
        with monkeypatch.context() as patch:
            patch.setattr(winograd, name, least)
            assert not used()
    monkeypatch.setattr(winograd, "INSTRUCTIONS", "another processor's")
    assert not used()


def test_the_published_networks_use_it_in_their_blocks_from_128_pixels_on(
    calls: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "INSTRUCTIONS", torch.backends.cpu.get_cpu_capability())
    network = ResNetGenerator(num_blocks=2).build(3, 3).requires_grad_(False)
    network(torch.zeros(1, 3, 64, 64))
    assert calls == []
    network(torch.zeros(1, 3, 128, 128))
    assert calls == [(1, 256, 34, 34)] * 4


# --- steps -----------------------------------------------------------------------------------------


def objective() -> CycleGANObjective:
    return CycleGAN(pool_size=2).build(GENERATOR, DISCRIMINATOR, 3, 3, 0)


def batch_number(number: int, dtype: torch.dtype = torch.float32) -> Batch:
    return Batch(
        a=drawn(1, 3, 32, 32, seed=number).to(dtype).tanh(), b=drawn(1, 3, 32, 32, seed=-number).to(dtype).tanh()
    )


@pytest.mark.usefixtures("everywhere")
def test_the_gradients_of_a_step_are_those_in_float64(calls: list[torch.Size]) -> None:
    found = step_gradients(objective(), batch_number(1), "fp32")
    assert calls
    exact = step_gradients(objective().double(), batch_number(1, torch.float64), "fp32")
    for name, truth in exact.items():
        if not name.endswith("bias"):  # in front of a norm they have no gradient but rounding
            assert (found[name] - truth).norm() < 1e-4 * truth.norm(), name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("everywhere")
def test_the_bits_of_steps_are_the_same_every_time(threads: int, calls: list[torch.Size]) -> None:
    def trained() -> str:
        state = TrainingState(objective(), OptimizerConfig())
        for number in (1, 2, 3):
            train_step(state, batch_number(number), "fp32")
        return state.sha256()

    torch.set_num_threads(threads)
    try:
        assert len({trained() for _ in range(3)}) == 1
        assert calls
    finally:
        torch.set_num_threads(1)


def test_operations_are_counted_as_the_definition_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def operations(instructions: str) -> float:
        monkeypatch.setattr(winograd, "INSTRUCTIONS", instructions)
        return TranslationCase.at(128, "fp32", torch.device("cpu")).flop

    assert operations(torch.backends.cpu.get_cpu_capability()) == operations("another processor's")


@pytest.mark.usefixtures("everywhere")
def test_what_is_counted_on_shapes_alone_leaves_nothing_to_work_in(calls: list[torch.Size]) -> None:
    x, weight = drawn(1, 7, 10, 10, dtype=torch.float32), drawn(7, 7, 3, 3, dtype=torch.float32, seed=1)
    with FakeTensorMode() as mode:
        made = winograd.winograd(mode.from_tensor(x).requires_grad_(), mode.from_tensor(weight).requires_grad_())
        made.sum().backward()
    with torch.inference_mode():
        winograd.winograd(x, weight)
    found = with_gradients(winograd.winograd, x.double(), weight.double(), torch.float32)
    for mine, truth in zip(found, with_gradients(F.conv2d, x.double(), weight.double(), torch.float64), strict=True):
        assert (mine - truth).abs().max() < 1e-5 * truth.abs().max()
    assert len(calls) == 3


def test_threads_work_in_memory_of_their_own() -> None:
    def places() -> list[int]:
        return [winograd.scratch("tiles", torch.zeros(1), size, 4).data_ptr() for size in (8, 2, 8)]

    with ThreadPoolExecutor(1) as other:
        theirs, mine = other.submit(places).result(), places()
    assert len(set(mine)) == len(set(theirs)) == 1  # which is taken again
    assert set(mine).isdisjoint(theirs)
