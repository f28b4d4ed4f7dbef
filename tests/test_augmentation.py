"""Differentiable augmentation follows its paper, has a gradient, and draws for each image of a whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unpaired import ranks
from unpaired.data.datasets import Batch
from unpaired.errors import ConfigError
from unpaired.launch import Launch
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN, augmentation
from unpaired.objectives.augmentation import CHANGES, augmented
from unpaired.objectives.cyclegan import CycleGANObjective

ALL = tuple(CHANGES)


def images(count: int = 4, height: int = 16, width: int = 24, channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, height, width, generator=draw, dtype=torch.float64) * 2 - 1


def drawn(monkeypatch: pytest.MonkeyPatch, *numbers: float) -> None:
    """Let the next draws be these, the same for all images."""
    left = list(numbers)
    monkeypatch.setattr(
        augmentation, "_uniform", lambda given: torch.full((len(given), 1, 1, 1), left.pop(0), dtype=torch.float64)
    )


def test_nothing_is_changed_where_nothing_is_named() -> None:
    given = images()
    assert augmented(given, ()) is given


def test_colour_is_brightness_then_saturation_then_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, 0.9, 0.75, 0.2)
    given = images(1)
    x = given + 0.4
    grey = (x[:, :1] + x[:, 1:2] + x[:, 2:]) / 3
    x = grey + 1.5 * (x - grey)
    expected = x.mean() + 0.7 * (x - x.mean())
    torch.testing.assert_close(CHANGES["colour"](given), expected)


def test_draws_in_the_middle_leave_colours_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, 0.5, 0.5, 0.5)
    torch.testing.assert_close(CHANGES["colour"](images()), images())


@pytest.mark.parametrize(("draw", "rows", "columns"), [(0.0, 2, 3), (0.9999, -2, -3)])
def test_translation_shifts_up_to_an_eighth_and_fills_with_0(
    monkeypatch: pytest.MonkeyPatch, draw: float, rows: int, columns: int
) -> None:
    drawn(monkeypatch, draw, draw)
    given = images()
    expected = torch.zeros_like(given)
    for row in range(16):
        for column in range(24):
            if 0 <= row - rows < 16 and 0 <= column - columns < 24:
                expected[:, :, row, column] = given[:, :, row - rows, column - columns]
    assert torch.equal(CHANGES["translation"](given), expected)


def test_every_shift_is_as_likely() -> None:
    torch.manual_seed(0)
    given = torch.zeros(6000, 1, 16, 16)
    given[:, :, 8, 8] = 1
    found = CHANGES["translation"](given).mean(0)[0]
    inside = found[6:11, 6:11]
    assert inside.sum() == pytest.approx(1)
    assert (inside - 1 / 25).abs().max() < 5 * (1 / 25 / 6000) ** 0.5


def test_cutout_sets_a_square_of_half_the_sides_to_0(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, 0.5, 0.5)
    given = images()
    gone = CHANGES["cutout"](given) == 0
    assert gone.sum() == gone[:, :, 5:12, 7:18].sum() == 4 * 3 * 7 * 11


def test_with_a_probability_so_many_images_are_changed() -> None:
    torch.manual_seed(0)
    given = torch.ones(4000, 1, 1, 1)
    changed = augmented(given, ("colour",), 0.25) != given
    assert abs(changed.float().mean() - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.augmentation_probability"):
        CycleGAN(augmentation=("colour",), augmentation_probability=probability)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_flows_through(name: str) -> None:
    given = images(2, 8, 8).requires_grad_()

    def change(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return CHANGES[name](x)

    assert torch.autograd.gradcheck(change, given)


@pytest.mark.parametrize("name", ALL)
def test_each_image_has_a_draw_of_its_own_whatever_the_number_of_processes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = images(1).expand(4, -1, -1, -1)
    torch.manual_seed(5)
    alone = CHANGES[name](same)
    assert all(not torch.equal(alone[0], other) for other in alone[1:])
    parts = []
    for rank in range(2):
        monkeypatch.setattr(ranks, "_joined", Launch(rank=rank, world_size=2))
        torch.manual_seed(5)
        parts.append(CHANGES[name](same[:2]))
    assert torch.equal(torch.cat(parts), alone)


@pytest.mark.parametrize("name", ALL)
def test_any_number_of_channels_and_the_type_of_low_precision(name: str) -> None:
    assert CHANGES[name](images(2, channels=5)).shape == (2, 5, 16, 24)
    assert CHANGES[name](images(2).bfloat16()).isfinite().all()


# --- in training -----------------------------------------------------------------------------------


def built(**settings: Any) -> CycleGANObjective:
    generator, judge = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)
    return CycleGAN(**settings).build(generator, judge, 3, 3, 0).double()


def test_discriminators_see_nothing_unaugmented_and_translators_nothing_augmented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CHANGES, "colour", lambda given: given * 0 + 7)
    objective = built(augmentation=("colour",))
    judged, translated = [], []
    for network in objective.discriminators.values():
        network.register_forward_pre_hook(lambda module, given: judged.append(given[0].detach()))
    for network in objective.translators.values():
        network.register_forward_pre_hook(lambda module, given: translated.append(given[0].detach()))
    batch = Batch(a=images(1), b=images(1).flip(2))
    made = objective.generate(batch)
    objective.generator_losses(batch, made)
    objective.discriminator_losses(batch, made)
    assert len(judged) == 6
    assert all((image == 7).all() for image in judged)
    assert all(image.abs().max() <= 1 for image in translated)


def test_the_pool_holds_images_as_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = built(augmentation=ALL)
    batch = Batch(a=images(1), b=images(1).flip(2))
    made = objective.generate(batch)
    objective.discriminator_losses(batch, made)
    assert torch.equal(objective.pools["B"].images[0], made.fake_b[0])


def test_an_unknown_change_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"objective.augmentation .*colour, translation, cutout.*'color'"):
        CycleGAN(augmentation=("color",))
