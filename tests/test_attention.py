"""The attention-gated generator keeps the pixels outside its mask; planted objects teach it to keep unknown content."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from unpaired import cli
from unpaired.config import override
from unpaired.data.datasets import Batch, DataConfig
from unpaired.errors import ConfigError, OutputError
from unpaired.images import Image
from unpaired.networks import AttentionGenerator, PatchGAN, ResNetGenerator
from unpaired.networks.attention import CLOSED, OPEN
from unpaired.networks.protocols import HasFeatures, HasMask
from unpaired.objectives import CUT, BiGAN, CycleGAN, FeatureGAN, Pix2Pix, SimGAN
from unpaired.objectives.base import initialised, samples_with_masks
from unpaired.objectives.planting import OBJECTS, OPEN_WEIGHT, Planted, mask_loss, open_gates, plant
from unpaired.public import export
from unpaired.recipes import Config, attention, build_objective
from unpaired.runs import train
from unpaired.scenes.draw import draw_dataset
from unpaired.scenes.scene import draw_scene
from unpaired.scenes.strangers import draw_strangers
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import generated, player_losses, train_step
from unpaired.translate.jobs import plan_outputs
from unpaired.translate.masking import plan_masks
from unpaired.translate.translator import Translator

SMALL = AttentionGenerator(base_channels=4, num_blocks=2)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def with_mask_bias(network: nn.Module, bias: float) -> nn.Module:
    """Set the probability of every pixel to the sigmoid of `bias`."""
    with torch.no_grad():
        network.selector.head[1].weight.zero_()
        network.selector.head[1].bias.fill_(bias)
    return network


# --- the network -----------------------------------------------------------------------------------


@torch.no_grad()
def test_the_output_blends_the_translation_and_the_input_by_the_mask() -> None:
    network, image = initialised(SMALL.build(3, 3), 0, "AtoB").double(), seeded(2, 3, 16, 20).double()
    network.selector.head[1].weight.mul_(20)  # probabilities from 0 to 1
    probability = torch.sigmoid(network.mask_logits(image))
    mask = ((probability - CLOSED) / (OPEN - CLOSED)).clamp(0, 1)
    assert torch.equal(network.mask(image), mask)
    assert set(mask.unique().tolist()) > {0, 1}
    assert torch.allclose(network(image), mask * network.network(image) + (1 - mask) * image, rtol=0, atol=1e-12)
    assert torch.equal(network(image)[mask.expand(-1, 3, -1, -1) == 0], image[mask.expand(-1, 3, -1, -1) == 0])


def test_a_mask_of_0_keeps_every_bit_and_one_of_1_replaces_the_input() -> None:
    network, image = SMALL.build(3, 3), seeded(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(with_mask_bias(network, -3)(image), image)
        assert torch.allclose(with_mask_bias(network, 3)(image), network.network(image), rtol=0, atol=1e-6)


def test_the_gradient_of_a_mask_does_not_vanish_if_it_is_0() -> None:
    network, image = with_mask_bias(SMALL.build(3, 3), -3), seeded(1, 3, 16, 16)
    mask = network.mask(image)
    assert mask.abs().max() < 1e-7
    (gradient,) = torch.autograd.grad(mask.mean(), network.selector.head[1].bias)
    probability = 1 / (1 + math.exp(3))
    assert gradient.item() == pytest.approx(probability * (1 - probability), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("num_downs", [0, 1, 3])
def test_it_takes_the_sizes_and_channels_of_a_resnet(num_downs: int, channels: int) -> None:
    config = AttentionGenerator(base_channels=2, num_blocks=1, num_downs=num_downs)
    resnet = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=num_downs)
    assert (config.multiple, config.min_size) == (resnet.multiple, resnet.min_size)
    network, side = config.build(channels, channels), config.min_size
    for height, width in ((side, side), (side + config.multiple, side + 3 * config.multiple)):
        image = seeded(2, channels, height, width)
        assert network(image).shape == image.shape
        assert network(image).abs().max() <= 1
        assert network.mask(image).shape == (2, 1, height, width)


def test_it_contains_the_resnet_and_has_its_depth() -> None:
    with torch.device("meta"):
        ours, theirs = AttentionGenerator().build(3, 3), ResNetGenerator().build(3, 3)
    shapes = {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert {name: weight.shape for name, weight in ours.network.state_dict().items()} == shapes
    assert len(ours.selector.blocks) == 2
    assert "head.1.weight" in ours.selector.state_dict()
    assert AttentionGenerator().at_size(128).num_blocks == 6
    assert AttentionGenerator(num_blocks=3).at_size(128).num_blocks == 3


def test_it_has_features_and_a_mask_and_a_resnet_has_no_mask() -> None:
    network = SMALL.build(3, 3)
    assert isinstance(network, HasMask)
    assert isinstance(network, HasFeatures)
    assert not isinstance(ResNetGenerator().build(3, 3), HasMask)
    image = seeded(1, 3, 32, 32)
    assert all(map(torch.equal, network.features(image), network.network.features(image)))


def test_domains_with_different_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator\.kind attention .* equal channels in both domains, not 1 and 3"):
        build_objective(replace(attention(), data=DataConfig(channels_a=1), objective=CycleGAN(identity_weight=0)))


# --- planted objects -------------------------------------------------------------------------------


def planted(count: int = 400, channels: int = 3, seed: int = 0) -> tuple[Tensor, Planted]:
    images = seeded(count, channels, 32, 32, seed=seed)
    torch.manual_seed(seed)
    return images, plant(images)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_objects_replace_their_pixels_and_leave_the_others(channels: int) -> None:
    images, made = planted(channels=channels)
    assert made.images.shape == images.shape
    assert made.images.abs().max() <= 1
    assert made.objects.shape == (400, 1, 32, 32)
    assert set(made.objects.unique().tolist()) == {0, 1}
    changed = (made.images != images).any(1, keepdim=True)
    assert changed[made.objects == 1].float().mean() > 0.999
    assert not changed[made.elsewhere == 1].any()
    assert ((made.objects + made.elsewhere) <= 1).all()
    assert (made.objects + made.elsewhere).mean() > 0.9  # edges are neither
    empty = (made.elsewhere.amin((1, 2, 3)) == 1).float().mean()
    assert empty.item() == pytest.approx(1 / (OBJECTS + 1), abs=0.08)  # the mean of (1 - share) to that power
    assert 0.02 < made.objects.mean() < 0.2


def test_objects_differ_between_images_and_draws_and_repeat_with_the_seed() -> None:
    _, one = planted()
    _, again = planted()
    _, other = planted(seed=1)
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.objects, other.objects)
    assert len({tuple(each.flatten().tolist()) for each in one.objects}) > 200


def test_the_loss_of_a_mask_is_its_cross_entropy() -> None:
    network = initialised(SMALL.build(3, 3), 0, "AtoB").double()
    made = planted(4)[1]
    double = Planted(made.images.double(), made.objects.double(), made.elsewhere.double())
    probability = torch.sigmoid(network.mask_logits(double.images))
    whole = 0.0
    for closed, opened, value in zip(
        made.objects.flatten(), made.elsewhere.flatten(), probability.flatten().tolist(), strict=True
    ):
        whole -= math.log(1 - value) if closed else OPEN_WEIGHT * math.log(value) if opened else 0.0
    assert mask_loss(network, double).item() == pytest.approx(whole / probability.numel(), rel=1e-9)


METHODS: dict[str, Any] = {
    "cyclegan": CycleGAN(),
    "cyclegan-no-identity": CycleGAN(identity_weight=0),
    "bigan": BiGAN(),
    "simgan": SimGAN(),
    "feature-gan": FeatureGAN(),
    "pix2pix": Pix2Pix(),
    "pix2pix-backwards": Pix2Pix(direction="BtoA"),
    "cut": CUT(num_patches=8, head_channels=4),
    "fastcut": CUT(num_patches=8, head_channels=4, identity_contrast=False, flip_equivariance=True),
}


def state_of(method: Any, generator: Any = SMALL, channels: int = 3) -> TrainingState:
    objective = method.build(generator, PatchGAN(base_channels=4, num_layers=1), channels, channels, 0)
    return TrainingState(objective, OptimizerConfig())


def steps(state: TrainingState, count: int = 4) -> list[dict[str, float]]:
    seen = []
    for step in range(count):
        torch.manual_seed(step)
        batch = Batch(a=seeded(1, 3, 32, 32, seed=step), b=seeded(1, 3, 32, 32, seed=100 + step))
        terms = train_step(state, batch, "fp32")
        state.step += 1
        seen.append({name: value.item() for name, value in terms.items()})
    return seen


@pytest.mark.parametrize("name", METHODS)
def test_the_translation_is_trained_as_without_a_gate_bit_for_bit(name: str) -> None:
    resnet = ResNetGenerator(base_channels=4, num_blocks=2)
    gated, plain = state_of(METHODS[name]), state_of(METHODS[name], resnet)
    ours, theirs = steps(gated), steps(plain)
    masks = {f"mask_{direction[0].lower()}" for direction in gated.objective.generators()}
    for one, other in zip(ours, theirs, strict=True):
        assert {key: value for key, value in one.items() if key not in masks} == other
        assert set(one) - set(other) == masks
    for direction, network in plain.objective.generators().items():
        mine = gated.objective.generators()[direction].network.state_dict()
        assert all(torch.equal(value, mine[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("weight", [2.0, 0.0])
def test_the_loss_of_the_mask_reaches_the_mask_alone_and_with_a_weight_of_0_all_losses_do(weight: float) -> None:
    for reached in (weight == 0,):
        objective = state_of(CycleGAN(), replace(SMALL, mask_weight=weight)).objective
        batch = Batch(a=seeded(1, 3, 32, 32), b=seeded(1, 3, 32, 32, seed=1))
        terms = player_losses(objective, "generator", batch, generated(objective, batch, "fp32"), "fp32")
        assert ("mask_a" in terms) == (weight > 0)
        selector = list(objective.a_to_b.selector.parameters())
        gradients = torch.autograd.grad(terms["cycle_a"], selector, allow_unused=True, retain_graph=True)
        assert any(each is not None and each.abs().max() > 0 for each in gradients) == reached
        if weight:
            translation = list(objective.a_to_b.network.parameters())
            assert torch.autograd.grad(terms["mask_a"], translation, allow_unused=True) == (None,) * len(translation)


def test_a_resnet_has_no_mask_terms_and_draws_no_random_number_for_them() -> None:
    objective = state_of(CycleGAN(), ResNetGenerator(base_channels=4, num_blocks=1)).objective
    batch = Batch(a=seeded(1, 3, 32, 32), b=seeded(1, 3, 32, 32, seed=1))
    before = torch.get_rng_state()
    terms = player_losses(objective, "generator", batch, generated(objective, batch, "fp32"), "fp32")
    assert not any(name.startswith("mask") for name in terms)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator\.mask_weight must not be negative, not -1"):
        AttentionGenerator(mask_weight=-1.0)


def test_gates_are_open_in_training_steps_with_a_loss_of_the_mask_and_nowhere_else() -> None:
    for weight in (1.0, 0.0):
        objective = state_of(CycleGAN(), replace(SMALL, mask_weight=weight)).objective
        with open_gates(objective):
            assert objective.a_to_b.open == objective.b_to_a.open == (weight > 0)
        assert not objective.a_to_b.open
        with pytest.raises(ZeroDivisionError), open_gates(objective):
            _ = 1 / 0
        assert not objective.a_to_b.open
    steps(state := state_of(CycleGAN()), 1)
    assert not state.objective.a_to_b.open


def test_masks_learn_to_close_on_strangers_which_are_drawn_differently() -> None:
    """Some seconds of training suffice for a clear difference."""
    network = initialised(AttentionGenerator(base_channels=16, num_blocks=1, num_downs=1).build(3, 3), 0, "AtoB")
    optimizer = torch.optim.Adam(network.selector.parameters(), 1e-3)
    scenes = torch.stack([picture(draw_scene(seed, "summer", 32)) for seed in range(60)])
    for step in range(260):
        torch.manual_seed(step)
        optimizer.zero_grad()
        mask_loss(network, plant(scenes[step % 56 : step % 56 + 4])).backward()
        optimizer.step()
    strangers = [draw_strangers(seed, 32) for seed in range(100, 124)]
    given = torch.stack([picture(one.pasted(draw_scene(100 + n, "summer", 32))) for n, one in enumerate(strangers)])
    inside = torch.stack([torch.from_numpy(one.mask == 255)[None] for one in strangers])
    with torch.no_grad():
        mask = network.mask(given)
    assert mask[inside].mean() < 0.6 * mask[~inside].mean()


def picture(pixels: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


# --- masks in runs, translations and exports ---------------------------------------------------------


@pytest.fixture(scope="module")
def run(drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config(
        data=DataConfig(root=str(drawn_folders), load_size=36, crop_size=32),
        generator=SMALL,
        discriminator=PatchGAN(base_channels=4, num_layers=1),
    )
    config = override(
        config,
        {"schedule.num_steps": 2, "run.num_threads": 1, "run.device": "cpu", "run.sample_every": 2, "run.log_every": 1},
    )
    out = tmp_path_factory.mktemp("attention") / "run"
    train(config, out=out)
    return out


def test_a_run_logs_the_terms_and_draws_the_masks(run: Path) -> None:
    terms = json.loads((run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert {"mask_a", "mask_b"} <= set(terms) | set(terms.get("losses", {}))
    objective = build_objective(replace(attention(), generator=SMALL, discriminator=PatchGAN(base_channels=4)))
    batch = Batch(a=seeded(1, 3, 32, 32), b=seeded(1, 3, 32, 32, seed=1))
    samples = samples_with_masks(objective, batch)
    assert list(samples["AtoB"]) == ["real_a", "mask_a", "fake_b", "rec_a", "identity_a"]
    assert list(samples["BtoA"])[1] == "mask_b"
    assert torch.equal(samples["AtoB"]["mask_a"], 2 * objective.a_to_b.mask(batch.a) - 1)
    one_way = samples_with_masks(state_of(METHODS["cut"]).objective, batch)
    assert list(one_way["AtoB"]) == ["real_a", "mask_a", "fake_b", "real_b", "identity_b"]


def test_a_translator_returns_masks_of_every_kind_of_image(run: Path) -> None:
    translator = Translator.load(run)
    pixels = draw_scene(3, "summer", 37)
    mask = translator.masks(pixels)
    assert mask.shape == (37, 37)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() < mask.max() <= 1
    for same in (PIL.Image.fromarray(pixels), Image(pixels)):
        assert np.array_equal(translator.masks(same), mask)
    assert translator.has_masks("AtoB")
    (alone,) = translator.masks([pixels], direction="AtoB")
    assert np.array_equal(alone, mask)
    tensor = picture(pixels)
    assert np.allclose(translator.masks(tensor)[0].numpy(), mask, rtol=0, atol=1e-5)
    assert translator.masks(tensor[None], direction="BtoA").shape == (1, 1, 37, 37)
    # the translation is the blend by this mask: pixels change as far as the mask allows
    change = np.abs(np.asarray(translator(pixels), float) - pixels).max(axis=2)
    assert (change <= 255 * mask + 1).all()


def test_masks_of_other_generators_are_refused_in_one_sentence(tmp_path: Path, two_folders: Path) -> None:
    network = ResNetGenerator(base_channels=4, num_blocks=1)
    config = Config(
        data=DataConfig(root=str(two_folders), load_size=36, crop_size=32),
        generator=network,
        discriminator=PatchGAN(base_channels=4, num_layers=1),
    )
    train(override(config, {"schedule.num_steps": 1, "run.device": "cpu"}), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"The generator resnet of AtoB has no masks .*generator\.kind attention"):
        Translator.load(tmp_path / "run").masks(np.zeros((32, 32, 3), np.uint8))


def test_translate_writes_masks_in_the_structure_of_the_results(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "in" / "deep"
    given.mkdir(parents=True)
    for number, size in enumerate((37, 50)):
        PIL.Image.fromarray(draw_scene(number, "summer", size)).save(given / f"{number}.jpg")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")

    def command(*more: str) -> int:
        out, masks = str(tmp_path / "out"), str(tmp_path / "masks")
        with pytest.raises(SystemExit) as left:
            cli.main(["translate", str(run), str(tmp_path / "in"), "--out", out, "--masks", masks, *more])
        assert isinstance(left.value.code, int)
        return left.value.code

    assert command() == 65  # for the broken one
    assert sorted(path.relative_to(tmp_path / "masks").as_posix() for path in (tmp_path / "masks").rglob("*.png")) == [
        "deep/0.png",
        "deep/1.png",
    ]
    with PIL.Image.open(tmp_path / "masks" / "deep" / "1.png") as mask:
        assert (mask.mode, mask.size) == ("L", (50, 50))
    translator = Translator.load(run)
    with PIL.Image.open(tmp_path / "masks" / "deep" / "0.png") as mask:
        expected = np.rint(255 * translator.masks(given / "0.jpg"))
        assert np.array_equal(np.asarray(mask), expected.astype(np.uint8))
    assert "Masks: " in capsys.readouterr().out
    assert command("--overwrite") == 65


def test_masks_replace_neither_inputs_nor_other_files(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "one.jpg")
    jobs = plan_outputs([str(tmp_path / "one.png")], tmp_path / "out").jobs
    with pytest.raises(OutputError, match="would replace another file"):
        plan_masks(jobs, tmp_path / "out", tmp_path, overwrite=True)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "one.png").touch()
    with pytest.raises(OutputError, match="outputs exist already"):
        plan_masks(jobs, tmp_path / "out", tmp_path / "masks", overwrite=False)
    both = plan_outputs([str(tmp_path / "one.png"), str(tmp_path / "one.jpg")], tmp_path / "out").jobs
    with pytest.raises(OutputError, match="would replace another file"):
        plan_masks(both, tmp_path / "out", tmp_path / "masks", overwrite=True)


def test_it_is_exported_as_a_program(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "programs", format="torch-export")
    program = torch.export.load(tmp_path / "programs" / "AtoB.pt2").module()
    image = picture(draw_scene(5, "summer", 36))[None]
    assert torch.allclose(program(image), Translator.load(run)(image), rtol=0, atol=1e-5)


def test_it_works_with_pairs() -> None:
    objective = state_of(Pix2Pix(direction="BtoA")).objective
    batch = Batch(a=seeded(1, 3, 32, 32), b=seeded(1, 3, 32, 32, seed=1))
    assert objective.generate(batch).fake.shape == batch.b.shape
    assert list(samples_with_masks(objective, batch)["BtoA"])[:2] == ["real_b", "mask_b"]


# --- strangers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_strangers_are_the_same_in_every_style_and_leave_the_rest(count: int) -> None:
    for seed in range(12):
        strangers = draw_strangers(seed, 64, count=count)
        summer, winter = draw_scene(seed, "summer", 64), draw_scene(seed, "winter", 64)
        pasted = strangers.pasted(summer)
        inside, outside = strangers.mask == 255, strangers.mask == 0
        assert 40 < inside.sum() < 2000
        assert np.array_equal(pasted[inside], strangers.pasted(winter)[inside])
        assert np.array_equal(pasted[outside], summer[outside])
        assert (pasted[inside] != summer[inside]).any(axis=1).mean() > 0.95


def test_strangers_depend_on_the_seed_and_scale_with_the_size() -> None:
    first, again, other = (draw_strangers(seed, 64) for seed in (1, 1, 2))
    assert np.array_equal(first.colours, again.colours)
    assert not np.array_equal(first.cover, other.cover)
    large = draw_strangers(1, 256).cover.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(large - first.cover).mean() < 0.005


def test_a_count_out_of_range_is_refused() -> None:
    for count in (0, 9):
        with pytest.raises(ConfigError, match=f"1 to 8 strangers, not {count}"):
            draw_strangers(0, 64, count=count)


def test_a_data_set_has_strangers_in_its_test_scenes_only(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "with", count=3, size=40, num_test=2, strangers=2)
    draw_dataset(tmp_path / "without", count=3, size=40, num_test=2)
    for split, same in (("trainA", True), ("trainB", True), ("testA", False), ("testB", False)):
        for path in sorted((tmp_path / "with" / split).iterdir()):
            assert (path.read_bytes() == (tmp_path / "without" / split / path.name).read_bytes()) == same
    for path in (tmp_path / "with" / "strangers").iterdir():
        a, b, mask = (
            np.asarray(PIL.Image.open(tmp_path / "with" / split / path.name))
            for split in ("testA", "testB", "strangers")
        )
        assert np.array_equal(a[mask == 255], b[mask == 255])
        assert (mask == 255).sum() > 40
    with pytest.raises(ConfigError, match="holds test scenes with strangers; draw into another folder"):
        draw_dataset(tmp_path / "with", count=3, size=40, num_test=2)
    with pytest.raises(ConfigError, match="holds test scenes without strangers"):
        draw_dataset(tmp_path / "without", count=3, size=40, num_test=2, strangers=1)
    with pytest.raises(ConfigError, match="--strangers must be 0 to 8, not 9"):
        draw_dataset(tmp_path / "new", count=3, size=40, strangers=9)


def test_the_command_line_draws_strangers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unpaired", "data", "draw"]
    small = ["--count", "2", "--num-test", "1", "--size", "32", "--b", "blossom", "--strangers", "1"]
    subprocess.run([*command, str(tmp_path / "u"), *small], check=True, capture_output=True)
    assert len(list((tmp_path / "u" / "strangers").iterdir())) == 1
    refused = subprocess.run(
        [*command, str(tmp_path / "p"), *small, "--paired"], check=False, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "--strangers is for unpaired scenes" in refused.stderr
