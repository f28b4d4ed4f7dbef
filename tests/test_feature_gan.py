"""Feature loss + GAN: the L1 between features, gradients through them, and features that a run holds on to."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.errors import ConfigError, ModelError
from unpaired.models.model_folder import read_model
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.networks.feature_sources import open_features
from unpaired.networks.vgg import vgg_layers
from unpaired.objectives import FeatureGAN
from unpaired.objectives.feature_gan import FeatureGANObjective
from unpaired.recipes import RECIPES, Config
from unpaired.runs import train
from unpaired.training.progress import Progress
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import player_losses, train_step


def build(channels: int = 3, **settings: Any) -> FeatureGANObjective:
    networks = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)
    return FeatureGAN(**settings).build(*networks, channels, channels, 0)


def folders(channels: int = 3) -> Batch:
    a, b = torch.rand(2, 2, channels, 32, 36, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(a=a, b=b)


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({f"features.{key}": value for key, value in vgg_layers(16).state_dict().items()}, path)
    return path


@pytest.mark.parametrize("layers", [(), ("x1.layer3", "x1.layer1")])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_term_is_the_mean_l1_between_features(direction: str, layers: tuple[str, ...]) -> None:
    objective, batch = build(direction=direction, l1_weight=3.0, feature_layers=layers), folders()
    images = objective.generate(batch)
    terms = objective.generator_losses(batch, images)
    source, other = (batch.a, "a") if direction == "AtoB" else (batch.b, "b")
    features = open_features("random", 3)
    names = layers or features.content
    fake, wanted = features(images.fake, names), features(source, names)
    expected = sum((fake[name] - wanted[name]).abs().mean().item() for name in names) * 3 / len(names)
    assert terms[f"feature_{other}"].item() == pytest.approx(expected, rel=1e-5)
    assert set(terms) == {f"feature_{other}", f"adversarial_{direction[-1].lower()}"}


def test_vgg_is_compared_at_the_layer_of_the_paper(vgg16: Path) -> None:
    objective = build(features=f"vgg16:{vgg16}")
    assert objective.compared == ("relu4_2",)
    grey = build(channels=1, features=f"vgg16:{vgg16}")
    assert grey.distance(torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)) > 0


@pytest.mark.parametrize("source", ["random", "vgg16"])
def test_the_gradient_flows_through_fixed_features(source: str, vgg16: Path) -> None:
    objective = build(features=f"vgg16:{vgg16}" if source == "vgg16" else source, num_refiner_warmup_steps=1)
    state = TrainingState(objective, OptimizerConfig(ema_decay=0.9))
    state.objective.train()
    terms = player_losses(objective, "generator", folders(), objective.generate(folders()), "fp32")
    assert list(terms) == ["feature_a"]
    terms["feature_a"].backward()
    gradients = [weight.grad for weight in objective.translators.parameters()]
    assert all(gradient is not None for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients if gradient is not None) > 0
    before = {name: value.clone() for name, value in objective.features.named_buffers()}
    assert before
    train_step(state, folders(), "fp32")
    after = dict(objective.features.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_features_are_no_part_of_the_state() -> None:
    objective = build()
    state = TrainingState(objective, OptimizerConfig(ema_decay=0.9))
    train_step(state, folders(), "fp32")
    plain = {name.split(".")[0] for name in objective.state_dict()}
    assert plain == {"translators", "discriminators"}
    assert not any("features" in name for part in state.parts().values() for name in part)
    assert not list(objective.features.parameters())
    assert not objective.changing_buffers()
    assert list(objective.buffers())  # on the device of the networks
    assert not any(module.training for module in objective.train().features.modules())


@pytest.fixture
def config(drawn_folders: Path, toy_config: Config) -> Config:
    settings = {"data.root": str(drawn_folders), "schedule.num_steps": 4, "run.checkpoint_every": 2}
    return override(replace(toy_config, objective=FeatureGAN(pool_size=3)), settings)


def test_a_run_names_its_features(config: Config, tmp_path: Path, said: list[str]) -> None:
    train(config, out=tmp_path / "run")
    assert any("compares x1.structure2, x1.structure3 of random convolutions" in sentence for sentence in said)
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "feature-gan on features of random convolutions" in card
    info, networks = read_model(tmp_path / "run" / "model")
    assert list(networks) == ["AtoB"]
    assert info.training.objective == "feature-gan on features of random convolutions"
    settings = RunFolder(tmp_path / "run").config.read_text(encoding="utf-8")
    assert f"features_sha256: {open_features('random', 3).sha256}" in settings


def test_a_run_continues_with_the_same_features_only(config: Config, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    train(override(config, {"objective.features": "random"}), out=judge)
    copy = Path(shutil.copytree(judge, tmp_path / "moved"))
    given = override(config, {"objective.features": f"discriminator:{judge}"})
    whole = train(given, out=tmp_path / "whole")

    class CrashError(Exception):
        pass

    def listener(progress: Progress) -> None:
        if progress.step == 3:
            raise CrashError

    with pytest.raises(CrashError):
        train(given, out=tmp_path / "run", listener=listener)
    other = override(config, {"run.seed": 8})
    train(other, out=tmp_path / "other")
    with pytest.raises(ConfigError, match="features_sha256"):
        train(override(given, {"objective.features": f"discriminator:{tmp_path / 'other'}"}), out=tmp_path / "run")
    with pytest.raises(ModelError, match="is no run, checkpoint or model folder"):
        train(override(given, {"objective.features": f"discriminator:{tmp_path / 'gone'}"}), out=tmp_path / "run")
    moved = override(given, {"objective.features": f"discriminator:{copy}"})
    assert train(moved, out=tmp_path / "run").state_sha256 == whole.state_sha256


def test_settings_that_do_not_fit_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="feature-gan needs domains with equal channels"):
        FeatureGAN().build(config.generator, config.discriminator, 1, 3, 0)
    with pytest.raises(ConfigError, match=r"x1\.layer1"):
        build(feature_layers=("relu4_2",))
    with pytest.raises(ConfigError, match="are others"):
        build(features_sha256="0" * 64)  # as on a rank with another file
    with pytest.raises(ConfigError, match="source of features"):
        build(features="vgg")
    small = override(config, {"data.crop_size": 12, "data.load_size": 12})
    with pytest.raises(ConfigError, match="at least 16 for random convolutions, not 12"):
        train(small, out=tmp_path / "small")
    too_deep = override(config, {"objective.feature_layers": "x1.layer1,x4.layer1"})
    with pytest.raises(ConfigError, match=r"\['x4\.layer1'\], and images of \d+ x \d+ pixels are too small for it"):
        train(too_deep, out=tmp_path / "deep")


def test_the_recipe_is_that_of_the_comparison_but_for_the_features() -> None:
    recipe, paper = RECIPES["feature-gan"](), RECIPES["paper"]()
    assert (recipe.generator, recipe.discriminator, recipe.schedule) == (
        paper.generator,
        paper.discriminator,
        ScheduleConfig(),
    )
    assert recipe.objective == FeatureGAN(adversarial="lsgan", l1_weight=10, pool_size=50, features="random")
