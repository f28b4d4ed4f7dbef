"""Discriminators of every patch size up to the whole image, and several of them averaged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unpaired.config import from_dict, to_dict
from unpaired.errors import ConfigError
from unpaired.networks import DCGANDiscriminator, DiscriminatorConfig, ImageGAN, PatchGAN, PixelGAN
from unpaired.networks.patchgan import SeveralModule, receptive_field
from unpaired.objectives.base import initialised
from unpaired.objectives.losses import discriminator_adversarial, generator_adversarial


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def positive(network: nn.Module) -> nn.Module:
    """Return the network in double precision with positive weights, so that no path cancels another."""
    for parameter in network.double().parameters():
        parameter.data = parameter.data.abs() + 0.1
    return network


# --- ImageGAN --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_layers", "expected"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (6, 574)])
def test_the_receptive_field_is_the_published_one(num_layers: int, expected: int) -> None:
    assert receptive_field(num_layers) == expected
    # From kernels and strides, backwards from one score.
    with torch.device("meta"):
        network = PatchGAN(num_layers=num_layers, base_channels=1).build(1)
    side = 1
    for conv in reversed([module for module in network.modules() if isinstance(module, nn.Conv2d)]):
        side = (side - 1) * conv.stride[0] + conv.kernel_size[0]
    assert side == expected


@pytest.mark.parametrize(
    ("size", "num_layers"), [(8, 1), (16, 1), (17, 2), (64, 3), (70, 3), (128, 4), (256, 5), (286, 5), (512, 6)]
)
def test_an_image_discriminator_has_the_fewest_layers_that_cover_the_image(size: int, num_layers: int) -> None:
    config = ImageGAN(size=size)
    assert config.num_layers == num_layers
    assert config.min_size <= size


def test_the_image_discriminator_for_256_is_the_published_286_one() -> None:
    with torch.device("meta"):
        network = ImageGAN().build(3)
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        assert [conv.out_channels for conv in convolutions] == [64, 128, 256, 512, 512, 512, 1]
        assert network.layers(torch.empty(2, 3, 256, 256)).shape == (2, 1, 6, 6)
        assert network(torch.empty(2, 3, 256, 256)).shape == (2, 1, 1, 1)
        assert list(network.state_dict()) == list(PatchGAN(num_layers=5).build(3).state_dict())


@pytest.mark.parametrize("size", [16, 64, 128])
def test_the_one_score_of_an_image_sees_all_of_it(size: int) -> None:
    network = positive(ImageGAN(size=size, base_channels=1, norm="none").build(1))
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    score = network(image)
    assert score.shape == (1, 1, 1, 1)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    assert (gradient != 0).all()


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_the_smallest_size_gives_one_finite_score_in_training(size: int, norm: str) -> None:
    config = ImageGAN(size=size, base_channels=2, norm=norm)  # type: ignore[arg-type]
    score = config.build(3)(seeded(1, 3, config.min_size, config.min_size))
    assert score.shape == (1, 1, 1, 1)
    assert torch.isfinite(score).all()


# --- several discriminators ------------------------------------------------------------------------


def test_one_discriminator_has_the_keys_it_always_had() -> None:
    network = PatchGAN(num_layers=1, base_channels=2).build(3)
    keys = [f"layers.{layer}.{name}" for layer in (0, 2, 5) for name in ("weight", "bias")]
    assert list(network.state_dict()) == keys
    assert network(seeded(2, 3, 16, 16)).shape == (2, 1, 6, 6)


def test_several_discriminators_are_independent_networks_with_a_channel_of_scores_each() -> None:
    several = initialised(PatchGAN(num_layers=2, base_channels=4, num_discriminators=3).build(3), 0, "discriminator A")
    assert isinstance(several, SeveralModule)
    image = seeded(2, 3, 24, 32)
    scores = several(image)
    assert scores.shape == (2, 3, 4, 6)
    for number, network in enumerate(several.networks):
        assert torch.equal(scores[:, number : number + 1], network(image))
    assert not torch.equal(scores[:, 0], scores[:, 1])
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), several.networks[0].layers[0].weight, allow_unused=True)
    assert gradient is None or not gradient.any()
    assert [key.split(".")[1] for key in several.state_dict()] == sorted("012" * 8)


@pytest.mark.parametrize("kind", ["lsgan", "cross_entropy", "hinge", "wgan_gp"])
def test_the_loss_of_several_discriminators_is_the_average_of_their_losses(kind: str) -> None:
    several = PatchGAN(num_layers=1, base_channels=4, num_discriminators=3).build(3).double()
    assert isinstance(several, SeveralModule)
    real, fake = seeded(2, 3, 24, 32, dtype=torch.float64), seeded(2, 3, 24, 32, seed=1, dtype=torch.float64)
    for number, network in enumerate(several.networks):  # far enough apart for the average to show
        nn.init.constant_(network.layers[-1].bias, number - 0.7)
    made = generator_adversarial(kind, several(fake))
    each = [generator_adversarial(kind, network(fake)) for network in several.networks]
    assert made.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-12)
    made = discriminator_adversarial(kind, several(real), several(fake))
    each = [discriminator_adversarial(kind, network(real), network(fake)) for network in several.networks]
    assert made.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-12)


# --- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        PatchGAN(num_layers=5, num_discriminators=2),
        PixelGAN(base_channels=3, norm="batch"),
        ImageGAN(size=100, base_channels=3, norm="none"),
        DCGANDiscriminator(size=32),
    ],
)
def test_settings_survive_plain_values_as_a_member_of_the_union(config: DiscriminatorConfig) -> None:
    assert from_dict(DiscriminatorConfig, to_dict(config)) == config


def test_settings_written_before_there_could_be_several_still_read() -> None:
    old = {"kind": "patchgan", "base_channels": 32, "num_layers": 2, "norm": "instance"}
    assert from_dict(DiscriminatorConfig, old) == PatchGAN(base_channels=32, num_layers=2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PatchGAN(num_discriminators=0),
        lambda: ImageGAN(size=7),
        lambda: ImageGAN(size=1151),
        lambda: ImageGAN(base_channels=0),
    ],
)
def test_impossible_networks_are_refused_by_the_name_of_the_setting(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"discriminator\.\w+ must be"):
        wrong()  # type: ignore[operator]
