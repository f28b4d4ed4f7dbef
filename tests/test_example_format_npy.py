"""The example of an image format: arrays are trained on, translated and judged like any other image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unpaired import cli
from unpaired.config import to_dict
from unpaired.errors import ImageError
from unpaired.evaluation.evaluating import evaluate
from unpaired.images import FORMATS, read_header, read_image, read_window, write_image
from unpaired.recipes import Config, named

EXAMPLE = Path(__file__).parents[1] / "examples" / "format_npy.py"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The format, which is forgotten afterwards."""
    named(f"{EXAMPLE}:paper")
    yield
    FORMATS.forget("npy")


@pytest.mark.parametrize("stored", ["<u2", ">u2", "<f4", ">f8", "|u1", "<i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_order_are_read_as_they_are(stored: str, order: str, tmp_path: Path) -> None:
    values = np.arange(4 * 5 * 3, dtype=np.dtype(stored)).reshape(4, 5, 3)
    np.save(tmp_path / "x.npy", np.asarray(values, order="F" if order == "F" else "C"))
    image = read_image(tmp_path / "x.npy")
    assert np.array_equal(image.pixels, values)
    assert read_header(tmp_path / "x.npy").dtype == str(image.dtype)
    assert np.array_equal(read_window(tmp_path / "x.npy", 1, 2, 3, 2).pixels, values[1:4, 2:4])


def test_objects_and_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}, []]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.zeros((3, 3), complex))
    np.save(tmp_path / "line.npy", np.zeros(3))
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    np.save(tmp_path / "cut.npy", np.zeros((30, 30)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:500])
    (tmp_path / "huge.npy").write_bytes((tmp_path / "line.npy").read_bytes().replace(b"(3,), ", b"(9**9,)"))
    for name, reason in {
        "objects": r"objects\.npy: It holds object, which no image has; save it as one of uint8",
        "complex": "It holds complex128, which no image has",
        "line": r"It holds an array of shape \(3,\); save h w or h w c",
        "nan": "NaN or infinite values in 9 of 9 pixels",
        "cut": r"cut\.npy cannot be read as npy by .*ValueError",
        "huge": r"huge\.npy cannot be read as npy by .*ValueError",
    }.items():
        with pytest.raises(ImageError, match=reason):
            read_image(tmp_path / f"{name}.npy")


def run_cli(*arguments: str) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_arrays_are_trained_on_checked_translated_and_evaluated(
    drawn_folders: Path, toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    folders = tmp_path / "data"
    for path in sorted(drawn_folders.rglob("*.png")):
        target = folders / path.relative_to(drawn_folders).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, read_image(path).pixels.astype(np.float64) * 10)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_dict(replace(toy_config, data=toy_config.data))))
    recipe = tmp_path / "my_format.py"
    shutil.copy(EXAMPLE, recipe)
    FORMATS.forget("npy")
    run = tmp_path / "run"
    options = [str(folders), "--recipe", f"{recipe}:paper", "--config", str(tmp_path / "config.yaml")]
    options += ["--range=0..2550", "--steps", "2", "--data.num-workers", "1", "--out", str(run)]
    assert run_cli("train", *options) == 0, capsys.readouterr().err
    assert run_cli("data", "check", str(folders), "--range=0..2550") == 0
    assert "passed over" not in capsys.readouterr().out.lower()
    assert run_cli("translate", str(run), str(folders / "testA"), "--out", str(tmp_path / "out")) == 0
    results = sorted((tmp_path / "out").glob("*.npy"))
    assert len(results) == 2
    rows = evaluate(run, folders).directions["AtoB"].rows
    assert rows
    assert all(np.isfinite(row.made.value) for row in rows.values())
    image = read_image(results[0])
    assert (image.pixels.shape, image.dtype) == ((40, 40, 3), np.float32)
    assert image.pixels.max() > 255
    assert run_cli("translate", str(run), str(folders / "testA"), "--format", "tif", "--out", str(tmp_path / "t")) == 0
    tif = read_image(next((tmp_path / "t").glob(f"{results[0].stem}.tif")))
    assert np.array_equal(tif.pixels, image.pixels)
    write_image(tmp_path / "pictures" / "x.tif", tif) if (tmp_path / "pictures").mkdir() is None else None
    assert (
        run_cli("translate", str(run), str(tmp_path / "pictures"), "--format", "npy", "--out", str(tmp_path / "n")) == 0
    )
    assert read_image(tmp_path / "n" / "x.npy").pixels.shape == (40, 40, 3)
