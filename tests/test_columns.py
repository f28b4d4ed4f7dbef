"""Translators pickled by path for other programs' workers; columns in and out give the files of `translate`."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

import unpaired
from unpaired.cli import main
from unpaired.errors import ConfigError, ModelError, UnknownKindError, UnpairedError
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo, write_model
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.translate.columns import plan_rows, read_columns, translate_columns, write_columns
from unpaired.translate.precision import Choice

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)


def make_model(folder: Path, seed: int = 0) -> Path:
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    directions = {"AtoB": DirectionInfo(generator=SMALL)}
    info = ModelInfo(directions=directions, domains={"A": "summer", "B": "winter"}, training=training, icc="convert")
    write_model(folder, info, {"AtoB": initialised(SMALL.build(3, 3), seed, "AtoB")})
    return folder


def make_images(folder: Path, count: int = 3) -> Path:
    """Pictures of several kinds: sizes, grey, alpha, 16 bits, rotated by EXIF, with a profile, and one that is none."""
    rng = np.random.default_rng(0)
    (folder / "deeper").mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (24 + 4 * (number % 3), 32, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"plain-{number:03d}.png")
    PIL.Image.fromarray(rng.integers(0, 256, (20, 28, 4), np.uint8)).save(folder / "deeper" / "alpha.png")
    PIL.Image.fromarray(rng.integers(0, 256, (20, 28), np.uint8)).save(folder / "grey.png")
    PIL.Image.fromarray(rng.integers(0, 2**16, (20, 28), np.uint16)).save(folder / "deep.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = PIL.Image.fromarray(rng.integers(0, 256, (20, 28, 3), np.uint8))
    picture.save(folder / "rotated.jpg", exif=exif)
    lab = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    picture.save(folder / "profile.png", icc_profile=lab)
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:60])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".unpaired")
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model")


def test_columns_give_the_files_of_the_command(model: Path, tmp_path: Path) -> None:
    images, out = make_images(tmp_path / "images"), tmp_path / "columns"
    with pytest.raises(SystemExit, match="65"):
        main(["translate", str(model), str(images), "--out", str(tmp_path / "command"), "--precision", "fp32"])
    translator = unpaired.load(model)
    rows = plan_rows(translator, [images], out)
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    worker = pickle.loads(pickle.dumps(translator))
    results = write_columns(translate_columns(read_columns(batch), translator=worker))
    assert contents(out) == contents(tmp_path / "command")
    assert len(contents(out)) == len(rows) - 1 == 8
    assert results["target"] == batch["target"]
    (error,) = [error for error in results["error"] if error]
    assert "broken.png is damaged or cut short" in error
    with pytest.raises(UnpairedError, match=r"8 of 9 outputs exist already in .*columns; resume"):
        plan_rows(translator, [images], out)
    assert [Path(row["source"]).name for row in plan_rows(translator, [images], out, resume=True)] == ["broken.png"]
    with pytest.raises(ConfigError, match="direction"):
        translate_columns(read_columns(batch), translator=translator, direction="BtoA")


def test_a_translator_is_pickled_by_its_path(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    translator = unpaired.load(model.name, device="cpu", precision="auto", max_pixels=10**6)
    translator.policy.decide("AtoB", Choice("bf16", "as the first image had it"))
    sent = pickle.dumps(translator)
    assert len(sent) < 1000  # no weights
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(sent)
    assert repr(again) == repr(translator)
    assert (again.fingerprint("AtoB"), again.max_pixels) == (translator.fingerprint("AtoB"), 10**6)
    assert again.policy.decided("AtoB") == translator.policy.decided("AtoB")  # all workers compute alike
    exact = pickle.loads(pickle.dumps(translator.in_fp32()))
    assert (exact.precision, translator.precision) == ("fp32", "auto")
    assert copy.copy(translator)._loaded is translator._loaded


def test_a_model_that_changed_on_the_way_is_refused(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    translator = unpaired.load(folder)
    sent = pickle.dumps(translator)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="There is no run or model folder"):
        pickle.loads(sent)
    make_model(folder, seed=1)
    with pytest.raises(ModelError, match="has changed since its translator was sent to this process"):
        pickle.loads(sent)
    made = unpaired.Translator(translator.info, {"AtoB": SMALL.build(3, 3)})
    with pytest.raises(ConfigError, match=r"make it with unpaired\.load"):
        pickle.dumps(made)


def test_files_that_arrays_cannot_carry_are_named(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = [PIL.Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (0, 128)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    read = read_columns({"source": [str(path)], "target": [str(tmp_path / "out.tif")], "half": [""]})
    assert "is a stack or has no-data values" in read["error"][0]
    results = write_columns(translate_columns(read, translator=unpaired.load(model)))
    assert results["error"] == read["error"]
    assert not (tmp_path / "out.tif").exists()


def test_errors_survive_the_way_from_a_worker() -> None:
    for error in (ModelError("gone", setting="model"), UnknownKindError("unknown", noun="generator", kind="x")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
