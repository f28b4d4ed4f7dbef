"""Models by name: what a name resolves to, what hides it, the list of them, and results beside the user's files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import unpaired
from unpaired import cli
from unpaired.errors import ModelError
from unpaired.models import by_name
from unpaired.models.by_name import data_folder, located, results_folder
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo, write_model
from unpaired.models.published_weights import PUBLISHED_WEIGHTS
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.zoo import shelf
from unpaired.zoo.shelf import ready_models

NETWORK = ResNetGenerator(base_channels=2, num_blocks=1)


def small_model(folder: Path) -> None:
    """Write a model of both directions with random weights and the files of one that comes with the package."""
    directions = ("AtoB", "BtoA")
    training = TrainingInfo(step=7, seed=0, load_size=72, crop_size=64, objective="cyclegan")
    entries = {name: DirectionInfo(generator=NETWORK) for name in directions}
    info = ModelInfo(directions=entries, domains={"A": "summer", "B": "winter"}, training=training)
    write_model(folder, info, {name: initialised(NETWORK.build(3, 3), 0, name) for name in directions})
    origin = {"about": "Summer becomes winter.", "licence": "CC0", "credit": "the unpaired authors"}
    (folder / "origin.json").write_text(json.dumps(origin))


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a model "small" of the package and an empty data folder."""
    monkeypatch.setattr(by_name, "BUNDLED", tmp_path / "package")
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path / "package")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    small_model(tmp_path / "package" / "small")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(here / "photo.png")
    return here


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


def test_a_name_translates_with_nothing_prepared_and_the_package_stays_as_it_was(
    named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in (tmp_path / "package" / "small").iterdir())
    code, _, err = run(capsys, "translate", "small", "photo.png", "--device", "cpu")
    assert code == 0, err
    with PIL.Image.open(named / "translated" / "small" / "AtoB" / "photo.png") as result:
        assert result.size == (48, 40)
    assert sorted(path.name for path in (tmp_path / "package" / "small").iterdir()) == before
    assert run(capsys, "translate", "small", "photo.png", "--device", "cpu", "--overwrite")[0] == 0  # the name still is


def test_every_command_that_takes_a_model_takes_its_name(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "info", "small", "--json")
    assert (code, json.loads(out)["domains"]) == (0, {"A": "summer", "B": "winter"})
    assert run(capsys, "verify", "small")[0] == 0
    code, _, err = run(capsys, "export", "small", "--out", "pth")
    assert code == 65  # the official code has no network so small
    assert "There is no run" not in err
    assert run(capsys, "sample", "small")[2].count("translates images") == 1


def test_from_python_a_name_loads_and_its_translator_can_be_pickled(named: Path, tmp_path: Path) -> None:
    translator = unpaired.load("small", device="cpu")
    picture = PIL.Image.open(named / "photo.png")
    os.chdir(tmp_path)  # the pickle has the folder, not the name
    again = pickle.loads(pickle.dumps(translator))
    assert np.array_equal(np.asarray(translator(picture)), np.asarray(again(picture)))


def test_a_folder_of_that_name_wins_and_one_that_is_no_model_is_reported(named: Path) -> None:
    small_model(named / "small")
    assert located(Path("small")) == Path("small")
    assert results_folder(Path("small"), "translated", "AtoB") == Path("small/translated/AtoB")
    (named / "small" / "model.json").unlink()
    with pytest.raises(ModelError, match=r"^small here is neither a run nor a model, and hides the model of that name"):
        unpaired.load("small")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("smal", "There is no run or model smal; did you mean small? (`unpaired models` lists all.)"),
        ("horse2zebra", "The model horse2zebra is not fetched yet; fetch it with `unpaired models get horse2zebra`."),
        ("quite/other", "There is no run or model folder quite/other; check the name."),
        ("qqqqqq", "There is no run or model folder qqqqqq; check the name."),
    ],
)
def test_an_unknown_name_gives_one_sentence(named: Path, name: str, sentence: str) -> None:
    with pytest.raises(ModelError) as refused:
        unpaired.load(name)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["..", ".", "", "small/", "../package/small", "small\n", ".small", "a" * 5000, "sm\0"])
def test_only_a_plain_name_is_looked_up(named: Path, name: str) -> None:
    given = name if name in ("..", ".", "") else f"x/{name}" if "/" in name else name
    assert located(Path(given)) == Path(given)


def test_the_data_folder_is_that_of_xdg_and_a_relative_one_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert data_folder() == Path("/home/someone/.local/share/unpaired/models")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert data_folder() == Path("/data/unpaired/models")


def test_the_list_has_a_row_for_every_model_and_says_where_it_is(
    named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model(data_folder() / "mine")
    small_model(data_folder() / "broken")
    (data_folder() / "broken" / "model.json").write_text("{}")
    code, out, _ = run(capsys, "models")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0
    assert "with the package" in rows["small"]
    assert "summer ↔ winter" in rows["small"]
    assert "CC0" in rows["small"]
    assert "yours" in rows["mine"]
    assert "damaged" in rows["broken"]
    assert set(PUBLISHED_WEIGHTS) <= set(rows)
    assert all("not fetched" in rows[name] and "et al." in rows[name] for name in PUBLISHED_WEIGHTS)
    listed = json.loads(run(capsys, "models", "list", "--json")[1])
    assert [row["name"] for row in listed] == [model.name for model in ready_models()]
    small = next(row for row in listed if row["name"] == "small")
    assert (small["directions"], small["size"], small["place"]) == (["AtoB", "BtoA"], 64, "with the package")
    assert small["num_bytes"] == sum(file.stat().st_size for file in Path(small["path"]).iterdir())


def test_the_list_imports_no_torch() -> None:
    code = (
        "import sys\nfrom unpaired.cli import main\ntry:\n    main()\nfinally:\n"
        "    print(*[name for name in ('torch', 'numpy', 'PIL') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True, check=True)
    assert "horse2zebra" in done.stdout
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("models", "lst"), "Unknown command models lst; did you mean list?"),
        (("models", "download", "x"), "Unknown command models download; to fetch a model: unpaired models get NAME."),
        (("models", "get"), "NAME is missing; type: unpaired models get NAME"),
    ],
)
def test_a_wrong_word_gives_the_right_command(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert run(capsys, *words)[2] == f"unpaired: {sentence}\n"
