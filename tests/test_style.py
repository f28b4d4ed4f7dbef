"""The method `style`: its terms equal the papers' equations, and its features are fixed and recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from test_perceptual import run_folder
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.errors import ConfigError
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.networks.gram import content_distance, gram, style_distance, total_variation
from unpaired.objectives import Style
from unpaired.recipes import RECIPES, Config
from unpaired.runs import build_objective, dry_run, info, train
from unpaired.runs.footprint import footprint
from unpaired.translate.translator import Translator

NETWORKS = ResNetGenerator(base_channels=2, num_blocks=1), PatchGAN(base_channels=2, num_layers=1)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def toy(config: Config, data: Path, **settings: object) -> Config:
    return override(replace(config, objective=Style(**settings)), {"data.root": str(data)})  # type: ignore[arg-type]


def test_gram_matrices_are_mean_products_of_channels_over_positions() -> None:
    maps = rand(2, 3, 4, 5)
    matrices = gram(maps)
    expected = sum(maps[1, 0, y, x] * maps[1, 2, y, x] for y in range(4) for x in range(5)) / 20
    assert matrices.shape == (2, 3, 3)
    assert matrices[1, 0, 2] == pytest.approx(float(expected), rel=1e-5)
    # Positions do not matter, and the image may be of any size.
    shuffled = maps.flatten(2)[..., torch.randperm(20)].reshape(2, 3, 2, 10)
    torch.testing.assert_close(gram(shuffled), matrices)


def test_distances_are_relative_and_0_for_equal_images() -> None:
    maps = {"one": rand(2, 3, 4, 5), "two": rand(2, 2, 2, 2, seed=1) * 100}
    targets = {name: gram(values) for name, values in maps.items()}
    assert style_distance(maps, targets) == 0
    assert content_distance(maps, maps) == 0
    zeros = {name: torch.zeros_like(values) for name, values in maps.items()}
    assert style_distance(zeros, targets) == pytest.approx(1)
    assert content_distance(zeros, maps) == pytest.approx(1)
    assert total_variation(torch.ones(1, 3, 4, 4)) == 0


def test_the_terms_are_those_of_the_papers() -> None:
    objective = Style(content_weight=2, style_weight=3, variation_weight=4).build(*NETWORKS, 3, 3, 0)
    batch = Batch(a=rand(2, 3, 32, 32), b=rand(2, 3, 32, 32, seed=1))
    images = objective.generate(batch)
    terms = objective.generator_losses(batch, images)
    features = objective.features
    made, real, style = features(images.fake), features(batch.a), features(batch.b)
    names = [name for name in features.style if name in made]
    expected = []
    for name in names:
        one, other = gram(made[name]), gram(style[name])
        expected.append(((one - other).square().sum((1, 2)) / other.square().sum((1, 2))).mean())
    assert terms["style_b"].item() == pytest.approx(3 * torch.stack(expected).mean().item(), rel=1e-4)
    content = torch.stack(
        [
            ((made[name] - real[name]).square().sum((1, 2, 3)) / real[name].square().sum((1, 2, 3))).mean()
            for name in features.content
        ]
    ).mean()
    assert terms["content_b"].item() == pytest.approx(2 * content.item(), rel=1e-4)
    assert terms["variation_b"].item() == pytest.approx(4 * total_variation(images.fake).item())
    assert objective.discriminator_losses(batch, images) == {}


def test_one_style_image_a_step_has_the_gradient_of_the_averaged_style() -> None:
    # Unnormalised: the mean of the squared distances differs from that to the mean by a constant.
    styles, made = torch.stack([gram(rand(1, 3, 8, 8, seed=n)) for n in range(4)]), gram(rand(1, 3, 8, 8, seed=9))
    made.requires_grad_(True)
    (apart,) = torch.autograd.grad((made - styles).square().sum((1, 2, 3)).mean(), made)
    (averaged,) = torch.autograd.grad((made - styles.mean(0)).square().sum(), made)
    torch.testing.assert_close(apart, averaged)


def test_features_are_neither_trained_nor_saved_nor_averaged(two_folders: Path, toy_config: Config) -> None:
    config = toy(toy_config, two_folders)
    objective = build_objective(config)
    assert not any("features" in name for name in objective.state_dict())
    assert not any("features" in name for name, _ in objective.named_parameters())
    assert footprint(config).step > 0


def test_a_run_records_its_features_and_refuses_others(two_folders: Path, toy_config: Config, tmp_path: Path) -> None:
    run_folder(tmp_path / "features", PatchGAN(base_channels=4, num_layers=1))
    config = toy(toy_config, two_folders, features=f"discriminator:{tmp_path / 'features'}")
    resolved = dry_run(config, tmp_path / "run")
    assert len(resolved.objective.features_sha256) == 64  # type: ignore[attr-defined]
    half = override(config, {"schedule.num_steps": 4})
    train(half, out=tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_text().count(resolved.objective.features_sha256) == 1  # type: ignore[attr-defined]
    # The same weights elsewhere are the same features.
    (tmp_path / "features").rename(tmp_path / "moved")
    moved = override(half, {"objective.features": f"discriminator:{tmp_path / 'moved'}"})
    train(moved, out=tmp_path / "run")
    run_folder(tmp_path / "others", PatchGAN(base_channels=8, num_layers=1))
    others = override(half, {"objective.features": f"discriminator:{tmp_path / 'others'}"})
    with pytest.raises(ConfigError, match="features_sha256"):
        train(others, out=tmp_path / "run")
    assert info(tmp_path / "run").step == 4


def test_backwards_it_gives_images_of_b_the_style_of_a(two_folders: Path, toy_config: Config, tmp_path: Path) -> None:
    config = override(toy(toy_config, two_folders, direction="BtoA"), {"schedule.num_steps": 2})
    train(config, out=tmp_path / "run")
    assert Translator.load(tmp_path / "run").directions == ("BtoA",)


def test_settings_out_of_range_and_other_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="content_weight must not be negative"):
        Style(content_weight=-1)
    with pytest.raises(ConfigError, match="style_weight must be above 0"):
        Style(style_weight=0)
    with pytest.raises(ConfigError, match="equal channels, not 1 and 3"):
        Style().build(*NETWORKS, 1, 3, 0)
    with pytest.raises(ConfigError, match="are others"):
        Style(features_sha256="00000000").build(*NETWORKS, 3, 3, 0)


def test_the_recipe_is_that_of_johnson_with_a_generator_without_checkerboards() -> None:
    config = RECIPES["style"]()
    assert (config.data.batch_size, config.optimizer.learning_rate, config.schedule.num_steps) == (4, 1e-3, 40_000)
    assert config.generator.upsampling == "resize"  # type: ignore[attr-defined]
