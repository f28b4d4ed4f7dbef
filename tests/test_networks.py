"""The networks are the published ones: parameters, sizes, receptive fields, norms, initial weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.errors import ConfigError
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator
from unpaired.networks.layers import BlurDown, BlurUp, InstanceNorm, initialise, resize_convolution
from unpaired.objectives.base import initialised

SMALL = ResNetGenerator(base_channels=4, num_blocks=2)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def modules(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- the published architectures -------------------------------------------------------------------


@pytest.mark.parametrize(("num_blocks", "expected"), [(9, 11_378_179), (6, 7_837_699)])
def test_the_generators_have_the_published_number_of_parameters(num_blocks: int, expected: int) -> None:
    with torch.device("meta"):
        assert num_parameters(ResNetGenerator(num_blocks=num_blocks).build(3, 3)) == expected


def test_the_discriminators_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert num_parameters(PatchGAN().build(3)) == 2_764_737
        assert num_parameters(PixelGAN().build(3)) == 4 * 64 + 65 * 128 + 129


def test_the_generator_has_the_published_layers() -> None:
    with torch.device("meta"):
        network = ResNetGenerator().build(3, 3)
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    shapes = [tuple(conv.weight.shape) for conv in convolutions]
    assert shapes == [
        (64, 3, 7, 7),
        (128, 64, 3, 3),
        (256, 128, 3, 3),
        *[(256, 256, 3, 3)] * 18,
        (256, 128, 3, 3),
        (128, 64, 3, 3),
        (3, 64, 7, 7),
    ]
    assert [conv.stride[0] for conv in convolutions] == [1, 2, 2, *[1] * 18, 2, 2, 1]
    ups = modules(network, nn.ConvTranspose2d)
    assert [(up.padding, up.output_padding) for up in ups] == [((1, 1), (1, 1))] * 2
    assert len(modules(network, InstanceNorm)) == 1 + 2 + 18 + 2
    assert len(modules(network, nn.ReLU)) == 1 + 2 + 9 + 2
    assert all(module.p == 0 for module in modules(network, nn.Dropout))
    assert isinstance(network.head[-1], nn.Tanh)


def test_the_discriminator_has_the_published_layers() -> None:
    with torch.device("meta"):
        network = PatchGAN().build(3)
    convolutions = modules(network, nn.Conv2d)
    assert [tuple(conv.weight.shape) for conv in convolutions] == [
        (64, 3, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512, 4, 4),
    ]
    assert [conv.stride[0] for conv in convolutions] == [2, 2, 2, 1, 1]
    assert {conv.padding for conv in convolutions} == {(1, 1)}
    assert [module.negative_slope for module in modules(network, nn.LeakyReLU)] == [0.2] * 4
    assert [module.num_channels for module in modules(network, InstanceNorm)] == [128, 256, 512]
    assert not modules(network, nn.Sigmoid)


def test_the_discriminator_gives_thirty_by_thirty_scores_for_a_256_image() -> None:
    with torch.device("meta"):
        assert PatchGAN().build(3)(torch.empty(2, 3, 256, 256)).shape == (2, 1, 30, 30)
        assert PixelGAN().build(3)(torch.empty(2, 3, 64, 48)).shape == (2, 1, 64, 48)


@pytest.mark.parametrize(("num_layers", "expected"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_one_score_sees_exactly_the_published_patch(num_layers: int, expected: int) -> None:
    network = PatchGAN(base_channels=1, num_layers=num_layers, norm="none").build(1).double()
    for parameter in network.parameters():  # positive everywhere, so that no path cancels another
        parameter.data = parameter.data.abs() + 0.1
    image = torch.ones(1, 1, 2 * expected + 20, 2 * expected + 20, dtype=torch.float64, requires_grad=True)
    scores = network(image)
    middle = scores.shape[-1] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], image)
    seen = gradient[0, 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == expected
    assert seen.sum() == expected**2
    assert not seen[0].any()
    assert not seen[-1].any()


def test_the_pixel_discriminator_sees_one_pixel() -> None:
    network = PixelGAN(base_channels=2, norm="none").build(3)
    image = seeded(1, 3, 5, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(network(image)[0, 0, 2, 2], image)
    assert (gradient.abs().sum((0, 1)) > 0).nonzero().tolist() == [[2, 2]]


# --- sizes and values ------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["transposed", "resize", "resize_zeros", "antialias"])
@pytest.mark.parametrize("size", [(8, 8), (32, 20), (36, 64)])
@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1)])
def test_the_output_is_as_large_as_the_input_and_between_minus_one_and_one(
    upsampling: str, size: tuple[int, int], channels: tuple[int, int]
) -> None:
    way: dict[str, Any] = {"antialias": True} if upsampling == "antialias" else {"upsampling": upsampling}
    config = ResNetGenerator(base_channels=4, num_blocks=2, **way)
    made = config.build(*channels)(seeded(2, channels[0], *size))
    assert made.shape == (2, channels[1], *size)
    assert made.abs().max() < 1
    assert made.std() > 0


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("num_downs", [0, 1, 2, 3])
def test_the_smallest_size_and_the_multiple_are_the_ones_the_network_can_take(num_downs: int, antialias: bool) -> None:
    config = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=num_downs, antialias=antialias)
    network, size = config.build(3, 3), config.min_size
    assert network(seeded(1, 3, size, size)).shape[-2:] == (size, size)
    larger = size + config.multiple
    assert network(seeded(1, 3, larger, larger)).shape[-2:] == (larger, larger)


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
def test_the_smallest_size_of_a_discriminator_gives_a_score_in_training(num_layers: int) -> None:
    config = PatchGAN(base_channels=2, num_layers=num_layers)
    scores = config.build(3)(seeded(1, 3, config.min_size, config.min_size))
    assert scores.numel() >= 1
    assert torch.isfinite(scores).all()


def test_resize_upsampling_has_no_transposed_convolution_and_the_same_widths() -> None:
    network = ResNetGenerator(base_channels=4, num_blocks=1, upsampling="resize").build(3, 3)
    assert not modules(network, nn.ConvTranspose2d)
    ups = modules(network.ups, nn.Conv2d)
    assert [(conv.in_channels, conv.out_channels) for conv in ups] == [(16, 8), (8, 4)]
    assert [module.scale_factor for module in modules(network, nn.Upsample)] == [2.0, 2.0]


def taps(filter_: list[float], scale: float) -> Tensor:
    """A filter over both axes for one channel, its sum `scale`."""
    row = torch.tensor(filter_, dtype=torch.float64)
    return (torch.outer(row, row) / row.sum() ** 2 * scale)[None, None]


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (2, 3)])
def test_blurs_are_convolutions_with_the_filters_of_cut(size: tuple[int, int]) -> None:
    image = seeded(2, 3, *size, dtype=torch.float64)
    each = image.flatten(0, 1)[:, None]  # a blur treats channels alike
    padded = F.pad(each, (1, 1, 1, 1), mode="reflect")
    down = F.conv2d(padded, taps([1, 2, 1], 1), stride=2)
    assert BlurDown()(image).flatten(0, 1).allclose(down[:, 0], rtol=0, atol=1e-14)
    padded = F.pad(each, (1, 1, 1, 1), mode="replicate")
    up = F.conv_transpose2d(padded, taps([1, 3, 3, 1], 4), stride=2, padding=2)[..., 1:-1, 1:-1]
    assert BlurUp()(image).shape == (2, 3, 2 * size[0], 2 * size[1])
    assert BlurUp()(image).flatten(0, 1).allclose(up[:, 0], rtol=0, atol=1e-14)


def test_blurs_are_not_learnt_and_need_no_memory_of_their_own() -> None:
    network = ResNetGenerator(base_channels=4, num_blocks=1, antialias=True).build(3, 3)
    assert not list(network.buffers())
    assert not modules(network, nn.ConvTranspose2d)
    assert all(conv.stride == (1, 1) for conv in modules(network, nn.Conv2d))
    assert len(modules(network.downs, BlurDown)) == len(modules(network.ups, BlurUp)) == 2
    with torch.device("meta"):
        made = ResNetGenerator(base_channels=4, num_blocks=1, antialias=True).build(3, 3)(torch.zeros(1, 3, 16, 16))
    assert made.shape == (1, 3, 16, 16)


def test_a_resize_with_zeros_differs_from_one_by_reflection_at_the_border_alone() -> None:
    by_zeros, by_reflection = (
        nn.Sequential(*resize_convolution(2, 1, bias=False, zeros=zeros)).double() for zeros in (True, False)
    )
    by_zeros.load_state_dict(by_reflection.state_dict())
    image = seeded(1, 2, 5, 5, dtype=torch.float64)
    one, other = by_zeros(image), by_reflection(image)
    assert one[..., 1:-1, 1:-1].equal(other[..., 1:-1, 1:-1])
    assert not one[..., 0, :].equal(other[..., 0, :])


def test_two_ways_of_doubling_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator\.antialias .*remove generator\.upsampling resize"):
        ResNetGenerator(antialias=True, upsampling="resize")


def test_a_residual_block_adds_to_its_input() -> None:
    network = SMALL.build(3, 3)
    for parameter in network.blocks.parameters():
        nn.init.zeros_(parameter)
    features = seeded(1, 16, 8, 8)
    assert torch.equal(network.blocks(features), features)


def test_dropout_acts_in_training_only_and_only_where_asked_for() -> None:
    image = seeded(1, 3, 32, 32)
    dropping = ResNetGenerator(base_channels=4, num_blocks=2, dropout=True).build(3, 3)
    assert [module.p for module in modules(dropping, nn.Dropout)] == [0.5, 0.5]
    assert not torch.equal(dropping(image), dropping(image))
    dropping.eval()
    assert torch.equal(dropping(image), dropping(image))
    plain = SMALL.build(3, 3)
    assert torch.equal(plain(image), plain(image))


def test_padding_mirrors_so_that_a_flat_image_has_no_border() -> None:
    # Zero padding would show as a frame in the output of a flat image.
    network = ResNetGenerator(base_channels=4, num_blocks=2, num_downs=0, norm="none").build(3, 3).double()
    made = network(torch.full((1, 3, 16, 16), 0.7, dtype=torch.float64))
    assert (made - made[..., :1, :1]).abs().max() < 1e-12
    pads = [module.padding[0] for module in modules(SMALL.build(3, 3), nn.ReflectionPad2d)]
    assert pads == [3, 1, 1, 1, 1, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ResNetGenerator(num_blocks=0),
        lambda: ResNetGenerator(base_channels=0),
        lambda: ResNetGenerator(num_downs=6),
        lambda: PatchGAN(num_layers=0),
        lambda: PatchGAN(num_layers=7),
        lambda: PatchGAN(base_channels=0),
        lambda: PixelGAN(base_channels=0),
    ],
)
def test_impossible_networks_are_refused_by_the_name_of_the_setting(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"(generator|discriminator)\.\w+ must be"):
        wrong()  # type: ignore[operator]


# --- instance norm ---------------------------------------------------------------------------------


def test_instance_norm_gives_every_channel_of_every_image_mean_0_and_variance_1() -> None:
    x = seeded(3, 5, 16, 12) * torch.tensor([0.3, 1, 2, 5, 40]).view(5, 1, 1) + 7
    y = InstanceNorm(5)(x)
    assert y.mean((2, 3)).abs().max() <= 1e-6
    variance = x.double().var((2, 3), correction=0)
    assert (y.double().var((2, 3), correction=0) * (variance + 1e-5) / variance - 1).abs().max() <= 1e-5


def test_instance_norm_is_the_same_in_training_and_evaluation_and_has_no_state() -> None:
    norm, x = InstanceNorm(4), seeded(2, 4, 9, 9)
    trained = norm.train()(x)
    assert torch.equal(norm.eval()(x), trained)
    assert not norm.state_dict()


def test_instance_norm_of_an_image_does_not_depend_on_the_rest_of_the_batch() -> None:
    norm, x = InstanceNorm(6), seeded(2, 6, 16, 16)
    assert torch.equal(norm(x), torch.cat([norm(x[:1]), norm(x[1:])]))
    assert torch.equal(norm(x)[0], norm(torch.stack([x[0], x[1] * 100]))[0])


def test_instance_norm_equals_the_operator_of_that_name() -> None:
    x = seeded(2, 6, 16, 16, dtype=torch.float64)
    assert torch.allclose(InstanceNorm(6)(x), nn.InstanceNorm2d(6)(x), rtol=0, atol=1e-14)
    assert torch.allclose(InstanceNorm(6)(x.float()), nn.InstanceNorm2d(6)(x.float()), rtol=0, atol=2e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n", [1, 2])
def test_the_gradient_of_instance_norm_is_right_in_every_memory_layout(n: int, layout: torch.memory_format) -> None:
    x, weight = seeded(n, 8, 12, 12, dtype=torch.float64), seeded(8, 8, 3, 3, seed=1, dtype=torch.float64)

    def gradient(dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        leaf = x.to(dtype).to(memory_format=layout).requires_grad_()
        # a convolution behind the norm hands it its gradient in the order of the layout
        scores = F.conv2d(InstanceNorm(8)(leaf), weight.to(dtype).to(memory_format=layout))
        (made,) = torch.autograd.grad((scores**3).sum(), leaf)
        return made.double()

    leaf = x.clone().requires_grad_()
    by_hand = (leaf - leaf.mean((2, 3), keepdim=True)) / (leaf.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    (expected,) = torch.autograd.grad((F.conv2d(by_hand, weight) ** 3).sum(), leaf)
    scale = expected.abs().max()
    assert (gradient(torch.float64, layout) - expected).abs().max() <= 1e-12 * scale
    assert (gradient(torch.float32, layout) - expected).abs().max() <= 1e-5 * scale


def test_instance_norm_passes_gradcheck() -> None:
    assert torch.autograd.gradcheck(InstanceNorm(2), (seeded(2, 2, 4, 3, dtype=torch.float64).requires_grad_(),))


def test_a_whole_generator_gives_an_image_the_same_result_alone_and_in_a_batch() -> None:
    network, x = SMALL.build(3, 3).double(), seeded(2, 3, 32, 32, dtype=torch.float64)
    assert (network(x) - torch.cat([network(x[:1]), network(x[1:])])).abs().max() < 1e-12


def test_a_whole_generator_translates_alike_in_training_and_evaluation() -> None:
    network, x = SMALL.build(3, 3), seeded(2, 3, 32, 32)
    for number in range(3):
        network.train()(seeded(2, 3, 32, 32) * number)
    assert torch.equal(network.eval()(x), network.train()(x))
    assert not list(network.buffers())


# --- batch norm and initial weights ----------------------------------------------------------------


def test_with_batch_norm_the_normalised_convolutions_have_no_bias() -> None:
    generator = ResNetGenerator(base_channels=4, num_blocks=2, norm="batch").build(3, 3)
    convolutions = [m for m in generator.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert [conv.bias is not None for conv in convolutions] == [False] * (len(convolutions) - 1) + [True]
    assert len(modules(generator, nn.BatchNorm2d)) == len(convolutions) - 1
    discriminator = PatchGAN(base_channels=4, norm="batch").build(3)
    assert [conv.bias is not None for conv in modules(discriminator, nn.Conv2d)] == [True, False, False, False, True]
    assert len(modules(discriminator, nn.BatchNorm2d)) == 3


def test_with_instance_norm_every_convolution_has_a_bias() -> None:
    for network in (SMALL.build(3, 3), PatchGAN(base_channels=4).build(3), PixelGAN(base_channels=4).build(3)):
        convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        assert all(conv.bias is not None for conv in convolutions)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_initial_weights_are_normal_with_deviation_0_02_and_biases_nought(upsampling: str) -> None:
    config = ResNetGenerator(base_channels=16, num_blocks=2, upsampling=upsampling)  # type: ignore[arg-type]
    network = initialised(config.build(3, 3), 0, "AtoB")
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            n = module.weight.numel()
            assert abs(module.weight.mean()) < 4 * 0.02 / n**0.5
            assert abs(module.weight.std() / 0.02 - 1) < 4 / (2 * n) ** 0.5
            assert not module.bias.any()
    weights = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")]) / 0.02
    assert (weights**4).mean().item() == pytest.approx(3, abs=0.15)  # a uniform distribution would have 1.8


def test_initial_batch_norm_weights_are_normal_around_one() -> None:
    norm = nn.BatchNorm2d(20_000)
    initialise(norm)
    assert norm.weight.mean().item() == pytest.approx(1, abs=4 * 0.02 / 20_000**0.5)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=4 / 40_000**0.5)
    assert not norm.bias.any()


def test_initial_weights_depend_on_the_seed_and_the_name_and_nothing_else() -> None:
    def first(seed: int, name: str) -> Tensor:
        torch.randn(3)  # moves torch's global generator
        return initialised(SMALL.build(3, 3), seed, name).stem[1].weight  # type: ignore[index, union-attr, return-value]

    assert torch.equal(first(0, "AtoB"), first(0, "AtoB"))
    assert not torch.equal(first(0, "AtoB"), first(0, "BtoA"))
    assert not torch.equal(first(0, "AtoB"), first(1, "AtoB"))
