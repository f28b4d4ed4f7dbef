"""The public names: all there, all described, and enough for the main job from Python."""

from __future__ import annotations

import inspect
import re
import shutil
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
    assert dir(unpaired) == sorted(unpaired.__all__)


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


def test_the_example_of_the_package_docstring_runs(
    two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.move(two_folders, tmp_path / "summer2winter")
    PIL.Image.new("RGB", (70, 50), (30, 160, 60)).save("summer.jpg")
    code = "\n".join(line[4:] for line in (unpaired.__doc__ or "").splitlines() if line.startswith("    "))
    assert "steps=2000" in code
    names: dict[str, object] = {}
    exec(code.replace("steps=2000", "steps=2, quiet=True, settings={'run.device': 'cpu'}"), names)
    assert isinstance(names["winter"], PIL.Image.Image)
    assert names["winter"].size == (70, 50)
    assert (tmp_path / "runs" / "summer2winter" / "report.html").exists()


def test_checking_evaluating_verifying_and_exporting_from_python(
    toy_config: unpaired.Config, two_folders: Path, tmp_path: Path
) -> None:
    found = unpaired.check(two_folders, size=32)
    assert found.count("error") == 0
    config = override(toy_config, {"data.root": str(two_folders), "generator.num_blocks": 6, "generator.num_downs": 2})
    run = unpaired.train(config, out=tmp_path / "run")
    assert not [part for part in unpaired.verify(run.path) if part.problem]
    evaluated = unpaired.evaluate(run.path, two_folders, device="cpu")
    assert set(evaluated.directions) == {"AtoB", "BtoA"}
    written = unpaired.export(run.path, tmp_path / "official")
    assert all(file.exists() for file in written.files)
    made = unpaired.import_weights(tmp_path / "official", tmp_path / "model")
    picture = np.full((32, 32, 3), 99, np.uint8)
    assert np.array_equal(unpaired.load(made.folder)(picture), unpaired.load(run.path)(picture))
    with pytest.raises(errors.ConfigError, match="Unknown choice 'onxx' for format; choose from"):
        unpaired.export(run.path, tmp_path / "other", format="onxx")


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
