"""The U-Net is the published one: levels, biases, dropout, skips; and it takes any depth and any channels."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import from_dict, to_dict
from unpaired.errors import ConfigError
from unpaired.networks import GeneratorConfig, UNetGenerator
from unpaired.networks.layers import InstanceNorm
from unpaired.networks.unet import UNetModule
from unpaired.objectives.base import initialised

NORMS: list[Literal["instance", "batch", "none"]] = ["instance", "batch", "none"]


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def modules(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(config: UNetGenerator, in_channels: int = 3, out_channels: int = 3) -> UNetModule:
    """Return the network with seeded weights large enough for every level to matter."""
    network = initialised(config.build(in_channels, out_channels), 0, "AtoB")
    for parameter in network.parameters():
        parameter.data *= 5
    return network  # type: ignore[return-value]


# --- the published architecture --------------------------------------------------------------------


@pytest.mark.parametrize(("num_downs", "expected"), [(8, 54_413_955), (7, 41_828_995)])
def test_the_published_depths_have_the_published_number_of_parameters(num_downs: int, expected: int) -> None:
    with torch.device("meta"):
        assert num_parameters(UNetGenerator(num_downs=num_downs).build(3, 3)) == expected


def test_every_level_has_the_published_shapes() -> None:
    with torch.device("meta"):
        network = UNetGenerator().build(3, 3)
    downs = [tuple(down.conv.weight.shape) for down in network.downs]
    ups = [tuple(up.conv.weight.shape) for up in network.ups]
    assert downs == [
        (64, 3, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        *[(512, 512, 4, 4)] * 4,
    ]
    assert ups == [  # transposed: in, out, k, k
        (128, 3, 4, 4),
        (256, 64, 4, 4),
        (512, 128, 4, 4),
        (1024, 256, 4, 4),
        *[(1024, 512, 4, 4)] * 3,
        (512, 512, 4, 4),
    ]
    for conv in modules(network, nn.Conv2d, nn.ConvTranspose2d):
        assert (conv.stride, conv.padding) == ((2, 2), (1, 1))
    assert {module.negative_slope for module in modules(network, nn.LeakyReLU)} == {0.2}
    assert len(modules(network, nn.LeakyReLU)) == 7
    assert len(modules(network, nn.ReLU)) == 8


def test_with_batch_norm_the_only_bias_is_that_of_the_last_convolution() -> None:
    with torch.device("meta"):
        network = UNetGenerator(norm="batch").build(3, 3)
    assert len(network.state_dict()) == 82
    biases = [key for key in network.state_dict() if key.endswith("conv.bias")]
    assert biases == ["ups.0.conv.bias"]
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [*(f"downs.{level}.norm" for level in range(1, 7)), *(f"ups.{level}.norm" for level in range(1, 8))]


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_without_batch_norm_every_convolution_has_a_bias_and_there_is_nothing_else(norm: str) -> None:
    with torch.device("meta"):
        network = UNetGenerator(norm=norm).build(3, 3)  # type: ignore[arg-type]
    keys = list(network.state_dict())
    assert len(keys) == 32
    assert all(key.endswith(("conv.weight", "conv.bias")) for key in keys)
    assert len(modules(network, InstanceNorm)) == (13 if norm == "instance" else 0)


@pytest.mark.parametrize(("num_downs", "expected"), [(2, []), (5, []), (6, [4]), (7, [4, 5]), (8, [4, 5, 6])])
def test_dropout_is_on_the_published_levels_and_only_where_asked_for(num_downs: int, expected: list[int]) -> None:
    with torch.device("meta"):
        dropping = UNetGenerator(num_downs=num_downs, dropout=True).build(3, 3)
        plain = UNetGenerator(num_downs=num_downs).build(3, 3)
    assert [level for level, up in enumerate(dropping.ups) if isinstance(up.dropout, nn.Dropout)] == expected
    assert all(module.p == 0.5 for module in modules(dropping, nn.Dropout))
    assert not modules(plain, nn.Dropout)
    assert list(dropping.state_dict()) == list(plain.state_dict())


def published(network: UNetModule, x: Tensor, norm: str, level: int = 0) -> Tensor:
    """The published network as it is published: a block that holds the next one, with nothing done in place."""
    down, up, outermost, innermost = network.downs[level], network.ups[level], level == 0, level + 1 == len(network.ups)

    def normalised(part: nn.Module, y: Tensor) -> Tensor:
        if norm == "none":
            return y
        axes = (2, 3) if norm == "instance" else (0, 2, 3)
        y = (y - y.mean(axes, keepdim=True)) / (y.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
        if norm == "instance":
            return y
        return y * part.norm.weight.view(-1, 1, 1) + part.norm.bias.view(-1, 1, 1)

    y = x if outermost else F.leaky_relu(x, 0.2)
    y = F.conv2d(y, down.conv.weight, down.conv.bias, stride=2, padding=1)
    if not innermost:
        y = published(network, y if outermost else normalised(down, y), norm, level + 1)
    y = F.conv_transpose2d(F.relu(y), up.conv.weight, up.conv.bias, stride=2, padding=1)
    return torch.tanh(y) if outermost else torch.cat([x, normalised(up, y)], 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("num_downs", [2, 3, 6])
def test_outputs_and_gradients_are_those_of_the_nested_formulation(num_downs: int, norm: str) -> None:
    config = UNetGenerator(num_downs=num_downs, base_channels=3, norm=norm)  # type: ignore[arg-type]
    network, size = built(config).double(), config.min_size
    image = seeded(2, 3, size, 2 * size, dtype=torch.float64).clamp(-1, 1)
    leaves = list(network.parameters())
    made, expected = network(image), published(network, image, norm)
    assert (made - expected).abs().max() <= 1e-12
    gradients = torch.autograd.grad((made**2).sum(), leaves)
    references = torch.autograd.grad((expected**2).sum(), leaves)
    for gradient, reference in zip(gradients, references, strict=True):
        assert (gradient - reference).abs().max() <= 1e-9 * max(1, reference.abs().max().item())


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_in_single_precision_are_those_of_double(norm: str) -> None:
    config = UNetGenerator(num_downs=4, base_channels=4, norm=norm)  # type: ignore[arg-type]
    image = seeded(2, 3, 32, 32).clamp(-1, 1)

    def gradient(dtype: torch.dtype) -> Tensor:
        network = built(config).to(dtype)
        found = torch.autograd.grad((network(image.to(dtype)) ** 2).mean(), list(network.parameters()))
        return torch.cat([part.flatten().double() for part in found])

    single, double = gradient(torch.float32), gradient(torch.float64)
    assert (single - double).norm() <= 1e-4 * double.norm()


# --- sizes, channels, values -----------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("num_downs", [2, 3, 5, 7])
@pytest.mark.parametrize("norm", NORMS)
def test_one_image_of_the_smallest_size_is_enough_to_train_at_any_depth(
    upsampling: str, num_downs: int, norm: str
) -> None:
    config = UNetGenerator(
        num_downs=num_downs,
        base_channels=2,
        norm=norm,  # type: ignore[arg-type]
        upsampling=upsampling,  # type: ignore[arg-type]
        dropout=True,
    )
    assert config.min_size == config.multiple == 2**num_downs
    network = config.build(3, 3)
    made = network(seeded(1, 3, config.min_size, config.min_size))
    assert made.shape == (1, 3, config.min_size, config.min_size)
    made.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("size", [(8, 8), (24, 16), (64, 40)])
@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (4, 13), (13, 4)])
def test_the_output_is_as_large_as_the_input_and_between_minus_one_and_one(
    upsampling: str, size: tuple[int, int], channels: tuple[int, int]
) -> None:
    config = UNetGenerator(num_downs=3, base_channels=4, upsampling=upsampling)  # type: ignore[arg-type]
    made = config.build(*channels)(seeded(2, channels[0], *size))
    assert made.shape == (2, channels[1], *size)
    assert made.abs().max() < 1
    assert made.std() > 0


def test_the_input_is_left_as_it_was() -> None:
    image = seeded(1, 3, 8, 8)
    before = image.clone()
    UNetGenerator(num_downs=3, base_channels=4).build(3, 3)(image)
    assert torch.equal(image, before)


def test_what_the_bottleneck_loses_comes_through_the_skips() -> None:
    network = built(UNetGenerator(num_downs=4, base_channels=4, norm="none"))
    for parameter in network.ups[1:].parameters():  # nothing comes up from below level 0
        nn.init.zeros_(parameter)
    image = seeded(1, 3, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(network(image)[0, 0, 8, 8], image)
    seen = gradient[0].abs().sum(0) > 0
    assert 0 < seen.sum() <= 6 * 6  # one strided 4 x 4 convolution down and one up
    assert seen[8, 8]


def test_dropout_acts_in_training_only() -> None:
    network, image = built(UNetGenerator(num_downs=6, base_channels=2, dropout=True)), seeded(1, 3, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_resize_upsampling_has_no_transposed_convolution_and_the_same_widths() -> None:
    with torch.device("meta"):
        network = UNetGenerator(num_downs=4, base_channels=4, upsampling="resize").build(3, 3)
        published = UNetGenerator(num_downs=4, base_channels=4).build(3, 3)
    assert not modules(network, nn.ConvTranspose2d)
    widths = [(conv.in_channels, conv.out_channels) for conv in modules(network.ups, nn.Conv2d)]
    assert widths == [(conv.in_channels, conv.out_channels) for conv in modules(published.ups, nn.ConvTranspose2d)]
    assert [conv.bias is not None for conv in modules(network.ups, nn.Conv2d)] == [True, False, False, False]


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_initial_weights_are_normal_with_deviation_0_02_and_biases_nought(upsampling: str) -> None:
    config = UNetGenerator(num_downs=4, base_channels=16, norm="instance", upsampling=upsampling)  # type: ignore[arg-type]
    network = initialised(config.build(3, 3), 0, "AtoB")
    for module in modules(network, nn.Conv2d, nn.ConvTranspose2d):
        n = module.weight.numel()
        assert abs(module.weight.mean()) < 4 * 0.02 / n**0.5
        assert abs(module.weight.std() / 0.02 - 1) < 4 / (2 * n) ** 0.5
        assert not module.bias.any()


# --- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [UNetGenerator(), UNetGenerator(num_downs=5, base_channels=7, norm="none", dropout=True, upsampling="resize")],
)
def test_settings_survive_plain_values_as_a_member_of_the_union(config: UNetGenerator) -> None:
    plain = to_dict(config)
    assert plain["kind"] == "unet"
    assert from_dict(GeneratorConfig, plain) == config


@pytest.mark.parametrize("wrong", [{"num_downs": 1}, {"num_downs": 13}, {"base_channels": 0}])
def test_impossible_networks_are_refused_by_the_name_of_the_setting(wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"generator\.{name} must be"):
        UNetGenerator(**wrong)  # type: ignore[arg-type]
