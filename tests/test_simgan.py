"""One step of SimGAN equals eq. 1 to 4 of its paper, and its steps follow algorithm 1 with warm-ups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired import cli
from unpaired.data.datasets import Batch, DataConfig
from unpaired.errors import ConfigError
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import SimGAN
from unpaired.objectives.simgan import SimGANObjective
from unpaired.recipes import RECIPES, Config
from unpaired.scenes.draw import draw_dataset
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import train_step


def build(**settings: Any) -> SimGANObjective:
    networks = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)
    return SimGAN(**settings).build(*networks, 3, 3, 0).double()


def folders(step: int = 0) -> Batch:
    a, b = torch.rand(2, 2, 3, 16, 20, generator=torch.Generator().manual_seed(step), dtype=torch.float64) * 2 - 1
    return Batch(a=a, b=b)


def taken_for(label: int, scores: Tensor) -> float:
    """The mean over the patches of -log of the probability that the scores give to a label."""
    return -F.logsigmoid(scores if label else -scores).mean().item()


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_terms_are_those_of_the_paper_in_both_directions(direction: str) -> None:
    objective, batch = build(direction=direction, l1_weight=3.0), folders()
    images = objective.generate(batch)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    source, real = (batch.a, batch.b) if direction == "AtoB" else (batch.b, batch.a)
    fake = objective.translators[direction](source)
    name, other = ("b", "a") if direction == "AtoB" else ("a", "b")
    judge = objective.discriminators[name.upper()]
    assert judge(fake).shape[2:].numel() > 1  # patches, and no single score for an image
    expected = {
        f"adversarial_{name}": taken_for(1, judge(fake)),
        f"regularisation_{other}": 3 * (fake - source).abs().mean().item(),
        f"discriminator_{name}": (taken_for(1, judge(real)) + taken_for(0, judge(fake))) / 2,
    }
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected, rel=1e-10)
    assert objective.generators().keys() == {direction}


def test_half_of_what_the_discriminator_sees_comes_from_the_history() -> None:
    objective = build(pool_size=4)
    seen: list[Tensor] = []
    objective.discriminators["B"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for step in range(8):
        batch = folders(step)
        images = objective.generate(batch)
        objective.discriminator_losses(batch, images)
        shown = seen[-1]
        new = [torch.equal(image, made) for image, made in zip(shown, images.fake, strict=True)]
        assert new == ([True, True] if step < 2 else [True, False])
        assert not shown.requires_grad


def test_the_players_step_as_algorithm_1_says_after_their_warm_ups() -> None:
    objective = build(num_refiner_steps=2, num_refiner_warmup_steps=2, num_discriminator_warmup_steps=3)
    state = TrainingState(objective, OptimizerConfig())
    logged, changed = [], []
    for step in range(9):
        before = {key: value.clone() for key, value in objective.state_dict().items()}
        logged.append(sorted(train_step(state, folders(step), "fp32")))
        state.step += 1
        after = objective.state_dict()
        changed.append(
            "".join(
                part[0]
                for part in ("translators", "discriminators")
                if any(not torch.equal(before[key], after[key]) for key in after if key.startswith(part))
            )
        )
    alone, refiner = ["discriminator_b"], ["adversarial_b", "regularisation_a"]
    both = ["adversarial_b", "discriminator_b", "regularisation_a"]
    assert logged == [["regularisation_a"]] * 2 + [alone] * 3 + [both, refiner, both, refiner]  # steps 6 and 8: both
    assert changed == ["t", "t", "d", "d", "d", "td", "t", "td", "t"]


def test_settings_that_do_not_fit_are_refused() -> None:
    networks = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)
    with pytest.raises(ConfigError, match="equal channels, not 1 and 3"):
        SimGAN().build(*networks, 1, 3, 0)
    for settings, word in (
        ({"l1_weight": -1.0}, "l1_weight must not be negative"),
        ({"num_refiner_steps": 0}, "num_refiner_steps must be at least 1"),
        ({"l1_weight": 0.0, "num_refiner_warmup_steps": 5}, "needs an objective.l1_weight"),
    ):
        with pytest.raises(ConfigError, match=word):
            SimGAN(**settings)
    with pytest.raises(ConfigError, match="must be fewer than the steps of the run"):
        Config(
            data=DataConfig(),
            objective=SimGAN(num_refiner_warmup_steps=6, num_discriminator_warmup_steps=4),
            schedule=ScheduleConfig(num_steps=10),
        )


def test_steps_that_differ_are_not_captured_and_memory_is_planned_for_the_whole_loss() -> None:
    assert build().prevents_capture() == ""
    for name, value in (
        ("num_refiner_steps", 2),
        ("num_refiner_warmup_steps", 1),
        ("num_discriminator_warmup_steps", 1),
    ):
        assert build(**{name: value}).prevents_capture() == f"objective.{name}"
        assert SimGAN(**{name: value}).without_draws() == SimGAN()


def test_the_recipe_is_that_of_the_comparison() -> None:
    recipe, paper = RECIPES["simgan"](), RECIPES["paper"]()
    assert (recipe.generator, recipe.discriminator) == (paper.generator, paper.discriminator)
    assert recipe.objective == SimGAN(adversarial="lsgan", l1_weight=10, pool_size=50)


def test_the_command_that_training_suggests_names_the_only_direction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_dataset(tmp_path / "data", a="summer", b="winter", count=2, size=32, num_test=1)
    small = ["--generator.base-channels", "2", "--generator.num-blocks", "1", "--discriminator.base-channels", "2"]
    words = ["train", tmp_path / "data", "--recipe", "simgan", "--objective.direction", "BtoA", "--size", "32", *small]
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, words), "--steps", "1", "--out", str(tmp_path / "run"), "--device", "cpu"])
    assert left.value.code == 0
    assert "IMAGE... --direction BtoA\n" in capsys.readouterr().out
