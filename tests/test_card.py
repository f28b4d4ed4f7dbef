"""The model card: its commands and its Python code, run as they stand in a published model."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

import unpaired
from unpaired import cli
from unpaired.config import override


def code_of(model: Path) -> tuple[list[list[str]], str]:
    """Return the words of the card's `unpaired` commands and its Python code, the model's path filled in."""
    card = (model / "README.md").read_text(encoding="utf-8").replace("PATH_TO_THIS_FOLDER", str(model))
    shell, python = re.findall(r"(?:^ {4}.*\n)+", card, flags=re.MULTILINE)
    commands = [shlex.split(line) for line in shell.splitlines()]
    assert commands[0] == ["pip", "install", "unpaired"]
    return commands[1:], re.sub(r"^ {4}", "", python, flags=re.MULTILINE)


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
    assert run_python(python, tmp_path)["translated"].size == (50, 41)
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
