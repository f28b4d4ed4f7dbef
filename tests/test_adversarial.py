"""WGAN-GP and one-sided label smoothing equal their formulas, and every pair of networks can play the game."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.config import override, read_yaml, to_yaml
from unpaired.errors import ConfigError
from unpaired.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    DiscriminatorConfig,
    GeneratorConfig,
    ImageGAN,
    PatchGAN,
    PixelGAN,
    ResNetGenerator,
    UNetGenerator,
)
from unpaired.objectives.base import initialised
from unpaired.objectives.losses import (
    LOSSES,
    discriminator_adversarial,
    generator_adversarial,
    gradient_penalty,
)
from unpaired.recipes import Config

TRANSLATORS: list[GeneratorConfig] = [
    ResNetGenerator(base_channels=4, num_blocks=1, dropout=True),
    ResNetGenerator(base_channels=4, num_blocks=2, num_downs=3, norm="batch", upsampling="resize"),
    ResNetGenerator(base_channels=4, num_blocks=1, antialias=True),
    UNetGenerator(num_downs=5, base_channels=4, dropout=True),
    UNetGenerator(num_downs=2, base_channels=4, norm="instance", upsampling="resize"),
]
JUDGES: list[DiscriminatorConfig] = [
    PatchGAN(num_layers=1, base_channels=4),
    PatchGAN(num_layers=2, base_channels=4, norm="batch", num_discriminators=2),
    PixelGAN(base_channels=4),
    ImageGAN(size=32, base_channels=4, norm="none"),
    DCGANDiscriminator(size=32, base_channels=4),
]


def name(config: object) -> str:
    return f"{config.kind}-{config.norm}"  # type: ignore[attr-defined]


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, shape)


# --- the terms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 6, 5), (2, 3, 4, 4)])
def test_wgan_compares_mean_scores_and_is_not_halved(shape: tuple[int, ...]) -> None:
    real, fake = numbers(shape, 1), numbers(shape, 2)
    made = discriminator_adversarial("wgan_gp", torch.from_numpy(real), torch.from_numpy(fake))
    assert made.item() == pytest.approx(fake.mean() - real.mean(), rel=1e-12)
    assert generator_adversarial("wgan_gp", torch.from_numpy(fake)).item() == pytest.approx(-fake.mean(), rel=1e-12)


@pytest.mark.parametrize("label", [0.9, 0.7, 1.0])
def test_smoothed_labels_are_those_of_real_images_only(label: float) -> None:
    real, fake = numbers((2, 1, 5, 4), 3), numbers((2, 1, 5, 4), 4)

    def made(kind: str) -> float:
        return discriminator_adversarial(kind, torch.from_numpy(real), torch.from_numpy(fake), real_label=label).item()

    assert made("lsgan") == pytest.approx((((real - label) ** 2).mean() + (fake**2).mean()) / 2, rel=1e-12)
    taken_for_real, taken_for_fake = -np.log1p(np.exp(-real)), -np.log1p(np.exp(real))  # log D, log (1 - D)
    on_real = -(label * taken_for_real + (1 - label) * taken_for_fake).mean()
    assert made("cross_entropy") == pytest.approx((on_real + np.log1p(np.exp(fake)).mean()) / 2, rel=1e-12)


def test_without_smoothing_nothing_changes() -> None:
    real, fake = seeded(2, 1, 4, 4), seeded(2, 1, 4, 4, seed=1)
    for kind in LOSSES.kinds():
        plain = discriminator_adversarial(kind, real, fake)
        assert torch.equal(plain, discriminator_adversarial(kind, real, fake, real_label=1.0))


@pytest.mark.parametrize("kind", ["hinge", "wgan_gp"])
def test_smoothing_labels_where_there_are_none_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind} has no labels"):
        discriminator_adversarial(kind, torch.zeros(1), torch.zeros(1), real_label=0.9)


@pytest.mark.parametrize("label", [0.0, -1.0, 1.1, float("nan")])
def test_a_label_outside_its_range_is_refused(label: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        discriminator_adversarial("lsgan", torch.zeros(1), torch.zeros(1), real_label=label)


# --- the gradient penalty --------------------------------------------------------------------------


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope() -> None:
    weight = seeded(3, 8, 6, seed=5) / 5
    real, fake, alpha = seeded(4, 3, 8, 6), seeded(4, 3, 8, 6, seed=1), seeded(4, 1, 1, 1, seed=2).sigmoid()
    made = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3))[:, None] + 7, real, fake, alpha)
    assert made.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-12)


def test_the_penalty_is_taken_between_the_images_at_alpha_of_the_real_one() -> None:
    # D(x) = |x|^2 / 2 has the gradient x, so the slope is the length of the mixed image itself.
    real, fake = numbers((3, 2, 4, 5), 6), numbers((3, 2, 4, 5), 7)
    alpha = np.array([0.0, 0.3, 1.0]).reshape(3, 1, 1, 1)
    mixed = alpha * real + (1 - alpha) * fake
    lengths = np.sqrt((mixed**2).sum((1, 2, 3)))
    made = gradient_penalty(
        lambda x: (x**2).sum((1, 2, 3), keepdim=True) / 2, *map(torch.from_numpy, (real, fake, alpha))
    )
    assert made.item() == pytest.approx(((lengths - 1) ** 2).mean(), rel=1e-12)


def test_a_patch_critic_is_held_by_its_mean_score_and_each_of_several_by_itself() -> None:
    weight = seeded(2, 3, 2, 2, seed=5)  # two critics with patches of 2 x 2, without overlap: 4 x 3 patches
    real, fake, alpha = seeded(2, 3, 8, 6), seeded(2, 3, 8, 6, seed=1), torch.full((2, 1, 1, 1), 0.5).double()
    made = gradient_penalty(lambda x: F.conv2d(x, weight, stride=2), real, fake, alpha)
    slopes = weight.flatten(1).norm(dim=1) / 12**0.5  # 12 patches, each with the gradient weight / 12
    assert made.item() == pytest.approx((slopes - 1).square().mean().item(), rel=1e-12)


@pytest.mark.parametrize(
    "config",
    [
        PatchGAN(num_layers=1, base_channels=2),
        PatchGAN(num_layers=1, base_channels=2, norm="none", num_discriminators=2),
        ImageGAN(size=16, base_channels=2),
        DCGANDiscriminator(size=32, base_channels=1, norm="instance"),
    ],
    ids=name,
)
def test_the_penalty_and_its_gradients_are_those_of_finite_differences(config: DiscriminatorConfig) -> None:
    critic = initialised(config.build(1), 0, "discriminator A").double()
    for parameter in critic.parameters():
        parameter.data *= 10
    size = config.min_size
    real, fake, alpha = seeded(2, 1, size, size), seeded(2, 1, size, size, seed=1), seeded(2, 1, 1, 1, seed=2).sigmoid()
    mixed = alpha * real + (1 - alpha) * fake

    def slope(image: Tensor, direction: Tensor, channel: int) -> Tensor:
        with torch.no_grad():
            up, down = critic(image + 1e-6 * direction), critic(image - 1e-6 * direction)
        return (up - down)[0, channel].mean() / 2e-6

    # The slope along the gradient is its length; along any other direction it is less.
    expected = []
    for channel in range(critic(mixed).shape[1]):
        for n in range(2):
            image = mixed[n : n + 1].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(critic(image)[:, channel].mean(), image)
            expected.append((slope(image, gradient / gradient.norm(), channel) - 1) ** 2)
    penalty = gradient_penalty(critic, real, fake, alpha)
    assert penalty.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)

    # Its gradient in the weights, along one direction in all of them.
    weights = [parameter for parameter in critic.parameters() if parameter.ndim > 1]
    gradients = torch.autograd.grad(penalty, weights, allow_unused=True)
    directions = [seeded(*weight.shape, seed=3) for weight in weights]
    made = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)

    def moved(step: float) -> Tensor:
        for weight, direction in zip(weights, directions, strict=True):
            weight.data += step * direction
        return gradient_penalty(critic, real, fake, alpha).detach()

    difference = (moved(1e-6) - moved(-2e-6)) / 2e-6
    assert float(made) == pytest.approx(difference.item(), rel=1e-3)


def test_a_flat_critic_has_the_whole_penalty_and_finite_gradients() -> None:
    critic = nn.Conv2d(1, 1, 4).double()
    nn.init.zeros_(critic.weight)
    real, fake = seeded(2, 1, 4, 4), seeded(2, 1, 4, 4, seed=1)
    penalty = gradient_penalty(critic, real, fake, seeded(2, 1, 1, 1, seed=2).sigmoid())
    assert penalty.item() == 1
    penalty.backward()
    assert critic.weight.grad is not None
    assert torch.isfinite(critic.weight.grad).all()


def test_the_penalty_reaches_the_critic_and_not_the_generator() -> None:
    critic, made = PatchGAN(num_layers=1, base_channels=2).build(1).double(), seeded(1, 1, 8, 8).requires_grad_()
    gradient_penalty(critic, seeded(1, 1, 8, 8), made * 2, seeded(1, 1, 1, 1, seed=2).sigmoid()).backward()
    assert made.grad is None
    assert all(p.grad is not None and p.grad.any() for n, p in critic.named_parameters() if n == "layers.0.weight")


# --- every pair of networks ------------------------------------------------------------------------


def step(generator: nn.Module, judge: nn.Module, kind: str, source: Tensor, real: Tensor) -> tuple[float, float]:
    """Update both players once and return their losses."""
    fake = generator(source)
    assert fake.shape == real.shape
    judging = discriminator_adversarial(kind, judge(real), judge(fake.detach()))
    if kind == "wgan_gp":
        judging = judging + 10 * gradient_penalty(judge, real, fake, torch.full((len(real), 1, 1, 1), 0.5))
    fooling = generator_adversarial(kind, judge(fake))
    for network, loss in ((judge, judging), (generator, fooling)):
        weights = list(network.parameters())
        gradients = torch.autograd.grad(loss, weights, retain_graph=network is judge, allow_unused=True)
        assert all(g is None or torch.isfinite(g).all() for g in gradients)
        assert any(g is not None and g.any() for g in gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight.data -= 1e-4 * gradient
    return judging.item(), fooling.item()


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (4, 4), (13, 13), (1, 3), (13, 4)], ids=str)
@pytest.mark.parametrize("config", TRANSLATORS, ids=name)
def test_every_translator_takes_a_step_on_any_channels(config: GeneratorConfig, channels: tuple[int, int]) -> None:
    a, b = channels
    generator = initialised(config.build(a, b), 0, "AtoB")
    judge = initialised(JUDGES[0].build(b), 0, "discriminator B")
    losses = step(generator, judge, "lsgan", seeded(1, a, 32, 32).float(), seeded(1, b, 32, 32).float())
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("kind", LOSSES.kinds())
@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("config", JUDGES, ids=name)
def test_every_discriminator_takes_a_step_with_every_loss(
    config: DiscriminatorConfig, channels: int, kind: str
) -> None:
    noise = DCGANGenerator(size=32, base_channels=4)
    generator = initialised(noise.build(5, channels), 0, "AtoB")
    judge = initialised(config.build(channels), 0, "discriminator B")
    losses = step(generator, judge, kind, seeded(2, 5, 1, 1).float(), seeded(2, channels, 32, 32).float())
    assert np.isfinite(losses).all()


# --- as settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*TRANSLATORS, DCGANGenerator(size=256)], ids=name)
@pytest.mark.parametrize("judge", JUDGES, ids=name)
def test_every_pair_survives_a_configuration_file(
    config: GeneratorConfig, judge: DiscriminatorConfig, tmp_path: object
) -> None:
    whole = replace(Config(), generator=config, discriminator=judge)
    path = tmp_path / "config.yaml"  # type: ignore[operator]
    path.write_text(to_yaml(whole))
    assert read_yaml(Config, path) == whole


def test_a_kind_on_the_command_line_makes_the_part_another_one() -> None:
    made = override(Config(), {"generator.kind": "unet", "generator.num-downs": "7", "discriminator.kind": "imagegan"})
    assert (made.generator, made.discriminator) == (UNetGenerator(num_downs=7), ImageGAN())
    with pytest.raises(ConfigError, match="choose from: resnet, unet, attention, pixel_shuffle, dcgan, coupled"):
        override(Config(), {"generator.kind": "perceptron"})


def test_a_file_that_names_no_kind_keeps_that_of_the_recipe(tmp_path: object) -> None:
    path = tmp_path / "mine.yaml"  # type: ignore[operator]
    path.write_text("generator:\n  num_blocks: 6\n")
    assert read_yaml(Config, path, Config()).generator == ResNetGenerator(num_blocks=6)
