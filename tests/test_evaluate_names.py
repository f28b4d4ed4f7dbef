"""Evaluating files whose names are no text, several lines, markup or terminal escapes: all are reported."""

from __future__ import annotations

import json
import os
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from unpaired.cli import main
from unpaired.evaluation.test_set import open_test_set
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.scenes.draw import draw_dataset
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, read_model, write_model

SMALL = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1)
NAMES = [
    os.fsdecode(b"\xff\xfe.png"),
    "two\nlines.png",
    "\x1b]0;title\x07\x1b[31mred.png",
    "<img src=x onerror=alert(1)>.png",
    "[bold]markup[,.png",
    "right\u202eto left.png",
    "\\udcff\\udcfe.png",  # the escaped form of the first
    "é ünïcode.png",
]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")


def strict(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A test set with such names below a folder of such a name."""
    folder = tmp_path / os.fsdecode(b"data \xff\n\x1b[2J")
    draw_dataset(folder, a="summer", b="winter", count=2, size=32, num_test=len(NAMES))
    for side in ("testA", "testB"):
        for path, name in zip(sorted((folder / side).iterdir()), NAMES, strict=True):
            path.rename(path.with_name(name))
    return folder


def odd_model(folder: Path) -> Path:
    directions = {name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")}
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    domains = {"A": os.fsdecode(b"[red]\xff</title><b>\x1b]0;x\x07"), "B": "[/]\n|winter|"}
    info = ModelInfo(directions=directions, domains=domains, training=training)
    write_model(folder, info, {name: initialised(SMALL.build(3, 3), 0, name) for name in directions})
    return folder


def test_any_name_is_evaluated_and_told_on_the_terminal_in_json_and_on_the_page(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = odd_model(tmp_path / os.fsdecode(b"model \xff"))
    out = tmp_path / os.fsdecode(b"out \xfe\n")
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(model), str(odd), "--out", str(out)])
    assert left.value.code == 0
    printed = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in printed.split("\n"))
    assert r"[red]\udcff</title><b>\x1b]0;x\x07 → [/]\n|winter|" in printed

    reported = strict((out / "evaluation.json").read_bytes().decode("utf-8"))
    assert isinstance(reported, dict)
    names = [*reported["directions"]["AtoB"]["images"]]
    assert len(names) == len(NAMES)
    assert set(names) >= {"two\nlines.png", "é ünïcode.png", r"\udcff\udcfe.png", r"\udcff\udcfe.png (2)"}
    assert reported["data"].endswith("data \\udcff\n\x1b[2J")

    page = (out / "evaluation.html").read_text(encoding="utf-8")
    tags: set[str] = set()
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: tags.add(tag) or tags.update(name for name, _ in attrs)  # type: ignore[method-assign]
    reader.feed(page)
    assert "onerror" not in tags
    assert "b" not in tags
    assert r"&lt;img src=x onerror=alert(1)&gt;.png" in page
    assert r"two\nlines.png" in page
    assert "\x1b" not in page


def test_a_model_keeps_names_as_valid_text(tmp_path: Path) -> None:
    model = odd_model(tmp_path / "model")
    for path in (model / "model.json", model / "README.md"):
        path.read_bytes().decode("utf-8")
    assert read_model(model)[0].domains["A"] == "[red]\\udcff</title><b>\x1b]0;x\x07"


def test_the_fingerprint_tells_names_that_are_no_text_apart(odd: Path, tmp_path: Path) -> None:
    other = shutil.copytree(odd, tmp_path / "other")
    assert open_test_set(other).fingerprint() == open_test_set(odd).fingerprint()
    for side in ("testA", "testB"):
        (other / side / NAMES[0]).rename(other / side / os.fsdecode(b"\xff\xfd.png"))
    assert open_test_set(other).fingerprint() != open_test_set(odd).fingerprint()


def test_a_terminal_that_lacks_letters_gets_them_spelled_out(odd: Path, tmp_path: Path) -> None:
    import subprocess

    model = odd_model(tmp_path / "model")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "unpaired", "evaluate", str(model), str(odd), "--count", "2", "--device", "cpu"]
    made = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (made.returncode, made.stderr) == (0, b"")
    assert rb"\u2192" in made.stdout


def test_a_test_set_that_fails_names_its_folder_in_one_line(tmp_path: Path) -> None:
    from unpaired.errors import DataError

    folder = tmp_path / os.fsdecode(b"none \xff\n")
    folder.mkdir()
    with pytest.raises(DataError) as caught:
        open_test_set(folder)
    assert str(caught.value).isprintable()


def test_every_bad_test_image_is_named_before_any_is_translated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_dataset(tmp_path / "data", a="summer", b="winter", count=2, size=32, num_test=6)
    bad = [sorted((tmp_path / "data" / "testB").iterdir())[-1], sorted((tmp_path / "data" / "testA").iterdir())[0]]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(odd_model(tmp_path / "model")), str(tmp_path / "data"), "--no-truth"])
    assert ended.value.code == 65
    reported = capsys.readouterr()
    assert "2 test images cannot be read" in reported.err
    assert all(path.name in reported.err for path in bad)
    assert "Translating" not in reported.out + reported.err
