"""One step of pix2pix equals eq. 1 to 4 of its paper, written here on the networks' scores and images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import Pix2Pix
from unpaired.objectives.pix2pix import Pix2PixObjective
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.scenes.draw import draw_pairs
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import train_step


def build(**settings: Any) -> Pix2PixObjective:
    networks = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)
    return Pix2Pix(**settings).build(*networks, 3, 3, 0).double()


def pairs() -> Batch:
    a, b = torch.rand(2, 2, 3, 16, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    return Batch(a=a, b=b)


def taken_for(label: int, scores: Tensor) -> float:
    """The mean of -log of the probability that the scores give to a label."""
    return -F.logsigmoid(scores if label else -scores).mean().item()


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("conditional", [True, False])
def test_the_terms_are_those_of_the_paper_in_both_directions(direction: str, conditional: bool) -> None:
    objective, batch = build(direction=direction, conditional=conditional), pairs()
    images = objective.generate(batch)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    given, truth = (batch.a, batch.b) if direction == "AtoB" else (batch.b, batch.a)
    fake = objective.translators[direction](given)
    judge, name = objective.discriminators[direction[-1]], direction[-1].lower()
    # The official files hold the input's channels first.
    on_fake, on_truth = (judge(torch.cat([given, x], 1) if conditional else x) for x in (fake, truth))
    expected = {
        f"adversarial_{name}": taken_for(1, on_fake),
        f"l1_{name}": 100 * (fake - truth).abs().mean().item(),
        f"discriminator_{name}": (taken_for(1, on_truth) + taken_for(0, on_fake)) / 2,
    }
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected, rel=1e-10)


def test_the_generator_is_judged_by_the_discriminator_after_its_step() -> None:
    state, batch = TrainingState(build(), OptimizerConfig(learning_rate=1e-2)), pairs()
    judge = state.objective.discriminators["B"]
    stacked = torch.cat([batch.a, state.objective.translators["AtoB"](batch.a).detach()], 1)
    before = taken_for(1, judge(stacked))
    seen = train_step(state, batch, "fp32")
    after = taken_for(1, judge(stacked))
    assert seen["adversarial_b"].item() == pytest.approx(after, rel=1e-9)
    assert seen["adversarial_b"].item() != pytest.approx(before, rel=1e-3)


def test_a_published_model_translates_in_training_mode(toy_config: Config, tmp_path: Path) -> None:
    draw_pairs(tmp_path / "labels2summer", count=2, num_test=1, size=40)
    data = replace(toy_config.data, pairing="paired", root=str(tmp_path / "labels2summer"))
    config = replace(toy_config, data=data, objective=Pix2Pix(), schedule=ScheduleConfig(num_steps=1))
    train(config, out=tmp_path / "run")
    model = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert model["directions"]["AtoB"]["mode"] == "training"
