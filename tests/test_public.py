"""The public names: all there, all described, and enough for the main job from Python."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import unpaired
from unpaired import errors
from unpaired.config import override

SOURCE = Path(unpaired.__file__).parent


def test_every_public_name_can_be_imported_and_is_described() -> None:
    for name in unpaired.__all__:
        found = getattr(unpaired, name)
        if not isinstance(found, str):
            assert inspect.getdoc(found), name
    assert dir(unpaired) == unpaired.__all__


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match="Translator"):
        _ = unpaired.translate_all  # type: ignore[attr-defined]


def test_training_and_translating_from_python(toy_config: unpaired.Config, two_folders: Path, tmp_path: Path) -> None:
    run = unpaired.train(override(toy_config, {"data.root": str(two_folders)}), out=tmp_path / "run")
    assert run.finished
    assert unpaired.info(tmp_path / "run") == run
    translator = unpaired.load(tmp_path / "run")
    picture = PIL.Image.new("RGBA", (37, 22), (200, 30, 30, 128))
    made = translator(picture)
    assert (made.size, made.mode) == ((37, 22), "RGBA")
    assert np.asarray(made)[..., 3].tolist() == np.asarray(picture)[..., 3].tolist()
    assert translator(torch.zeros(2, 3, 21, 35), direction="BtoA").shape == (2, 3, 21, 35)
    assert translator(np.zeros((21, 35, 3), np.uint8)).shape == (21, 35, 3)


def test_every_error_has_a_code_that_a_script_can_tell_apart() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert all(issubclass(item, errors.UnpairedError) for item in classes)
    assert all(1 <= item.exit_code <= 255 for item in classes)


def test_the_source_holds_nothing_that_runs_foreign_code() -> None:
    forbidden = r"\bpickle\b(?!s)|\beval\(|\bexec\(|yaml\.load\(|weights_only\s*=\s*False|shell\s*=\s*True|torchvision"
    for path in SOURCE.rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            hit = re.search(forbidden, line)
            assert not hit or f".{hit.group()}" in line, f"{path.name}:{number}: {line.strip()}"
