"""The name that is meant."""

from __future__ import annotations

import pytest
import torch

from unpaired.config import flatten
from unpaired.devices import resolve_device
from unpaired.errors import DeviceError
from unpaired.recipes import RECIPES
from unpaired.suggestions import OTHER_NAMES, nearest, unknown

SETTINGS = list(flatten(RECIPES["paper"]()))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("lr", "optimizer.learning_rate"),
        ("crop_size", "data.crop_size"),
        ("run.crop-size", "data.crop_size"),
        ("generator.ngf", "generator.base_channels"),
        ("discriminator.ndf", "discriminator.base_channels"),
        ("data.bacth_size", "data.batch_size"),
        ("objective.lambda_A", "objective.cycle_weight_a"),
        ("frobnicate", ""),
    ],
)
def test_the_setting_that_is_meant(typed: str, meant: str) -> None:
    assert nearest(typed, SETTINGS) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("CycleGAN", "cyclegan"), ("pix2pix_l1", "pix2pix-l1"), ("cycle_gan", "cyclegan"), ("Fast-CUT", "fastcut")],
)
def test_the_recipe_that_is_meant(typed: str, meant: str) -> None:
    assert nearest(typed, list(RECIPES)) == meant


def test_a_value_is_compared_without_its_setting() -> None:
    kinds = ["resnet", "unet", "attention"]
    assert unknown("'resnet_9blocks' for generator.kind", kinds, "choice").endswith("; did you mean resnet?")
    assert unknown("'vanilla' for objective.adversarial", ["lsgan", "cross_entropy"], "choice").endswith(
        "cross_entropy?"
    )
    assert unknown("'x' for generator.kind", kinds, "choice").endswith("; choose from: resnet, unet, attention.")


def test_every_other_name_leads_to_a_setting_or_a_choice() -> None:
    every = {path.rpartition(".")[2] for recipe in RECIPES.values() for path in flatten(recipe())}
    assert set(OTHER_NAMES.values()) <= every | {
        *("cross_entropy", "lsgan", "patchgan", "generator", "discriminator", "official", "torch-export")
    }


@pytest.mark.parametrize(("typed", "meant"), [("gpu", "cuda"), ("0", "cuda:0"), ("tpu", "choose auto")])
def test_the_device_that_is_meant(typed: str, meant: str) -> None:
    with pytest.raises(DeviceError, match=meant):
        resolve_device(typed)
    assert resolve_device("cpu") == torch.device("cpu")
