"""What every method must do. A new method's author adds one line to METHODS; nothing else here needs to change."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import pytest
import torch

from unpaired.config import from_dict, override, to_dict
from unpaired.data.datasets import Batch, DataConfig
from unpaired.errors import Interrupted
from unpaired.networks import (
    AttentionGenerator,
    CoupledDiscriminator,
    CoupledGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    PatchGAN,
    ResNetGenerator,
    UNetGenerator,
)
from unpaired.objectives import CUT, GAN, BiGAN, CoGAN, CycleGAN, FeatureGAN, Pix2Pix, SimGAN, Style
from unpaired.objectives.base import frozen
from unpaired.objectives.losses import total
from unpaired.recipes import RECIPES, Config, at_size
from unpaired.runs import build_objective, info, train
from unpaired.training.progress import Progress
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import player_losses, train_step
from unpaired.translate.sampling import Sampler
from unpaired.translate.translator import Translator

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """A method in miniature: its objective, and whatever differs from a small ResNet and PatchGAN."""

    objective: object
    generator: object = ResNetGenerator(base_channels=4, num_blocks=2)
    discriminator: object = PatchGAN(base_channels=4, num_layers=1)
    classes: bool = False


UNET = UNetGenerator(num_downs=5, base_channels=4, dropout=True)
ATTENTION = AttentionGenerator(base_channels=4, num_blocks=2)
NOISE = {
    "generator": DCGANGenerator(size=32, base_channels=4),
    "discriminator": DCGANDiscriminator(size=32, base_channels=4),
}
COUPLED = {
    "generator": CoupledGenerator(size=32, base_channels=4, num_inversion_steps=3),
    "discriminator": CoupledDiscriminator(size=32, base_channels=4),
}

METHODS: dict[str, Case] = {
    "cyclegan": Case(CycleGAN(pool_size=3)),
    "cycle-alone": Case(CycleGAN(identity_weight=0, adversarial_weight=0)),
    "gan-alone": Case(CycleGAN(identity_weight=0, cycle_weight_a=0, cycle_weight_b=0)),
    "gan-forward": Case(CycleGAN(identity_weight=0, cycle_weight_b=0)),
    "gan-backward": Case(CycleGAN(identity_weight=0, cycle_weight_a=0)),
    "cyclegan-wgan": Case(CycleGAN(adversarial="wgan_gp", pool_size=3)),
    "cyclegan-hinge": Case(
        CycleGAN(adversarial="hinge"), discriminator=PatchGAN(base_channels=4, num_layers=1, num_discriminators=2)
    ),
    "cyclegan-shapes": Case(
        CycleGAN(cycle_weight_a=1, cycle_weight_b=1, identity_weight=0, pool_size=3),
        generator=ResNetGenerator(
            base_channels=4, num_blocks=2, num_deformable_blocks=1, num_attention_blocks=1, displacement=True
        ),
    ),
    "cyclegan-unet-skips": Case(
        CycleGAN(pool_size=3), generator=UNetGenerator(num_downs=4, base_channels=4, norm="instance", num_skips=1)
    ),
    "pix2pix": Case(Pix2Pix(), generator=UNET, discriminator=PatchGAN(base_channels=4, num_layers=1, norm="batch")),
    "pix2pix-backwards": Case(Pix2Pix(direction="BtoA"), generator=UNET),
    "pix2pix-l1": Case(Pix2Pix(adversarial_weight=0), generator=UNET),
    "pix2pix-l1-gan": Case(Pix2Pix(conditional=False), generator=UNET),
    "pix2pix-cgan": Case(Pix2Pix(l1_weight=0), generator=UNET),
    "cut": Case(CUT(num_patches=16, head_channels=8)),
    "fastcut": Case(CUT(num_patches=16, head_channels=8, identity_contrast=False, flip_equivariance=True)),
    "cyclegan-attention": Case(CycleGAN(pool_size=3), generator=ATTENTION),
    "cut-attention": Case(CUT(num_patches=16, head_channels=8), generator=ATTENTION),
    "simgan": Case(SimGAN(pool_size=3)),
    "simgan-backwards": Case(SimGAN(direction="BtoA", adversarial="lsgan", pool_size=3)),
    "simgan-warmups": Case(
        SimGAN(pool_size=3, num_refiner_steps=2, num_refiner_warmup_steps=2, num_discriminator_warmup_steps=1)
    ),
    "feature-gan": Case(FeatureGAN(pool_size=3)),
    "style": Case(Style()),
    "style-adversarial-backwards": Case(Style(adversarial_weight=1, direction="BtoA")),
    "gan": Case(GAN(), **NOISE),
    "cgan": Case(GAN(conditional=True), **NOISE, classes=True),
    "bigan": Case(BiGAN()),
    "bigan-wgan": Case(BiGAN(adversarial="wgan_gp")),
    "cogan": Case(CoGAN(), **COUPLED),
}


def config_of(name: str, channels: int = 3) -> Config:
    case = METHODS[name]
    pairing = case.objective.pairing
    channels_a = channels if pairing != "noise" else 100 + 2 * case.classes
    return Config(
        data=DataConfig(
            pairing=pairing,
            classes=case.classes,
            load_size=36,
            crop_size=32,
            channels_a=channels_a,
            channels_b=channels,
            batch_size=2,
            cache_mb=16,
        ),
        objective=case.objective,
        generator=case.generator,
        discriminator=case.discriminator,
        optimizer=OptimizerConfig(ema_decay=0.9),
        schedule=ScheduleConfig(num_steps=6),
        run=RunConfig(device="cpu", num_threads=1, log_every=1, sample_every=3, num_samples=2, checkpoint_every=3),
    )


def state_of(name: str, channels: int = 3) -> TrainingState:
    config = config_of(name, channels)
    return TrainingState(build_objective(config), config.optimizer)


def batch_of(name: str, channels: int = 3, step: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(step)
    b = torch.rand(2, channels, 32, 32, generator=draw) * 2 - 1
    case = METHODS[name]
    if case.objective.pairing != "noise":
        return Batch(a=torch.rand(2, channels, 32, 32, generator=draw) * 2 - 1, b=b)
    noise = torch.randn(2, 100, 1, 1, generator=draw)
    return Batch(a=torch.cat([noise, torch.eye(2)[:, :, None, None]], dim=1) if case.classes else noise, b=b)


def steps(name: str, count: int, channels: int = 3) -> list[dict[str, float]]:
    state = state_of(name, channels)
    state.objective.train()
    seen = []
    for step in range(count):
        torch.manual_seed(step)
        terms = train_step(state, batch_of(name, channels, step), "fp32")
        state.step += 1
        seen.append({key: value.item() for key, value in terms.items()})
    return seen


@pytest.mark.parametrize("name", METHODS)
def test_ten_steps_have_the_golden_losses(name: str) -> None:
    lines = (GOLDEN / "methods" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    golden = [dict(pair.split("=") for pair in line.split()) for line in lines]
    made = steps(name, 10)
    assert [list(terms) for terms in made] == [list(terms) for terms in golden]
    for terms, expected in zip(made, golden, strict=True):
        # Sums are taken in another order on another processor, and ten steps of Adam carry that on.
        assert terms == pytest.approx({key: float(value) for key, value in expected.items()}, rel=5e-3, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", METHODS)
def test_losses_are_finite_for_any_number_of_channels(name: str, channels: int) -> None:
    for terms in steps(name, 2, channels):
        assert terms
        assert all(torch.isfinite(torch.tensor(value)) for value in terms.values())


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_the_player_whose_losses_they_are_and_no_other(name: str) -> None:
    state = state_of(name)
    objective, batch = state.objective, batch_of(name)
    players = objective.players()
    for player in objective.order:
        images = objective.generate(batch)
        terms = player_losses(objective, player, batch, images, "fp32")
        if not terms:
            continue
        objective.zero_grad(set_to_none=True)
        total(terms).backward()
        other = "discriminator" if player == "generator" else "generator"
        mine = [parameter.grad for parameter in players[player].parameters()]
        assert any(grad is not None and grad.abs().sum() > 0 for grad in mine)
        assert all(parameter.grad is None for parameter in players[other].parameters())


@pytest.mark.parametrize("name", METHODS)
def test_every_player_with_losses_learns_in_a_step(name: str) -> None:
    state = state_of(name)
    before = {key: value.clone() for key, value in state.objective.state_dict().items()}
    batch = batch_of(name)
    has_terms = {
        player: bool(player_losses(state.objective, player, batch, state.objective.generate(batch), "fp32"))
        for player in state.objective.order
    }
    state = state_of(name)
    train_step(state, batch, "fp32")
    after = state.objective.state_dict()
    for player, part in (("generator", "translators"), ("discriminator", "discriminators")):
        changed = any(not torch.equal(before[key], after[key]) for key in after if key.startswith(part))
        assert changed == has_terms[player]


@pytest.mark.parametrize("name", METHODS)
def test_the_discriminators_are_frozen_only_while_the_generator_steps(name: str) -> None:
    objective = state_of(name).objective
    with frozen(objective.discriminators):
        assert not any(parameter.requires_grad for parameter in objective.discriminators.parameters())
    assert all(parameter.requires_grad for parameter in objective.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_settings_of_a_method_survive_yaml(name: str) -> None:
    config = config_of(name)
    assert from_dict(Config, to_dict(config)) == config


@pytest.fixture
def data_of(drawn_folders: Path, tmp_path: Path) -> dict[str, str]:
    """Folders for every pairing: two domains, side-by-side pairs, classes."""
    pairs, classes = tmp_path / "pairs" / "train", tmp_path / "classes"
    pairs.mkdir(parents=True)
    images = sorted((drawn_folders / "trainA").glob("*.png"))
    for number, path in enumerate(images):
        with PIL.Image.open(path) as image:
            pair = PIL.Image.new("RGB", (80, 40))
            pair.paste(image, (0, 0))
            pair.paste(image.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM), (40, 0))
            pair.save(pairs / path.name)
            folder = classes / ("cats", "dogs")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image.copy().save(folder / path.name)
    return {"unpaired": str(drawn_folders), "paired": str(tmp_path / "pairs"), "noise": str(classes)}


@pytest.mark.parametrize("name", METHODS)
def test_an_interrupted_run_of_a_method_ends_in_the_same_state(
    name: str, data_of: dict[str, str], tmp_path: Path
) -> None:
    config = override(config_of(name), {"data.root": data_of[METHODS[name].objective.pairing]})

    class CrashError(Exception):
        pass

    def listener(progress: Progress) -> None:
        if progress.step == 5:
            raise CrashError

    whole = train(config, out=tmp_path / "whole")
    with pytest.raises((CrashError, Interrupted)):
        train(config, out=tmp_path / "parts", listener=listener)
    assert info(tmp_path / "parts").step == 3
    assert train(config, out=tmp_path / "parts").state_sha256 == whole.state_sha256
    if METHODS[name].objective.pairing == "noise":
        assert len(list(Sampler.load(tmp_path / "whole")(3))) == 3
        return
    translator = Translator.load(tmp_path / "whole")
    assert set(translator.directions) == set(build_objective(replace(config, data=config.data)).generators())
    direction = translator.directions[0]
    image = PIL.Image.new("RGB", (37, 50), "teal")
    assert translator(image, direction=direction).size == (37, 50)
    assert translator(image, direction=direction).tobytes() == translator(image, direction=direction).tobytes()


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
def test_every_recipe_can_be_scaled_to_small_images(name: str) -> None:
    config = at_size(RECIPES[name](), 64)
    assert config.data.crop_size == 64
    config = override(config, {"generator.base_channels": 4, "discriminator.base_channels": 4})
    if config.data.classes:
        config = override(config, {"data.channels_a": 103})
    assert build_objective(config).generators()


def write() -> None:
    (GOLDEN / "methods").mkdir(parents=True, exist_ok=True)
    for name in METHODS:
        lines = [" ".join(f"{key}={value:.6g}" for key, value in terms.items()) for terms in steps(name, 10)]
        (GOLDEN / "methods" / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__" and "--write" in sys.argv:
    torch.set_num_threads(1)
    write()
