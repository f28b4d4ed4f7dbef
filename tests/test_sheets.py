"""Translating images that hold A and B side by side: the input half alone, and never half of an ordinary photograph."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from unpaired.cli import main
from unpaired.errors import ConfigError, ImageError, ModelError
from unpaired.images import Image, half_of, read_image, write_image
from unpaired.models.selection_info import SheetInfo
from unpaired.networks import ResNetGenerator
from unpaired.objectives import Pix2Pix
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.scenes.draw import draw_dataset, draw_pairs
from unpaired.translate import (
    DirectionInfo,
    Job,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    read_model,
    take_halves,
    translate_files,
)

SQUARES = SheetInfo(narrowest=2.0, widest=2.0)
MAPS = SheetInfo(narrowest=1.9, widest=2.4)


class Identity(nn.Module):
    """Stands in for a generator that changes nothing."""

    def forward(self, images):
        return images


def info(sheets: SheetInfo | None) -> ModelInfo:
    direction = DirectionInfo(generator=ResNetGenerator(base_channels=4, num_blocks=1))
    return ModelInfo(
        directions={"AtoB": direction, "BtoA": direction},
        domains={"A": "labels", "B": "photographs"},
        training=TrainingInfo(step=7, seed=1, load_size=36, crop_size=32, objective="pix2pix"),
        sheets=sheets,
    )


def pictures(folder: Path, *sizes: tuple[int, int], suffix: str = ".png", channels: int = 3) -> tuple[Job, ...]:
    """Write a picture of noise for each (width, height); return the jobs that translate them all."""
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, channels), dtype=np.uint8)
        write_image(folder / f"{number}{suffix}", Image(pixels))
    return plan_outputs([folder], folder.parent / "out").jobs


@pytest.mark.parametrize(("direction", "half"), [("AtoB", "left"), ("BtoA", "right")])
def test_the_input_half_is_translated_and_the_result_is_as_large_as_it(
    tmp_path: Path, direction: str, half: str
) -> None:
    jobs, note = take_halves(pictures(tmp_path / "in", (64, 32), (48, 24)), info(SQUARES), direction=direction)
    assert note == f"Took the {half} half of 2 side-by-side images, as in training; --pairs no translates them whole."
    translator = Translator(info(SQUARES), {"AtoB": Identity(), "BtoA": Identity()}, device="cpu")
    assert translate_files(translator, jobs, direction=direction) == []
    for job in jobs:
        whole = read_image(job.source)
        assert (read_image(job.target).pixels == half_of(whole, left=half == "left").pixels).all()


@pytest.mark.parametrize(
    ("sheets", "sizes", "taken"),
    [
        (SQUARES, [(64, 32)], True),
        (SQUARES, [(64, 32), (600, 300), (62, 31)], True),
        (SQUARES, [(64, 32), (64, 33)], False),  # another shape than in training
        (SQUARES, [(64, 32), (32, 32)], False),  # an ordinary image among pairs
        (SQUARES, [(32, 32)], False),
        (SQUARES, [(65, 33)], False),  # odd
        (MAPS, [(64, 32), (72, 32)], True),
        (MAPS, [(64, 32), (96, 32)], False),
        (None, [(64, 32)], False),  # nobody recorded how it was trained
    ],
)
def test_without_being_asked_only_what_looks_like_the_pairs_of_training_is_halved(
    tmp_path: Path, sheets: SheetInfo | None, sizes: list[tuple[int, int]], taken: bool
) -> None:
    jobs, note = take_halves(pictures(tmp_path / "in", *sizes), info(sheets))
    assert {job.half for job in jobs} == {"left" if taken else ""}
    assert note.startswith("Took the left half") == taken


def test_pairs_among_other_images_are_translated_whole_and_that_is_said(tmp_path: Path) -> None:
    jobs = pictures(tmp_path / "in", (64, 32), (40, 40))
    assert "but not all, look like the side-by-side pairs of training" in take_halves(jobs, info(SQUARES))[1]
    assert take_halves(jobs[1:], info(SQUARES))[1] == ""


@pytest.mark.parametrize(("size", "advised"), [((64, 32), True), ((64, 33), False), ((32, 32), False)])
def test_a_model_that_cannot_know_names_the_option_for_images_of_two_squares(
    tmp_path: Path, size: tuple[int, int], advised: bool
) -> None:
    jobs, note = take_halves(pictures(tmp_path / "in", size, size), info(None))
    assert {job.half for job in jobs} == {""}
    assert ("--pairs side-by-side" in note) == advised


def test_what_is_asked_for_is_done(tmp_path: Path) -> None:
    jobs = pictures(tmp_path / "in", (40, 40), (64, 32))
    halved, note = take_halves(jobs, info(None), pairs="side-by-side")
    assert {job.half for job in halved} == {"left"}
    assert note == "Took the left half of 2 side-by-side images."
    assert take_halves(jobs[1:], info(SQUARES), pairs="no") == (jobs[1:], "")
    with pytest.raises(ConfigError, match="pairs"):
        take_halves(jobs, info(None), pairs="yes")  # type: ignore[arg-type]


def test_an_odd_width_fails_by_name_and_the_others_are_made(tmp_path: Path) -> None:
    jobs, _ = take_halves(pictures(tmp_path / "in", (41, 40), (64, 32)), info(None), pairs="side-by-side")
    (failed,) = translate_files(Translator(info(None), {"AtoB": Identity(), "BtoA": Identity()}, device="cpu"), jobs)
    assert failed.source.name == "0.png"
    assert "0.png is 41 pixels wide, which is odd" in str(failed.error)
    assert read_image(jobs[1].target).width == 32


def test_a_file_that_cannot_be_read_decides_nothing(tmp_path: Path) -> None:
    pictures(tmp_path / "in", (64, 32))
    (tmp_path / "in" / "broken.png").write_text("no image")
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out").jobs
    assert {job.half for job in take_halves(jobs, info(SQUARES))[0]} == {"left"}
    (tmp_path / "in" / "0.png").unlink()
    assert take_halves(jobs, info(SQUARES)) == (jobs, "")


def test_volumes_are_never_halved(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "in").mkdir()
    nibabel.Nifti1Image(np.zeros((64, 32, 2), np.int16), np.eye(4)).to_filename(tmp_path / "in" / "x.nii")
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out").jobs
    assert take_halves(jobs, info(SQUARES)) == (jobs, "")
    with pytest.raises(ImageError, match=r"x\.nii is DICOM, a volume or a stack"):
        take_halves(jobs, info(SQUARES), pairs="side-by-side")


def test_transparency_is_halved_too(tmp_path: Path) -> None:
    image = Image(np.zeros((8, 16, 3), np.uint8), alpha=np.repeat(np.arange(16, dtype=np.uint8)[None], 8, axis=0))
    write_image(tmp_path / "x.png", image)
    job = Job(tmp_path / "x.png", tmp_path / "y.png", half="right")
    translate_files(Translator(info(None), {"AtoB": Identity(), "BtoA": Identity()}, device="cpu"), [job])
    alpha = read_image(tmp_path / "y.png").alpha
    assert alpha is not None
    assert alpha[0].tolist() == list(range(8, 16))


@pytest.fixture(scope="module")
def pix2pix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one step on 20 pairs side by side; its data lie beside it."""
    from unpaired.data.datasets import DataConfig
    from unpaired.networks import PatchGAN
    from unpaired.training.run_config import RunConfig
    from unpaired.training.schedule import ScheduleConfig

    root = tmp_path_factory.mktemp("sheets")
    draw_pairs(root / "labels2summer", count=20, num_test=3, size=32)
    config = Config(
        data=DataConfig(pairing="paired", root=str(root / "labels2summer"), load_size=36, crop_size=32),
        objective=Pix2Pix(),
        generator=ResNetGenerator(base_channels=4, num_blocks=1),
        discriminator=PatchGAN(base_channels=4, num_layers=1),
        schedule=ScheduleConfig(num_steps=1),
        run=RunConfig(device="cpu", num_threads=1, log_every=1, sample_every=1, num_samples=1, checkpoint_every=1),
    )
    train(config, out=root / "run")
    return root / "run"


def _code(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_a_model_trained_on_pairs_side_by_side_says_so_and_takes_a_folder_of_them(
    pix2pix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_model(pix2pix)[0].sheets == SQUARES
    assert "A and B side by side" in (pix2pix / "model" / "README.md").read_text()
    test = pix2pix.parent / "labels2summer" / "test"
    assert _code("translate", pix2pix, test, "--out", tmp_path / "whole", "--device", "cpu", "--pairs", "no") == 0
    assert "side-by-side" not in capsys.readouterr().out
    assert _code("translate", pix2pix, test, "--out", tmp_path / "half", "--device", "cpu", "--scores") == 0
    assert "Took the left half of 3 side-by-side images" in capsys.readouterr().out
    sizes = {
        name: {read_image(path).pixels.shape for path in (tmp_path / name).glob("*.png")} for name in ("whole", "half")
    }
    assert sizes == {"whole": {(32, 64, 3)}, "half": {(32, 32, 3)}}
    with (tmp_path / "half" / "scores.csv").open(newline="") as file:
        assert [row["foreign"] for row in csv.DictReader(file)] == ["no"] * 3  # the halves, as in training


def test_a_model_trained_on_two_folders_does_not(toy_config: Config, two_folders: Path, tmp_path: Path) -> None:
    config = replace(toy_config, data=replace(toy_config.data, root=str(two_folders)))
    train(replace(config, schedule=replace(config.schedule, num_steps=1)), out=tmp_path / "run")
    assert read_model(tmp_path / "run")[0].sheets is None
    assert "side_by_side" not in json.loads((tmp_path / "run" / "model" / "model.json").read_text())


@pytest.mark.parametrize("said", ['{"narrowest": 2.0}', '{"narrowest": Infinity, "widest": Infinity}', "[2, 2]", '"2"'])
def test_ratios_that_are_none_are_refused_in_a_sentence(pix2pix: Path, tmp_path: Path, said: str) -> None:
    (tmp_path / "model").mkdir()
    described = json.loads((pix2pix / "model" / "model.json").read_text())
    described["side_by_side"] = json.loads(said)
    (tmp_path / "model" / "model.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="side_by_side"):
        read_model(tmp_path / "model")


def test_drawn_scenes_that_are_no_pairs_train_no_recipe_of_pairs(tmp_path: Path) -> None:
    draw_dataset(tmp_path, count=3, num_test=1, size=32)
    names = {split: {path.stem for path in (tmp_path / split).iterdir()} for split in ("trainA", "trainB")}
    assert not names["trainA"] & names["trainB"]
    assert _code("train", tmp_path, "--recipe", "pix2pix", "--out", tmp_path / "run", "--device", "cpu") == 65
