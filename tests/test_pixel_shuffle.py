"""The thin generator: it starts as the identity, keeps the range, and its trunk sees unshuffled pixels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import from_dict, override, to_dict
from unpaired.errors import ConfigError
from unpaired.networks import PixelShuffleGenerator, UNetGenerator
from unpaired.networks.pixel_shuffle import PixelShuffleModule, moved
from unpaired.objectives.base import initialised
from unpaired.recipes import photo

SMALL = PixelShuffleGenerator(base_channels=8, num_blocks=2, factor=4, head_channels=4)


def images(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def built(config: PixelShuffleGenerator = SMALL, channels: int = 3) -> PixelShuffleModule:
    network = initialised(config.build(channels, channels), 0, "AtoB")
    assert isinstance(network, PixelShuffleModule)
    return network


def trained(config: PixelShuffleGenerator = SMALL) -> PixelShuffleModule:
    """A network whose head is no longer 0."""
    network = built(config)
    nn.init.normal_(network.head.weight, 0, 0.2, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [1, 4])
def test_an_untrained_network_returns_its_input_bit_for_bit(factor: int, channels: int) -> None:
    x = images(2, channels, 24, 32)
    x[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    network = built(PixelShuffleGenerator(base_channels=8, num_blocks=1, factor=factor, head_channels=4), channels)
    assert torch.equal(network(x), x)


def test_values_move_towards_an_end_of_the_range_and_never_beyond() -> None:
    x, drawn = images(1, 3, 8, 8), 5 * images(1, 3, 8, 8, seed=1)
    made, t = moved(x, drawn), torch.tanh(drawn)
    expected = torch.where(t >= 0, x + t * (1 - x), x + t * (1 + x))
    assert made.allclose(expected, rtol=0, atol=1e-6)
    assert made.abs().max() <= 1
    assert ((made - x).sign() == t.sign()).all()
    assert moved(x, torch.full_like(x, 50)).eq(1).all()
    assert moved(x, torch.full_like(x, -50)).eq(-1).all()


def test_the_first_gradient_reaches_the_head_although_its_weights_are_0() -> None:
    network = built()
    network(images(1, 3, 16, 16)).mean().backward()
    assert network.head.weight.grad is not None
    assert network.head.weight.grad.abs().sum() > 0


def test_gradients_are_exact() -> None:
    network = trained(PixelShuffleGenerator(base_channels=4, num_blocks=1, factor=2, head_channels=2)).double()
    x = images(1, 3, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(network, (x,), fast_mode=True)


def test_the_stem_sees_the_pixels_of_a_block_as_channels() -> None:
    network, x = built(), images(1, 3, 16, 16)
    seen: list[Tensor] = []
    network.stem.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(x)
    assert torch.equal(seen[0], F.pixel_unshuffle(x, 4))
    assert seen[0].shape == (1, 48, 4, 4)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    network, x = trained(), images(3, 3, 16, 24)
    assert network(x)[1:2].allclose(network(x[1:2]), rtol=0, atol=1e-5)
    assert not network(x).equal(x)


def test_features_are_the_encoders() -> None:
    network, x = built(), images(2, 3, 16, 16)
    found = network.features(x)
    assert [tuple(one.shape) for one in found] == [(2, 48, 4, 4), (2, 8, 4, 4), (2, 8, 4, 4), (2, 8, 4, 4)]
    assert found[1].equal(network.stem(found[0]))


def test_channels_must_agree() -> None:
    with pytest.raises(ConfigError, match=r"equal channels in both domains, not 3 and 1; use generator\.kind resnet"):
        SMALL.build(3, 1)
    assert override(photo(), {"data.channels_a": 1, "data.channels_b": 1}).data.channels_b == 1
    with pytest.raises(ConfigError, match="not 1 and 3"):  # before images are read, and in a dry run
        override(photo(), {"data.channels_a": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 3}, "generator.factor must be 1, 2, 4 or 8, not 3"),
        ({"base_channels": 0}, "generator.base_channels must be 1 to 1024, not 0"),
        ({"head_channels": 2000}, "generator.head_channels must be 1 to 1024, not 2000"),
        ({"num_blocks": 65}, "generator.num_blocks must be 1 to 64, not 65"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PixelShuffleGenerator(**settings)


def test_settings_survive_the_configuration_file() -> None:
    assert from_dict(PixelShuffleGenerator, to_dict(SMALL)) == SMALL
    assert SMALL.multiple == 4
    assert SMALL.min_size == 8
    assert UNetGenerator().kind != SMALL.kind
