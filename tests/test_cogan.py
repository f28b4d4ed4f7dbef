"""CoGAN: its losses, the shared layers, and the inversion that translates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import unpaired
from unpaired import cli
from unpaired.config import from_dict, override, to_dict
from unpaired.data.datasets import Batch
from unpaired.errors import ConfigError, ModelError
from unpaired.models.model_folder import read_description
from unpaired.networks import CoupledDiscriminator, CoupledGenerator, DiscriminatorConfig, GeneratorConfig
from unpaired.networks.coupled import Couple, InvertingGenerator
from unpaired.networks.inversion import _Adam, nearest_latent
from unpaired.objectives import CoGAN
from unpaired.objectives.cogan import CoGANObjective
from unpaired.recipes import RECIPES, at_size, cogan
from unpaired.runs import build_objective, train
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.given_kinds import as_image

SIZE, NUM_NOISE = 32, 5


def build(a: int = 3, b: int = 3, **settings: Any) -> CoGANObjective:
    generator = CoupledGenerator(size=SIZE, base_channels=2, norm="none", noise_channels=NUM_NOISE, **settings)
    discriminator = CoupledDiscriminator(size=SIZE, base_channels=2, norm="none")
    objective = CoGAN().build(generator, discriminator, a, b, 0)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.mul_(10)  # so that images and scores differ
    return objective


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def couple_of(objective: CoGANObjective) -> Couple:
    couple = objective.translators["couple"]
    assert isinstance(couple, Couple)
    return couple


def taken_for(label: float, scores: Tensor) -> float:
    return float(-(label * F.logsigmoid(scores) + (1 - label) * F.logsigmoid(-scores)).mean())


@torch.no_grad()
def test_each_discriminator_judges_its_own_domain_and_both_generators_render_one_latent_vector() -> None:
    objective = build(1, 3)
    batch = Batch(a=seeded(4, 1, SIZE, SIZE), b=seeded(4, 3, SIZE, SIZE, seed=1))
    torch.manual_seed(3)
    images = objective.generate(batch)
    torch.manual_seed(3)
    latents = 2 * torch.rand(4, NUM_NOISE, 1, 1) - 1
    fake_a, fake_b = couple_of(objective)(latents)
    assert torch.equal(images.fake_a, fake_a)
    assert torch.equal(images.fake_b, fake_b)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    judge_a, judge_b = objective.discriminators["A"], objective.discriminators["B"]
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "adversarial_a": taken_for(1, judge_a(fake_a)),  # the loss that does not saturate
            "adversarial_b": taken_for(1, judge_b(fake_b)),
            "discriminator_a": (taken_for(1, judge_a(batch.a)) + taken_for(0, judge_a(fake_a))) / 2,
            "discriminator_b": (taken_for(1, judge_b(batch.b)) + taken_for(0, judge_b(fake_b))) / 2,
        },
        rel=1e-5,
    )


def test_generators_share_their_first_layers_and_discriminators_their_last() -> None:
    objective = build()
    couple, judges = couple_of(objective), objective.discriminators
    assert couple.of_a[-2].weight is not couple.of_b[-2].weight
    directions = objective.generators()
    assert directions["AtoB"].shared is directions["BtoA"].shared is couple.shared
    assert directions["AtoB"].source is directions["BtoA"].target is couple.of_a
    assert judges["A"].shared is judges["B"].shared
    assert judges["A"].own is not judges["B"].own
    assert len(set(objective.parameters())) == len(list(objective.parameters()))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_of_own_layers_is_a_setting(count: int) -> None:
    def convolutions(network: nn.Module) -> int:
        return sum(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in network.modules())

    couple = CoupledGenerator(size=32, base_channels=2, num_own_layers=count).couple(3, 1)
    judge = CoupledDiscriminator(size=32, base_channels=2, num_own_layers=count).build(3)
    assert convolutions(couple.of_a) == convolutions(couple.of_b) == convolutions(judge.own) == count
    assert convolutions(couple.shared) == convolutions(judge.shared) == 4 - count
    fake_a, fake_b = couple(seeded(2, 100, 1, 1))
    assert (fake_a.shape, fake_b.shape) == ((2, 3, 32, 32), (2, 1, 32, 32))
    assert judge(fake_a).shape == (2, 1, 1, 1)


def test_an_image_of_one_generator_is_inverted_and_rendered_by_the_other() -> None:
    couple = couple_of(build(1, 3)).eval()
    a_to_b, b_to_a = couple.translators()
    with torch.no_grad():
        a, b = couple(seeded(3, NUM_NOISE, 1, 1, seed=5))
    assert (a_to_b(a) - b).square().mean() < 0.01 * b.var()
    assert (b_to_a(b) - a).square().mean() < 0.01 * a.var()


def test_the_inversion_comes_closer_with_more_steps_and_more_starts() -> None:
    network = couple_of(build()).eval().translators()[0]
    image = seeded(1, 3, 1, 1).expand(-1, -1, SIZE, SIZE) * 0.3

    def distance(starts: int, steps: int) -> float:
        latent = nearest_latent(network.of_source, image, NUM_NOISE, starts, steps)
        assert latent.shape == (1, NUM_NOISE, 1, 1)
        assert latent.abs().max() <= 1
        return float((network.of_source(latent) - image).square().mean().detach())

    assert distance(1, 0) >= distance(1, 10) > distance(1, 100)
    assert distance(1, 10) >= distance(8, 10)


def small(**settings: Any) -> InvertingGenerator:
    return couple_of(build(num_inversion_steps=4, **settings)).eval().requires_grad_(False).translators()[0]


def test_a_translation_depends_on_the_image_alone() -> None:
    network = small()
    images = seeded(3, 3, SIZE, SIZE)
    together = network(images)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    alone = torch.cat([network(images[index : index + 1]) for index in (2, 1, 0)]).flip(0)
    assert torch.equal(together, alone)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_translation_is_the_same_with_and_without_gradients(mode: Any) -> None:
    network = small()
    image = seeded(1, 3, SIZE, SIZE)
    expected = network(image)
    network.requires_grad_(True)
    with mode():
        made = network(image)
    assert torch.equal(made, expected)
    assert not made.requires_grad
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize("sides", [(1, 1), (7, 80), (33, 32), (200, 150)])
def test_an_image_of_any_size_keeps_it(sides: tuple[int, int]) -> None:
    made = small()(seeded(1, 3, *sides))
    assert made.shape[2:] == sides
    assert made.abs().max() <= 1


def test_the_grid_shows_pairs_and_changes_nothing() -> None:
    objective = build().eval()
    batch = Batch(a=seeded(2, 3, SIZE, SIZE), b=seeded(2, 3, SIZE, SIZE))
    before = torch.random.get_rng_state()
    one, two = objective.samples(batch), objective.samples(batch)
    assert list(one) == ["AtoB"]
    assert list(one["AtoB"]) == ["fake_a", "fake_b", "real_a", "real_b"]
    assert all(torch.equal(one["AtoB"][name], two["AtoB"][name]) for name in one["AtoB"])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("union", "config"),
    [
        (GeneratorConfig, CoupledGenerator(size=128, base_channels=5, num_own_layers=2, num_starts=7)),
        (DiscriminatorConfig, CoupledDiscriminator(size=32, base_channels=5, norm="none")),
    ],
)
def test_settings_survive_plain_values_as_a_member_of_their_union(union: object, config: object) -> None:
    assert from_dict(union, to_dict(config)) == config


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CoupledGenerator(size=48),
        lambda: CoupledGenerator(num_own_layers=5),
        lambda: CoupledGenerator(num_own_layers=0),
        lambda: CoupledGenerator(num_starts=0),
        lambda: CoupledGenerator(num_inversion_steps=0),
        lambda: CoupledGenerator(noise_channels=0),
        lambda: CoupledDiscriminator(size=16),
        lambda: CoupledDiscriminator(num_own_layers=5),
    ],
)
def test_impossible_networks_are_refused_by_the_name_of_the_setting(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"(generator|discriminator)\.\w+ must be"):
        wrong()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"generator.kind": "resnet"}, "needs generator.kind coupled and discriminator.kind coupled, not resnet"),
        ({"discriminator.kind": "patchgan"}, "not coupled and patchgan"),
        ({"data.preprocess": "none", "data.batch_size": 1}, "makes images of one size"),
        ({"generator.size": 32}, r"generator\.size \(32\) must be data\.crop_size \(64\)"),
        ({"run.accumulate": 2}, "run.accumulate with objective.kind cogan"),
    ],
)
def test_other_networks_and_micro_batches_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_objective(override(cogan(), settings))


def test_no_other_method_trains_coupled_generators() -> None:
    with pytest.raises(ConfigError, match=r"objective\.kind cyclegan cannot train"):
        override(at_size(RECIPES["paper"](), 64), {"generator.kind": "coupled"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps with everything that needs translations: guardian, validation, trust scores, EMA."""
    root = tmp_path_factory.mktemp("cogan")
    for name, count in {"trainA": 20, "trainB": 20, "testA": 24, "testB": 24}.items():
        (root / "data" / name).mkdir(parents=True)
        for number, seed in enumerate(scene_seeds(name, count, seed=1)):
            image = draw_scene(seed, "summer" if name[-1] == "A" else "winter", 36)
            PIL.Image.fromarray(image).save(root / "data" / name / f"{number:03d}.png")
    settings = {
        "data.root": str(root / "data"),
        "data.batch_size": 4,
        "generator.base_channels": 2,
        "generator.num_inversion_steps": 2,
        "generator.num_starts": 1,
        "discriminator.base_channels": 2,
        "schedule.num_steps": 4,
        "optimizer.ema_decay": 0.9,
        "run.held_out_every": 2,
        "run.guardian_every": 2,
        "run.sample_every": 2,
        "run.memory": "8GB",
        "run.device": "cpu",
    }
    train(override(at_size(cogan(), 32), settings), out=root / "run")
    return root / "run"


def test_a_run_is_monitored_validated_scored_and_verified_like_any_other(run: Path, tmp_path: Path) -> None:
    assert (run / "held_out.jsonl").read_text(encoding="utf-8").count("\n") == 2
    assert (run / "guardian.jsonl").read_text(encoding="utf-8").count("\n") == 2
    assert "trust" in read_description(run / "model")
    picture = tmp_path / "picture.png"
    PIL.Image.new("RGB", (50, 41), "green").save(picture)
    for words in (
        ["translate", str(run), str(picture), "--scores", "--out", str(tmp_path / "out"), "--device", "cpu"],
        ["evaluate", str(run), str(run.parent / "data"), "--device", "cpu"],
        ["verify", str(run)],
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        assert left.value.code == 0, words
    with PIL.Image.open(tmp_path / "out" / "picture.png") as made:
        assert made.size == (50, 41)
    assert (tmp_path / "out" / "scores.csv").exists()


def test_a_process_that_only_translates_needs_no_compiler(run: Path, tmp_path: Path) -> None:
    """A fresh one: `unpaired translate` defers a part of torch that other tests have imported."""
    PIL.Image.new("RGB", (20, 20), "green").save(tmp_path / "picture.png")
    words = ["translate", run, tmp_path / "picture.png", "--out", tmp_path / "out", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "unpaired", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "picture.png").exists()


def test_the_search_takes_the_steps_of_adam() -> None:
    values = seeded(2, 5, 1, 1, seed=1)
    expected = values.clone()
    adam, published = _Adam(values), torch.optim.Adam([expected], lr=0.1)
    for step in range(20):
        gradient = seeded(2, 5, 1, 1, seed=step + 2)
        expected.grad, published.param_groups[0]["lr"] = gradient.clone(), 0.1 / (step + 1)
        published.step()
        adam.step(gradient, 0.1 / (step + 1))
        assert torch.equal(values, expected)


def test_a_published_direction_translates_as_in_training_and_says_so_in_its_card(run: Path) -> None:
    translator = unpaired.load(run, device="cpu", precision="auto")
    assert translator.directions == ("AtoB", "BtoA")
    assert str(translator.choose(as_image(np.zeros((40, 40, 3), np.uint8), 3, None))).startswith("fp32 (a generator")
    image = PIL.Image.new("RGB", (40, 33), "teal")
    assert translator(image).tobytes() == unpaired.load(run, device="cpu")(image).tobytes()
    images = [seeded(3, 32, 32, seed=number) for number in range(2)]
    assert torch.equal(translator(images, batch=2)[1], translator(images[1]))
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "an optimisation of 2 steps" in card
    assert "at 32 x 32 pixels" in card


def test_bf16_and_programs_are_refused_in_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="computes in fp32 here, not in bf16"):
        unpaired.load(run, device="cpu", precision="bf16")
    for kind in ("torch-export", "official"):
        with pytest.raises(ModelError, match="coupled"):
            unpaired.export(run, tmp_path / kind, format=kind)
        assert not (tmp_path / kind).exists()
