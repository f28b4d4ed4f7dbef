"""Data folders in another layout: the error ends in a command, and that command trains."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unpaired
from unpaired.cli import main
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.pairs import looks_side_by_side
from unpaired.errors import DataError, LayoutError
from unpaired.images import Image, write_image


def put(folder: Path, count: int = 2, width: int = 40) -> Path:
    """Make a folder of small images."""
    folder.mkdir(parents=True)
    for number in range(count):
        write_image(folder / f"{number}.png", Image(pixels=np.full((20, width, 3), number, np.uint8)))
    return folder


LAYOUTS: dict[str, tuple[list[str], list[str], str]] = {
    # name: folders, words after `unpaired train` with {0} for the data folder, the argument that was typed
    "spelled": (["Train_A", "Train_B", "Test_A", "Test_B"], ["--a", "{0}/Train_A", "--b", "{0}/Train_B"], "{0}"),
    "lower": (["train-a", "train-b"], ["--a", "{0}/train-a", "--b", "{0}/train-b"], "{0}"),
    "letters": (["A", "B"], ["--a", "{0}/A", "--b", "{0}/B"], "{0}"),
    "letters in train": (["train/A", "train/B"], ["--a", "{0}/train/A", "--b", "{0}/train/B"], "{0}"),
    "two classes": (["cats", "dogs", ".cache"], ["--a", "{0}/cats", "--b", "{0}/dogs"], "{0}"),
    "classes of splits": (
        ["train/cats", "train/dogs", "test/cats", "test/dogs"],
        ["--a", "{0}/train/cats", "--b", "{0}/train/dogs"],
        "{0}",
    ),
    "three classes": (["birds", "cats", "dogs"], ["--a", "{0}/birds", "--b", "{0}/cats"], "{0}"),
    "half named": (["trainA", "photos"], ["--a", "{0}/trainA", "--b", "{0}/photos"], "{0}"),
    "one folder further down": (["x/trainA", "x/trainB"], ["{0}/x"], "{0}"),
    "classes further down": (["x/cats", "x/dogs"], ["--a", "{0}/x/cats", "--b", "{0}/x/dogs"], "{0}"),
    "half of a data folder": (["trainA", "trainB"], ["{0}"], "{0}/trainA"),
    "elsewhere": (["cats", "dogs"], ["--a", "{0}/cats", "--b", "{0}/dogs"], "{0}/cats"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_in_the_error_trains(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders, words, typed = LAYOUTS[layout]
    root = tmp_path / "my data"
    for name in folders:
        put(root / name, width=30)
    command = printed_command(["train", typed.format(root), "--recipe", "fast", "--data.flip", "no"], capsys)
    assert command == [*(word.format(root) for word in words), "--recipe", "fast", "--data.flip", "no"]
    config = configured_by(command, monkeypatch)
    assert (config.data.flip, config.objective.kind) == (False, "cyclegan")
    domains = open_domains(config.data)
    assert domains.described(config.data) == "2 + 2 images"


def printed_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run a command line that fails, and return the words after `unpaired train` at the end of its error."""
    with pytest.raises(SystemExit):
        main(words)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return shlex.split(said.rpartition("unpaired train")[2])


def configured_by(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the configuration that `unpaired train` with these words would train with."""
    found: list[unpaired.Config] = []

    def caught(config: unpaired.Config, **_: object) -> None:
        found.append(config)
        raise DataError("caught")

    monkeypatch.setattr("unpaired.runs.entry.train_config", caught)
    with pytest.raises(SystemExit):
        main(["train", *words])
    return found[0]


def test_two_folders_in_place_of_one_get_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cats, dogs = (str(put(tmp_path / name)) for name in ("cats", "dogs"))
    command = printed_command(["train", "--recipe", "fast", cats, dogs, "--size", "64"], capsys)
    assert command == ["--a", cats, "--b", dogs, "--recipe", "fast", "--size", "64"]
    assert len(open_domains(configured_by(command, monkeypatch).data).train_b) == 2


@pytest.mark.parametrize("inside", ["", "train"])
def test_a_folder_of_pairs_points_to_pix2pix(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "pairs" / inside)
    root = str(tmp_path / "pairs")
    command = printed_command(["train", root, "--recipe=fast", "--size", "32"], capsys)
    assert command == [root, "--recipe", "pix2pix", "--size", "32"]
    config = configured_by(command, monkeypatch)
    domains = open_domains(config.data)
    assert domains.described(config.data) == "2 pairs"
    assert domains.train_b[0].width == 20


def test_a_flat_folder_needs_the_other_domain(tmp_path: Path) -> None:
    root = put(tmp_path / "flat", width=30)
    with pytest.raises(LayoutError, match="the images of one domain") as error:
        open_domains(DataConfig(root=str(root)))
    assert error.value.words == ("--a", str(root), "--b", "FOLDER")


def test_images_of_another_shape_are_no_pairs(tmp_path: Path) -> None:
    assert looks_side_by_side(put(tmp_path / "wide"))
    assert not looks_side_by_side(put(tmp_path / "square", width=20))
    assert not looks_side_by_side(tmp_path / "absent")
    shutil.copytree(tmp_path / "wide", tmp_path / "mixed")
    shutil.copy(tmp_path / "square" / "0.png", tmp_path / "mixed" / "3.png")
    assert not looks_side_by_side(tmp_path / "mixed")
    with pytest.raises(DataError, match="holds no pairs"):
        open_domains(DataConfig(root=str(tmp_path / "square"), pairing="paired"))


def test_pairs_in_folders_of_another_spelling_are_suggested(tmp_path: Path) -> None:
    for name in ("Train_A", "Train_B"):
        put(tmp_path / name)
    with pytest.raises(LayoutError, match="holds no pairs; its folders Train_A and Train_B") as error:
        open_domains(DataConfig(root=str(tmp_path), pairing="paired"))
    assert len(error.value.words) == 4
    a, b = error.value.words[1], error.value.words[3]
    assert len(open_domains(replace(DataConfig(pairing="paired"), a=a, b=b)).train_b) == 2


def test_a_run_and_a_model_are_named(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(LayoutError, match=r"is a run and .*: unpaired train --config .*config.yaml --out "):
        open_domains(DataConfig(root=str(tmp_path / "run")))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").touch()
    with pytest.raises(DataError, match="unpaired translate"):
        open_domains(DataConfig(root=str(tmp_path / "model")))


def test_an_empty_folder_keeps_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no trainA and no trainB \(it holds no folder\)"):
        open_domains(DataConfig(root=str(tmp_path)))


def test_folders_without_common_names_are_no_pairs(tmp_path: Path) -> None:
    put(tmp_path / "cats", width=30)
    shutil.copy(put(tmp_path / "dogs", width=30) / "0.png", tmp_path / "dogs" / "7.png")
    with pytest.raises(LayoutError, match=r"holds no pairs; .* domains of an unpaired recipe") as error:
        open_domains(DataConfig(root=str(tmp_path), pairing="paired"))
    assert error.value.words[-2:] == ("--recipe", "paper")
