"""Networks that can change shapes: deformable convolutions, self-attention, displacement, fewer skips in U-Nets."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import from_dict, to_dict
from unpaired.errors import ConfigError
from unpaired.networks import GeneratorConfig, ResNetGenerator, UNetGenerator
from unpaired.networks.deformable import DeformableConvolution3x3
from unpaired.networks.displacement import Displacement, displaced
from unpaired.networks.self_attention import SelfAttention
from unpaired.objectives.base import initialised

SMALL = ResNetGenerator(base_channels=4, num_blocks=3, num_downs=1)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def deformable(in_channels: int = 3, out_channels: int = 5) -> DeformableConvolution3x3:
    layer = initialised(DeformableConvolution3x3(in_channels, out_channels, bias=True), 0, "layer").double()
    assert isinstance(layer, DeformableConvolution3x3)
    return layer


# --- deformable convolution ------------------------------------------------------------------------


def test_a_new_deformable_convolution_is_an_ordinary_one() -> None:
    layer, x = deformable(), seeded(2, 3, 9, 7)
    assert layer(x).shape == (2, 5, 7, 5)
    assert layer(x).allclose(F.conv2d(x, layer.conv.weight, layer.conv.bias), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 2), (1, 1)])
def test_a_constant_offset_moves_what_is_read(down: int, right: int) -> None:
    layer, x = deformable(), seeded(1, 3, 12, 12)
    layer.offset_bias.data[0::2], layer.offset_bias.data[1::2] = down, right
    plain = F.conv2d(x, layer.conv.weight, layer.conv.bias)
    moved = layer(x)[..., : 10 - down, : 10 - right]
    assert moved.allclose(plain[..., down:, right:], rtol=0, atol=1e-12)


def read(image: Tensor, y: float, x: float) -> float:
    """Return the bilinear value of h w at a place, its nearest pixel outside."""
    y, x = min(max(y, 0), image.shape[0] - 1), min(max(x, 0), image.shape[1] - 1)
    top, left = min(math.floor(y), image.shape[0] - 2), min(math.floor(x), image.shape[1] - 2)
    dy, dx = y - top, x - left
    upper = image[top, left] * (1 - dx) + image[top, left + 1] * dx
    lower = image[top + 1, left] * (1 - dx) + image[top + 1, left + 1] * dx
    return float(upper * (1 - dy) + lower * dy)


def test_each_tap_reads_where_its_offset_says() -> None:
    layer, x = deformable(2, 1), seeded(1, 2, 6, 5)
    layer.offset_weight.data.copy_(0.3 * seeded(18, 2, 3, 3, seed=1))
    layer.offset_bias.data.copy_(seeded(18, seed=2))
    layer.requires_grad_(False)
    offsets = F.conv2d(x, layer.offset_weight, layer.offset_bias)[0]
    made = layer(x)[0, 0]
    for y in range(4):
        for column in range(3):
            total = float(layer.conv.bias)  # type: ignore[arg-type]
            for tap in range(9):
                dy, dx = float(offsets[2 * tap, y, column]), float(offsets[2 * tap + 1, y, column])
                for channel in range(2):
                    value = read(x[0, channel], y + tap // 3 + dy, column + tap % 3 + dx)
                    total += float(layer.conv.weight[0, channel, tap // 3, tap % 3]) * value
            assert float(made[y, column]) == pytest.approx(total, abs=1e-9)


def test_gradients_reach_offsets_and_are_exact() -> None:
    layer, x = deformable(2, 2), seeded(1, 2, 5, 5).requires_grad_()
    layer.offset_bias.data.copy_(0.3 + 0.1 * seeded(18))  # away from whole pixels, where bilinear reading has kinks
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).square().sum().backward()
    assert layer.offset_weight.grad is not None
    assert layer.offset_weight.grad.abs().sum() > 0


def test_half_precision_reads_in_single() -> None:
    layer = deformable().to(torch.bfloat16)
    layer.offset_bias.data.fill_(0.5)
    made = layer(seeded(1, 3, 8, 8).bfloat16())
    assert made.dtype == torch.bfloat16
    assert torch.isfinite(made).all()


# --- self-attention --------------------------------------------------------------------------------


def test_new_self_attention_is_the_identity() -> None:
    layer, x = SelfAttention(8).double(), seeded(2, 8, 5, 6)
    assert torch.equal(layer(x), x)


def test_self_attention_is_the_published_one() -> None:
    layer, x = SelfAttention(16).double(), seeded(2, 16, 4, 5)
    layer.gamma.data.fill_(0.7)
    query, key, value = (part(x).flatten(2) for part in (layer.query, layer.key, layer.value))
    scores = torch.einsum("ncj,nci->nji", query, key)  # eq. 1: no division
    attended = torch.einsum("nji,nci->ncj", scores.softmax(2), value).reshape(2, 8, 4, 5)
    assert layer(x).allclose(x + 0.7 * layer.out(attended), rtol=0, atol=1e-12)


def test_self_attention_reads_everywhere() -> None:
    layer, x = SelfAttention(8).double(), seeded(1, 8, 6, 6).requires_grad_()
    layer.gamma.data.fill_(1)
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    assert (gradient.abs().sum((0, 1)) > 0).all()


# --- displacement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (0, -3), (1, 2)])
def test_a_constant_field_moves_the_image(down: int, right: int) -> None:
    image = seeded(2, 3, 9, 8)
    field = torch.tensor([down, right]).double().view(1, 2, 1, 1).expand(2, 2, 9, 8)
    y = (torch.arange(9) + down).clamp(0, 8)
    x = (torch.arange(8) + right).clamp(0, 7)
    assert displaced(image, field).allclose(image[:, :, y][..., x], rtol=0, atol=1e-12)


def test_a_field_reads_between_pixels() -> None:
    image, field = seeded(1, 2, 5, 6), 0.7 * seeded(1, 2, 5, 6, seed=1)
    made = displaced(image, field)
    for y in range(5):
        for x in range(6):
            for channel in range(2):
                value = read(image[0, channel], y + float(field[0, 0, y, x]), x + float(field[0, 1, y, x]))
                assert float(made[0, channel, y, x]) == pytest.approx(value, abs=1e-9)


def test_half_precision_finds_the_places_of_large_images() -> None:
    image = torch.arange(1024.0).bfloat16().expand(1, 1, 4, 1024) / 1024
    made = displaced(image, torch.full((1, 2, 4, 1024), 0.0).bfloat16())
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, image)


def test_a_new_generator_with_displacement_keeps_its_input_apart_from_what_it_draws() -> None:
    config = replace(SMALL, displacement=True)
    network = initialised(config.build(3, 3), 0, "AtoB").double()
    for parameter in network.head.parameters():  # type: ignore[union-attr]
        nn.init.zeros_(parameter)
    image = seeded(1, 3, 16, 16).clamp(-0.9, 0.9)
    assert network(image).allclose(image, rtol=0, atol=1e-9)
    network.displacement.bias.data.copy_(torch.tensor([1.0, 0.0]))  # type: ignore[union-attr]
    assert network(image)[..., :-2, :].allclose(image[..., 2:, :], rtol=0, atol=1e-9)  # a pixel of the halved features


def test_the_field_and_what_is_drawn_both_learn() -> None:
    network = initialised(replace(SMALL, displacement=True).build(3, 3), 0, "AtoB")
    network(seeded(1, 3, 16, 16).clamp(-1, 1).float()).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert network.displacement.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_displacement_needs_equal_channels() -> None:
    with pytest.raises(ConfigError, match=r"generator\.displacement needs as many channels"):
        replace(SMALL, displacement=True).build(3, 1)


# --- the ResNet generator --------------------------------------------------------------------------


def test_the_published_generator_has_none_of_them() -> None:
    kinds = [type(module) for module in ResNetGenerator(base_channels=2).build(3, 3).modules()]
    assert Displacement not in kinds
    assert DeformableConvolution3x3 not in kinds
    assert SelfAttention not in kinds


def test_the_last_blocks_are_deformable_and_the_first_attend() -> None:
    network = replace(SMALL, num_deformable_blocks=2, num_attention_blocks=1).build(3, 3)
    of_kind = {
        kind: [any(isinstance(module, kind) for module in block.modules()) for block in network.blocks]
        for kind in (DeformableConvolution3x3, SelfAttention)
    }
    assert of_kind == {DeformableConvolution3x3: [False, True, True], SelfAttention: [True, False, False]}
    made = network(seeded(2, 3, 16, 12).float())
    assert made.shape == (2, 3, 16, 12)
    assert len(network.features(seeded(1, 3, 16, 16).float())) == 4


@pytest.mark.parametrize("recompute", [False, True])
def test_all_their_weights_learn(recompute: bool) -> None:
    network = initialised(replace(SMALL, num_deformable_blocks=3, num_attention_blocks=3).build(3, 3), 0, "AtoB")
    network.recompute = recompute  # type: ignore[assignment]
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            parameter.data.fill_(0.5)
    network(seeded(1, 3, 16, 16).float()).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", ["num_deformable_blocks", "num_attention_blocks"])
@pytest.mark.parametrize("count", [-1, 10])
def test_impossible_numbers_of_blocks_are_refused(name: str, count: int) -> None:
    with pytest.raises(ConfigError, match=rf"generator\.{name} must be 0 to num_blocks"):
        ResNetGenerator(**{name: count})  # type: ignore[arg-type]


# --- the U-Net without outer skips -----------------------------------------------------------------


def test_all_skips_given_are_the_published_network() -> None:
    config = UNetGenerator(num_downs=4, base_channels=4, norm="instance")
    networks = [initialised(each.build(3, 3), 0, "AtoB") for each in (config, replace(config, num_skips=3))]
    image = seeded(1, 3, 16, 16).float()
    assert torch.equal(networks[0](image), networks[1](image))


@pytest.mark.parametrize(("num_skips", "seen"), [(3, 6), (2, 18), (1, 42)])
def test_without_outer_skips_nothing_bypasses_the_inner_levels(num_skips: int, seen: int) -> None:
    """Block everything below the outermost level that has a skip: the output then sees the skips' patch alone."""
    config = UNetGenerator(num_downs=4, base_channels=8, norm="none", num_skips=num_skips)
    network, level = initialised(config.build(3, 3), 0, "AtoB").double(), config.outermost_skip
    for parameter in network.ups[level + 1 :].parameters():  # type: ignore[index]
        nn.init.zeros_(parameter)
    image = seeded(1, 3, 64, 64).requires_grad_()
    (gradient,) = torch.autograd.grad(network(image)[0, 0, 32, 32], image)
    rows = (gradient[0].abs().sum((0, 2)) > 0).sum()
    assert 2 <= rows <= seen


def test_without_any_skip_everything_passes_the_bottleneck() -> None:
    config = UNetGenerator(num_downs=3, base_channels=2, norm="none", num_skips=0)
    network = initialised(config.build(3, 3), 0, "AtoB")
    for parameter in network.ups[-1].parameters():  # type: ignore[index]
        nn.init.zeros_(parameter)
    one, other = network(seeded(1, 3, 8, 8).float()), network(seeded(1, 3, 8, 8, seed=1).float())
    assert torch.equal(one, other)


def test_another_size_keeps_the_number_of_skips_that_fit() -> None:
    assert UNetGenerator(num_skips=6).at_size(128) == UNetGenerator(num_downs=7, num_skips=6)
    assert UNetGenerator(num_skips=6).at_size(64) == UNetGenerator(num_downs=6, num_skips=5)
    assert UNetGenerator().at_size(64) == UNetGenerator(num_downs=6)


@pytest.mark.parametrize("count", [-1, 4])
def test_impossible_numbers_of_skips_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=r"generator\.num_skips must be 0 to num_downs - 1"):
        UNetGenerator(num_downs=4, num_skips=count)


@pytest.mark.parametrize(
    "config",
    [UNetGenerator(num_skips=2), UNetGenerator(), ResNetGenerator(num_deformable_blocks=2, num_attention_blocks=9)],
)
def test_settings_survive_plain_values(config: GeneratorConfig) -> None:
    assert from_dict(GeneratorConfig, to_dict(config)) == config
