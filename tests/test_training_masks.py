"""Training with masks: composites keep the background bit for bit, losses are weighted, masks follow their images."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.cli import main
from unpaired.cli.strengths import mask_option
from unpaired.config import override
from unpaired.data import loading
from unpaired.data.datasets import Batch, DataConfig, UnpairedDataset
from unpaired.data.domains import open_domains
from unpaired.doctor.checkup import check_data
from unpaired.errors import ConfigError, DataError, Interrupted, LayoutError
from unpaired.images import Image, read_image, write_image
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CUT, CycleGAN
from unpaired.objectives.losses import discriminator_adversarial, generator_adversarial, l1
from unpaired.objectives.masked import (
    composite,
    masked_discriminator_adversarial,
    masked_generator_adversarial,
    masked_l1,
)
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.training.progress import Progress
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import both_players, total
from unpaired.translate import Translator, read_model

KINDS = ("lsgan", "cross_entropy", "hinge")


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def square_mask(n: int = 2, height: int = 24, width: int = 20) -> Tensor:
    mask = torch.zeros(n, 1, height, width, dtype=torch.float64)
    mask[:, :, 4:14, 6:16] = 1
    return mask


# --- the terms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_terms_with_a_white_mask_are_those_without(kind: str) -> None:
    white = torch.ones(2, 1, 24, 20, dtype=torch.float64)
    x, y, real, fake = uniform(2, 3, 24, 20), uniform(2, 3, 24, 20, seed=1), uniform(2, 1, 6, 5), uniform(2, 1, 6, 5)
    torch.testing.assert_close(masked_l1(x, y, white), l1(x, y))
    torch.testing.assert_close(masked_generator_adversarial(kind, fake, white), generator_adversarial(kind, fake))
    weighted = masked_discriminator_adversarial(kind, real, fake, white, white)
    torch.testing.assert_close(weighted, discriminator_adversarial(kind, real, fake))
    assert composite(x, y, white).equal(y)


@pytest.mark.parametrize("kind", KINDS)
def test_patches_are_weighted_by_the_area_of_the_mask(kind: str) -> None:
    mask, scores, real = square_mask(), uniform(2, 1, 6, 5), uniform(2, 1, 6, 5, seed=3)
    cells = F.avg_pool2d(mask, 4)
    assert cells.unique().tolist() == [0.0, 0.25, 0.5, 1.0]
    each = torch.stack([generator_adversarial(kind, score) for score in scores.flatten()]).reshape(2, 30)
    weights = cells.flatten(1) / cells.flatten(1).sum(1, keepdim=True)
    expected = (each * weights).sum(1).mean()
    torch.testing.assert_close(masked_generator_adversarial(kind, scores, mask), expected)
    # A score outside of the mask has no influence.
    other = scores.clone()
    other[:, :, -1] += 5
    assert masked_generator_adversarial(kind, other, mask) == masked_generator_adversarial(kind, scores, mask)
    one = masked_discriminator_adversarial(kind, real, scores, torch.ones_like(mask), mask)
    assert one == masked_discriminator_adversarial(kind, real, other, torch.ones_like(mask), mask)


def test_pixel_losses_average_over_the_mask_of_each_image() -> None:
    x, y, mask = uniform(2, 3, 24, 20), uniform(2, 3, 24, 20, seed=1), square_mask()
    mask[1, :, :, :10] = 0
    inside = [(x[n] - y[n]).abs()[:, mask[n, 0] > 0].mean() for n in range(2)]
    torch.testing.assert_close(masked_l1(x, y, mask), (inside[0] + inside[1]) / 2)
    assert masked_l1(x, y, torch.zeros_like(mask)) == 0


# --- a step ----------------------------------------------------------------------------------------

NETWORKS = ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1)


def masked_batch(n: int = 2) -> Batch:
    mask = square_mask(n)
    return Batch(uniform(n, 3, 24, 20), uniform(n, 3, 24, 20, seed=1), mask, mask.flip(2))


@pytest.mark.parametrize("method", [CycleGAN(pool_size=2), CUT(num_patches=16, flip_equivariance=True)])
def test_translations_keep_the_background_and_its_pixels_have_no_influence_on_the_generator(method: Any) -> None:
    objective = method.build(*NETWORKS, 3, 3, 0).double()
    batch = masked_batch()
    images = objective.generate(batch)
    source = getattr(images, "input_a", batch.a)
    outside = (batch.mask_a == 0).flip(3) if getattr(images, "mirrored", False) else batch.mask_a == 0
    assert images.fake_b[outside.expand_as(source)].equal(source[outside.expand_as(source)])
    if isinstance(method, CycleGAN):
        assert images.rec_a[outside.expand_as(source)].equal(batch.a[outside.expand_as(source)])
        assert images.fake_a[(batch.mask_b == 0).expand_as(source)].equal(
            batch.b[(batch.mask_b == 0).expand_as(source)]
        )
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    assert all(torch.isfinite(term) for term in terms.values())
    columns = objective.samples(batch)["AtoB"]
    assert columns["fake_b"][(batch.mask_a == 0).expand_as(source)].equal(
        batch.a[(batch.mask_a == 0).expand_as(source)]
    )


@pytest.mark.parametrize("method", [CycleGAN(pool_size=0), CUT(num_patches=16)])
def test_discriminators_do_not_see_backgrounds(method: Any) -> None:
    objective = method.build(*NETWORKS, 3, 3, 0).double()
    batch = masked_batch()
    images = objective.generate(batch)
    other = replace(batch, b=torch.where(batch.mask_b == 0, 0.5, batch.b))
    assert objective.discriminator_losses(other, images) == objective.discriminator_losses(batch, images)
    moved = replace(images, fake_b=torch.where(batch.mask_a == 0, 0.5, images.fake_b))
    before, after = objective.generator_losses(batch, images), objective.generator_losses(batch, moved)
    assert after["adversarial_b"] == before["adversarial_b"]


def test_the_pool_keeps_images_with_their_masks() -> None:
    objective = CycleGAN(pool_size=2, adversarial_weight=1).build(*NETWORKS, 3, 3, 0).double()
    batch = masked_batch()
    objective.discriminator_losses(batch, objective.generate(batch))
    assert [tuple(image.shape) for image in objective.pools["B"].state()] == [(4, 24, 20)] * 2
    assert objective.pools["B"].state()[0][3:].equal(batch.mask_a[0])


def test_micro_batches_add_up_to_the_whole_batch() -> None:
    state = TrainingState(CycleGAN(pool_size=0).build(*NETWORKS, 3, 3, 0).double(), OptimizerConfig())
    batch = masked_batch()
    whole = both_players(state, batch, "fp32", lambda player, terms: None)
    parts = TrainingState(CycleGAN(pool_size=0).build(*NETWORKS, 3, 3, 0).double(), OptimizerConfig())
    parts.objective.num_micro_batches = 2
    torch.testing.assert_close(both_players(parts, batch, "fp32", lambda player, terms: None), whole)
    assert total(whole) > 0


# --- batches ---------------------------------------------------------------------------------------


class Columns:
    """Images, and masks, whose value is the column; as large as asked for."""

    def __init__(self, channels: int, count: int = 5) -> None:
        self.channels, self.count = channels, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        rows, columns = np.mgrid[:40, :40]
        value = (columns + 40 * ((rows + index) % 5)).astype(np.uint8)
        return Image(np.ascontiguousarray(np.repeat(value[:, :, None], self.channels, 2)))

    def name(self, index: int) -> str:
        return f"{index}.png"


def test_masks_are_cropped_and_mirrored_like_their_images_and_travel_through_loaders() -> None:
    config = DataConfig(preprocess="crop", crop_size=32, load_size=36, batch_size=2)
    masks: Any = (Columns(1), Columns(1))
    dataset = UnpairedDataset(Columns(3), Columns(3), config, 0, masks)
    for batch in (dataset[1], dataset[2], dataset.preview(2)):
        for images, weights in ((batch.a, batch.mask_a), (batch.b, batch.mask_b)):
            assert weights is not None
            torch.testing.assert_close(255 * weights, (images[:, :1] + 1) * 127.5, atol=1e-3, rtol=0)
    sent = loading._made(dataset, 2)
    assert isinstance(sent, dict)
    again = Batch(**{name: loading._tensor(value) for name, value in sent.items()})
    assert again.mask_b is not None
    assert again.mask_b.equal(dataset[2].mask_b)
    plain = UnpairedDataset(Columns(3), Columns(3), config, 0)
    assert plain[2].a.equal(again.a)
    assert plain[2].mask_a is None


def write_masks(root: Path, left: int = 10) -> Path:
    """Write a mask for every training image of `two_folders`: black on the left."""
    for domain in "AB":
        for path in sorted((root / f"train{domain}").iterdir()):
            image = read_image(path)
            mask = np.full((image.height, image.width, 1), 255, np.uint8)
            mask[:, :left] = 0
            write_image(root / f"mask{domain}" / path.name, Image(mask))
    return root


@pytest.fixture
def masked_folders(two_folders: Path) -> Path:
    for domain in "AB":
        (two_folders / f"mask{domain}").mkdir()
    return write_masks(two_folders)


def remove_one(root: Path) -> None:
    (root / "maskA" / "003.png").unlink()


def enlarge_one(root: Path) -> None:
    write_image(root / "maskB" / "001.png", Image(np.zeros((41, 40, 1), np.uint8)))


def colour_one(root: Path) -> None:
    write_image(root / "maskB" / "001.png", read_image(root / "trainB" / "001.png"))


def double_one(root: Path) -> None:
    write_image(root / "maskA" / "003.tif", read_image(root / "maskA" / "003.png"))


def empty_one_folder(root: Path) -> None:
    for path in (root / "maskB").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_one, r"maskA has no mask for 003\.png; .* --data\.masks off trains without"),
        (enlarge_one, r"maskB/001\.png has 40 x 41 pixels and its image 40 x 40; make them equal"),
        (colour_one, r"maskB/001\.png: A mask is grey"),
        (double_one, r"003\.png and 003\.tif in .*maskA are both masks of one image"),
        (empty_one_folder, r"there are none in .*maskB; add them, or give --data\.masks off"),
    ],
)
def test_faulty_masks_are_named_before_step_one(
    masked_folders: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(masked_folders)
    data = DataConfig(root=str(masked_folders), load_size=36, crop_size=32)
    with pytest.raises(DataError, match=sentence):
        open_domains(data).check(data)
    (finding,) = [one for one in check_data(data).findings if one.fault.code == "masks"]
    assert re.search(sentence, finding.items[0].detail)
    off = replace(data, masks="off")
    assert open_domains(off).dataset(off, 0)[1].mask_a is None


def test_masks_are_found_beside_the_folders_and_used_for_previews(masked_folders: Path) -> None:
    whole = DataConfig(root=str(masked_folders), load_size=36, crop_size=32)
    apart = replace(whole, root="", a=str(masked_folders / "trainA"), b=str(masked_folders / "trainB"))
    for data in (whole, apart):
        domains = open_domains(data)
        assert domains.resolved(data).masks == "on"
        assert domains.previews(data, 0).preview(2).mask_a is not None
        notes = domains.check(data)
        assert "The masks of A cover 75 % of its pixels." in notes
    assert not {one.fault.code for one in check_data(whole).findings} & {"masks", "outside"}
    write_image(masked_folders / "maskA" / "000.png", Image(np.zeros((40, 40, 1), np.uint8)))
    assert "; 1 are black everywhere" in " ".join(open_domains(whole).check(whole))


def test_folders_of_masks_are_no_domains(masked_folders: Path) -> None:
    for domain in "AB":
        (masked_folders / f"train{domain}").rename(masked_folders / f"Train_{domain}")
    with pytest.raises(LayoutError) as refused:
        open_domains(DataConfig(root=str(masked_folders)))
    assert [Path(word).name for word in refused.value.words] == ["--a", "Train_A", "--b", "Train_B"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"objective.adversarial": "wgan_gp", "discriminator.norm": "none"}, "wgan_gp does not train with masks"),
        ({"objective.augmentation": ("colour", "cutout")}, "augmentation cutout would change images and not their"),
        ({"data.channels_b": 1, "objective.identity_weight": 0.0}, "the domains have 3 and 1 channels"),
    ],
)
def test_methods_that_cannot_use_masks_refuse_in_one_sentence(
    toy_config: Config, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        override(override(toy_config, settings), {"data.masks": "on"})


def test_other_methods_refuse_masks_also_if_they_are_found(
    masked_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", str(masked_folders), "--recipe", "simgan", "--out", str(tmp_path / "run"), "--steps", "1"])
    sentence = "objective.kind simgan does not train with masks, only cyclegan and cut do; give --data.masks off."
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


# --- a run -----------------------------------------------------------------------------------------


def test_a_run_with_masks_resumes_bit_for_bit_and_says_so(
    toy_config: Config, masked_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = override(toy_config, {"data.root": str(masked_folders), "schedule.num_steps": 4})

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(config, out=run, listener=stop)
    with pytest.raises(ConfigError, match=r"data\.masks"):
        train(override(config, {"data.masks": "off"}), out=run)
    write_masks(masked_folders, left=11)
    with pytest.raises(DataError, match="The masks of domain A and B changed since"):
        train(config, out=run)
    write_masks(masked_folders)
    train(config, out=run)
    whole = train(config, out=tmp_path / "whole")
    assert info(run).state_sha256 == whole.state_sha256
    assert "masks: 'on'" in (run / "config.yaml").read_text().replace('"', "'")
    assert "<dt>masks</dt>" in (run / "report.html").read_text()
    assert "training used masks" in (run / "model" / "README.md").read_text()
    assert read_model(run / "model")[0].masked
    assert Translator.load(run).info.masked
    assert (mask_option(run), mask_option(tmp_path)) == (" --mask MASKS", "")
    image = str(masked_folders / "trainA" / "000.png")
    mask = str(masked_folders / "maskA" / "000.png")
    sentence = "This model was trained with masks"
    for words, says in (([], True), (["--mask", mask, "--overwrite"], False)):
        with pytest.raises(SystemExit):
            main(["translate", str(run), image, *words])
        assert (sentence in capsys.readouterr().out) == says
