"""The model card: its commands and its Python code, run as they stand in a published model."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import unpaired
from unpaired import cli
from unpaired.config import override
from unpaired.images import parse_range, write_image
from unpaired.models.domain_values import DomainValues
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

EXAMPLES = Path(__file__).parent.parent / "examples"


def code_of(model: Path) -> tuple[list[list[str]], str]:
    """Return the words of the card's `unpaired` commands and its Python code, the model's path filled in."""
    card = (model / "README.md").read_text(encoding="utf-8").replace("PATH_TO_THIS_FOLDER", str(model))
    shell, python = re.findall(r"(?:^ {4}.*\n)+", card, flags=re.MULTILINE)
    return [shlex.split(line) for line in shell.splitlines()], re.sub(r"^ {4}", "", python, flags=re.MULTILINE)


def run_python(code: str, folder: Path) -> dict[str, Any]:
    (folder / "snippet.py").write_text(code, encoding="utf-8")
    return runpy.run_path(str(folder / "snippet.py"))


def run_commands(commands: list[list[str]]) -> None:
    for program, *words in commands:
        assert program == "unpaired"
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        assert left.value.code == 0, words


def test_the_card_of_a_translation_model_translates_an_image(
    toy_config: unpaired.Config, two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unpaired.train(override(toy_config, {"data.root": str(two_folders), "schedule.num_steps": 2}), out="run")
    PIL.Image.new("RGB", (50, 41), "green").save("image.jpg")
    commands, python = code_of(tmp_path / "run" / "model")
    translated = run_python(python, tmp_path)["translated"]
    assert (translated.width, translated.height) == (50, 41)
    with PIL.Image.open("translated.jpg") as saved:
        assert saved.size == (50, 41)
    run_commands([[word.replace("IMAGES", "image.jpg") for word in words] for words in commands])
    with PIL.Image.open(tmp_path / "run" / "model" / "translated" / "AtoB" / "image.jpg") as made:
        assert made.size == (50, 41)


def test_the_card_of_a_model_that_draws_from_noise_draws(
    two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"generator.base_channels": 4, "discriminator.base_channels": 4, "data.batch_size": 2, "run.device": "cpu"}
    config = unpaired.recipes.at_size(unpaired.recipes.gan(), 32)
    unpaired.train(
        override(config, {"data.b": str(two_folders / "trainB"), "schedule.num_steps": 2, **small}), out="run"
    )
    commands, python = code_of(tmp_path / "run" / "model")
    assert [image.size for image in run_python(python, tmp_path)["images"]] == [(32, 32)] * 16
    run_commands(commands)
    assert len(list((tmp_path / "run" / "model" / "sampled").iterdir())) == 16


def test_the_card_of_a_model_of_16_bit_images_with_a_network_of_its_own_file_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registries: None
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "generator.py", "generator.py")
    config = unpaired.recipes.load_file("generator.py").SqueezeGenerator()
    values = DomainValues(range=parse_range("0..4095", "range"), dtype="uint16")
    info = ModelInfo(
        directions={"BtoA": DirectionInfo(generator=config, in_channels=5, out_channels=5)},
        domains={"A": "a", "B": "b"},
        training=TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan"),
        values={"A": values, "B": values},
    )
    write_model(tmp_path / "model", info, {"BtoA": config.build(5, 5)})
    write_image(tmp_path / "image.tif", unpaired.Image(pixels=np.full((24, 32, 5), 700, np.uint16)))
    commands, python = code_of(tmp_path / "model")
    assert commands == [
        [
            *["unpaired", "translate"],
            str(tmp_path / "model"),
            "IMAGES",
            "--direction",
            "BtoA",
            "--recipe",
            "generator.py",
        ]
    ]
    assert run_python(python, tmp_path)["translated"].pixels.dtype == np.uint16
    run_commands([[word.replace("IMAGES", "image.tif") for word in words] for words in commands])
