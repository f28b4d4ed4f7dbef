"""Norms are right at any size, in any order of memory, in float32 and bfloat16, on any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import override
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.networks.layers import BatchNorm, InstanceNorm, initialise
from unpaired.objectives.losses import gradient_penalty
from unpaired.recipes import build_objective, paper
from unpaired.translate.fast import fast_form

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
EPS = 1e-5


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def drawn(*shape: int, mean: float = 0.0, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) + mean


def in_order(x: Tensor, layout: str) -> Tensor:
    """The images in an order of memory; the gradient of a copy reaches x."""
    return x.contiguous(memory_format=LAYOUTS[layout])


def exact(x: Tensor, dims: tuple[int, ...] = (2, 3)) -> Tensor:
    """The definition, in float64."""
    x = x.double()
    centred = x - x.mean(dims, keepdim=True)
    return centred / (centred.square().mean(dims, keepdim=True) + EPS).sqrt()


def error(made: Tensor, right: Tensor) -> float:
    """The largest error of a value, beyond the rounding of the type that it is kept in."""
    rounding = right.abs() * 2**-8 if made.dtype == torch.bfloat16 else 0
    return float(((made.double() - right).abs() - rounding).max().detach())


# --- statistics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("side", "mean", "dtype"),
    [
        (1024, 3, torch.float32),
        (1024, 100, torch.bfloat16),
        (2048, 100, torch.float32),
        (4096, 3, torch.float32),
        (4096, 3, torch.bfloat16),
        (4096, 100, torch.float32),
    ],
)
def test_instance_norm_of_a_large_image_is_that_of_float64(
    side: int, mean: int, dtype: torch.dtype, layout: str
) -> None:
    part = drawn(1, 2, 512, 512, mean=mean).to(dtype)  # the whole is this one side by side: its statistics are the same
    times = (1, 1, side // 512, side // 512)
    made = InstanceNorm(2)(in_order(part.repeat(times), layout))
    assert made.dtype == dtype
    assert made.is_contiguous(memory_format=LAYOUTS[layout])
    bound = 2e-6 if mean < 10 else 1e-5  # at 100 the last digit of a float32 is 8e-6
    for rows in made.split(512, dim=2):
        assert error(rows[..., :512], exact(part)) <= bound
    assert made[:, :, :512].equal(made[..., -512:, :512].repeat(1, 1, 1, side // 512))


@pytest.mark.parametrize("kind", [InstanceNorm, BatchNorm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bits_of_a_norm_in_channels_last_do_not_depend_on_the_number_of_threads(
    kind: type[nn.Module], dtype: torch.dtype, threads: Callable[[int], None]
) -> None:
    x = in_order(drawn(2, 12, 200, 260, mean=3).to(dtype), "channels_last")
    made = []
    for count in (1, 2, 3):
        threads(count)
        made.append(kind(12)(x))
    assert made[0].equal(made[1])
    assert made[0].equal(made[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_image_in_channels_last_is_normalised_alike_in_any_batch(dtype: torch.dtype) -> None:
    x = in_order(drawn(3, 6, 100, 90, mean=3).to(dtype), "channels_last")
    together = InstanceNorm(6)(x)
    assert together.equal(torch.cat([InstanceNorm(6)(image) for image in torch.split(x, 1)]))
    assert together[1].equal(InstanceNorm(6)(in_order(torch.stack([x[0] * 100, x[1]]), "channels_last"))[1])


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 1, 600, 500), (2, 1, 9, 1), (1, 4, 1, 9), (1, 2, 3, 70_000)])
def test_every_shape_and_every_view_is_normalised(shape: tuple[int, ...]) -> None:
    whole = drawn(shape[0], shape[1], shape[2] + 2, shape[3] + 3, mean=100).permute(0, 2, 3, 1).contiguous()
    cut = whole.permute(0, 3, 1, 2)[..., 1:-1, 2:-1]
    dense = torch.empty_strided(shape, (shape[1] * shape[2] * shape[3], 1, shape[3] * shape[1], shape[1])).copy_(cut)
    for view in (cut, dense, cut.flip(3), cut.contiguous()):
        assert error(InstanceNorm(shape[1])(view), exact(view)) <= 4e-5
        assert error(BatchNorm(shape[1])(view), exact(view, (0, 2, 3))) <= 4e-5


def test_a_channel_of_one_value_becomes_nearly_0_and_one_whose_rows_differ_most_is_right() -> None:
    x = drawn(1, 3, 1024, 1024)
    x[:, 1] = 0.7
    x[:, 2] += torch.linspace(0, 1000, 1024)[:, None].floor()
    made = InstanceNorm(3)(in_order(x, "channels_last"))
    assert error(made, exact(x)) <= 5e-5
    assert made[:, 1].abs().max() <= 5e-5


def test_where_pixels_lie_together_the_operator_is_torchs_to_the_bit() -> None:
    x = drawn(2, 6, 100, 90, mean=3)
    assert InstanceNorm(6)(x).equal(F.group_norm(x, 6, eps=EPS))
    ours, theirs = BatchNorm(6), nn.BatchNorm2d(6)
    assert ours(x).equal(theirs(x))
    assert ours.eval()(in_order(x, "channels_last")).equal(theirs.eval()(in_order(x, "channels_last")))


def test_one_pixel_is_refused_in_either_order() -> None:
    for layout in LAYOUTS:
        with pytest.raises(ValueError, match="more than 1"):
            BatchNorm(4)(in_order(drawn(1, 4, 1, 1), layout))


@pytest.mark.filterwarnings("ignore")
def test_compiled_and_traced_norms_are_torchs_one_operator() -> None:
    x, graphs = in_order(drawn(2, 4, 8, 8), "channels_last"), []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    torch.compile(InstanceNorm(4), backend=backend)(x)
    (graph,) = graphs
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == [F.group_norm]
    assert "aten::group_norm" in str(torch.jit.trace(InstanceNorm(4), x).inlined_graph)


# --- batch norm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_batch_norm_in_channels_last_does_what_torch_does_and_at_any_size(n: int) -> None:
    x = drawn(n, 4, 700, 600, mean=100) * torch.arange(1, 5)[:, None, None]
    ours, theirs = BatchNorm(4), nn.BatchNorm2d(4).double()
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 3)
        nn.init.constant_(norm.bias, 2)
    for _ in range(2):
        made, right = ours(in_order(x, "channels_last")), theirs(x.double())
        assert error(made, right) <= 3e-5
        with torch.no_grad():
            assert error(ours(in_order(x, "channels_last")), theirs(x.double())) <= 3e-5
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert int(ours.num_batches_tracked) == 4
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name).float(), rtol=1e-6, atol=0)
    assert error(ours.eval()(in_order(x, "channels_last")), theirs.eval()(x.double())) <= 2e-4


# --- gradients -------------------------------------------------------------------------------------


def gradients(norm: nn.Module, x: Tensor, factor: Tensor) -> list[Tensor]:
    """Those of a cubic score for the images, and of a score of these gradients."""
    leaf = x.detach().requires_grad_()
    (once,) = torch.autograd.grad((norm(leaf) ** 3 * factor).sum(), leaf)
    (kept,) = torch.autograd.grad((norm(leaf) ** 3 * factor).sum(), leaf, create_graph=True)
    (twice,) = torch.autograd.grad(((kept * factor) ** 2).sum(), leaf)
    return [once, kept.detach(), twice]


@pytest.mark.parametrize("kind", [InstanceNorm, BatchNorm])
@pytest.mark.parametrize("arrives", LAYOUTS)
@pytest.mark.parametrize(("shape", "mean"), [((1, 4, 300, 301), 100), ((3, 4, 256, 300), 3), ((2, 1, 5, 4), 0)])
def test_gradients_in_channels_last_are_those_of_float64(
    kind: type[nn.Module], arrives: str, shape: tuple[int, ...], mean: int
) -> None:
    channels = shape[1]
    x, factor = drawn(*shape, mean=mean), drawn(*shape, seed=1)
    right = gradients(kind(channels).double(), x.double(), factor.double())
    made = gradients(kind(channels), in_order(x, "channels_last"), in_order(factor, arrives))
    for one, expected in zip(made, right, strict=True):
        assert (one.double() - expected).abs().max() <= (1e-6 if mean < 10 else 1e-5) * expected.abs().max()


def test_the_weights_of_a_critic_in_channels_last_learn_the_same_from_a_gradient_penalty() -> None:
    torch.manual_seed(0)
    usual = PatchGAN(base_channels=8, num_layers=2).build(3)
    initialise(usual, std=0.2)
    other = copy.deepcopy(usual).to(memory_format=torch.channels_last)
    real, fake, alpha = drawn(2, 3, 64, 64), drawn(2, 3, 64, 64, seed=1), torch.tensor([0.3, 0.6]).view(2, 1, 1, 1)
    for network in (usual, other):
        gradient_penalty(network, real, fake, alpha).backward()
    learnt = [weight.grad for weight in usual.parameters()]
    for one, two in zip(other.parameters(), learnt, strict=True):
        torch.testing.assert_close(one.grad, two, rtol=1e-4, atol=1e-6)
    assert sum(grad is not None and bool((grad != 0).any()) for grad in learnt) > 3


# --- whole networks --------------------------------------------------------------------------------


def faint(side: int) -> Tensor:
    """An image of little contrast, whose activations have means far above their deviations: a clear sky, a scan."""
    return 0.8 + 0.02 * drawn(1, 3, side, side)


def translated(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        made: Tensor = network(image)
        return made


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_fast_form_of_a_generator_translates_a_large_image_as_float64_does(norm: Any) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(base_channels=4, num_blocks=1, norm=norm).build(3, 3)
    initialise(network, std=0.2)
    image = faint(512)
    right = translated(copy.deepcopy(network).double(), image.double())
    made = translated(fast_form(network, torch.device("cpu"), torch.float32), in_order(image, "channels_last"))
    assert right.std() > 0.2
    assert error(made, right) <= 5e-4


def test_a_generator_of_a_run_in_channels_last_translates_a_large_image_as_float64_does() -> None:
    config = override(paper(), {"run.layout": "channels_last", "generator.base_channels": 4, "generator.num_blocks": 1})
    network = next(iter(build_objective(config).translators.values()))
    initialise(network, std=0.2)
    image = faint(512)
    right = translated(copy.deepcopy(network).double().to(memory_format=torch.contiguous_format), image.double())
    assert right.std() > 0.2
    assert error(translated(network, image), right) <= 2e-4
