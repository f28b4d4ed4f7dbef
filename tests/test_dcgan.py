"""The DCGAN networks make images from noise and judge them with one score, with a class beside either if wanted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unpaired.config import from_dict, to_dict
from unpaired.errors import ConfigError
from unpaired.networks import DCGANDiscriminator, DCGANGenerator, DiscriminatorConfig, GeneratorConfig

SIZES = [32, 64, 128, 256]


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def modules(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_networks_have_the_published_layers() -> None:
    with torch.device("meta"):
        generator, discriminator = DCGANGenerator().build(100, 3), DCGANDiscriminator().build(3)
    ups = modules(generator, nn.ConvTranspose2d)
    assert [tuple(conv.weight.shape) for conv in ups] == [
        (100, 512, 4, 4),
        (512, 256, 4, 4),
        (256, 128, 4, 4),
        (128, 64, 4, 4),
        (64, 3, 4, 4),
    ]
    assert [(conv.stride[0], conv.padding[0]) for conv in ups] == [(1, 0), *[(2, 1)] * 4]
    downs = modules(discriminator, nn.Conv2d)
    assert [tuple(conv.weight.shape) for conv in downs] == [
        (64, 3, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512, 4, 4),
    ]
    assert [(conv.stride[0], conv.padding[0]) for conv in downs] == [*[(2, 1)] * 4, (1, 0)]
    # The well-known counts of these shapes, and the biases of the layers without norm.
    assert num_parameters(generator) == 3_576_704 + 3
    assert num_parameters(discriminator) == 2_765_568 + 64 + 1


def test_norms_are_everywhere_but_at_the_image_and_the_score() -> None:
    generator, discriminator = DCGANGenerator(base_channels=2).build(8, 3), DCGANDiscriminator(base_channels=2).build(3)
    for network in (generator, discriminator):
        kinds = [type(layer) for layer in network.layers]
        convolutions = modules(network, nn.Conv2d, nn.ConvTranspose2d)
        has_norm = [
            any(issubclass(norm, nn.BatchNorm2d) for norm in kinds[i + 1 : i + 2])
            for i, k in enumerate(kinds)
            if k.__name__.startswith("Conv")
        ]
        assert [conv.bias is None for conv in convolutions] == has_norm
        assert has_norm == ([True] * 4 + [False] if network is generator else [False, *[True] * 3, False])
    assert len(modules(generator, nn.ReLU)) == 4
    assert [module.negative_slope for module in modules(discriminator, nn.LeakyReLU)] == [0.2] * 4
    assert isinstance(generator.layers[-1], nn.Tanh)
    assert not modules(discriminator, nn.Sigmoid)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_noise_becomes_an_image_and_an_image_one_score(size: int, norm: str) -> None:
    generator = DCGANGenerator(size=size, base_channels=2, norm=norm).build(9, 3)  # type: ignore[arg-type]
    discriminator = DCGANDiscriminator(size=size, base_channels=2, norm=norm).build(3)  # type: ignore[arg-type]
    images = generator(seeded(2, 9, 1, 1))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() < 1
    assert images.std() > 0
    scores = discriminator(images)
    assert scores.shape == (2, 1, 1, 1)
    scores.sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("size", SIZES)
def test_the_one_score_sees_the_whole_image(size: int) -> None:
    network = DCGANDiscriminator(size=size, base_channels=1, norm="none").build(1).double()
    for parameter in network.parameters():  # positive everywhere, so that no path cancels another
        parameter.data = parameter.data.abs() + 0.1
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image).sum(), image)
    assert (gradient != 0).all()


@pytest.mark.parametrize(("size", "widths"), [(32, [4, 2, 1]), (128, [8, 8, 4, 2, 1]), (256, [8, 8, 8, 4, 2, 1])])
def test_widths_double_towards_the_noise_up_to_eight_times(size: int, widths: list[int]) -> None:
    generator = DCGANGenerator(size=size, base_channels=3).build(5, 3)
    assert [conv.out_channels for conv in modules(generator, nn.ConvTranspose2d)] == [*(3 * w for w in widths), 3]
    discriminator = DCGANDiscriminator(size=size, base_channels=3).build(3)
    assert [conv.out_channels for conv in modules(discriminator, nn.Conv2d)] == [*(3 * w for w in widths[::-1]), 1]


def test_a_class_beside_the_noise_and_beside_the_image_counts() -> None:
    planes = torch.eye(4)[:, :, None, None]
    generator = DCGANGenerator(size=32, base_channels=4).build(6 + 4, 3).eval()
    images = generator(torch.cat([seeded(1, 6, 1, 1).expand(4, -1, -1, -1), planes], 1))
    assert (images[0] - images[1]).abs().max() > 0
    discriminator = DCGANDiscriminator(size=32, base_channels=4).build(3 + 4).eval()
    judged = torch.cat([images[:1].expand(4, -1, -1, -1), planes.expand(-1, -1, 32, 32)], 1)
    scores = discriminator(judged)
    assert scores.shape == (4, 1, 1, 1)
    assert len(scores.flatten().unique()) == 4


@pytest.mark.parametrize(
    ("union", "config"),
    [
        (GeneratorConfig, DCGANGenerator(size=128, base_channels=5, norm="instance")),
        (DiscriminatorConfig, DCGANDiscriminator(size=32, base_channels=5, norm="none")),
    ],
)
def test_settings_survive_plain_values_as_a_member_of_their_union(union: object, config: object) -> None:
    plain = to_dict(config)
    assert plain["kind"] == "dcgan"
    assert from_dict(union, plain) == config


def test_noise_is_one_pixel_and_images_are_of_the_size() -> None:
    assert (DCGANGenerator().multiple, DCGANGenerator().min_size) == (1, 1)
    assert [DCGANDiscriminator(size=size).min_size for size in SIZES] == SIZES


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DCGANGenerator(size=48),
        lambda: DCGANGenerator(size=16),
        lambda: DCGANGenerator(base_channels=0),
        lambda: DCGANDiscriminator(size=512),
        lambda: DCGANDiscriminator(base_channels=0),
    ],
)
def test_impossible_networks_are_refused_by_the_name_of_the_setting(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"(generator|discriminator)\.\w+ must be"):
        wrong()  # type: ignore[operator]
