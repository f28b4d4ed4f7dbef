"""The command line: its help is fixed, its errors are one sentence with a code of their own.

`python tests/test_cli.py --write` writes the golden help files anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
import yaml

from unpaired import cli
from unpaired.config import to_yaml
from unpaired.recipes import Config
from unpaired.runs import info

GOLDEN = Path(__file__).parent / "golden"
VERBS = (
    "",
    "train",
    "translate",
    "demo",
    "import",
    "export",
    "info",
    "help",
    "verify",
    "data",
    "data check",
    "data draw",
    "data download",
    "models",
    "models list",
    "models get",
    "models remove",
    "study",
    "study make",
    "study analyse",
)


def help_text(verb: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "unpaired", *verb.split(), "--help"]
    made = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return "".join(line.rstrip() + "\n" for line in made.stdout.splitlines())


def golden_file(verb: str) -> Path:
    return GOLDEN / f"help{''.join('-' + word for word in verb.split())}.txt"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_what_the_golden_file_says(verb: str) -> None:
    assert help_text(verb) == golden_file(verb).read_text(encoding="utf-8")


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, unpaired, unpaired.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def config_file(toy_config: Config, tmp_path: Path) -> str:
    path = tmp_path / "toy.yaml"
    path.write_text(to_yaml(toy_config))
    return str(path)


def test_train_info_and_translate_work_from_the_shell(
    capsys: pytest.CaptureFixture[str], config_file: str, two_folders: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    code, printed, _ = run(capsys, "train", str(two_folders), "--config", config_file, "--out", out, "--steps", "3")
    assert code == 0
    assert "step 3/3" in printed
    for loss in ("adversarial_a", "cycle_b", "identity_a", "discriminator_b", "images/s", "left"):
        assert loss in printed
    code, printed, _ = run(capsys, "info", out, "--json")
    facts = json.loads(printed)
    assert (facts["step"], facts["num_steps"], facts["finished"]) == (3, 3, True)
    assert facts["state_sha256"] == info(out).state_sha256
    code, printed, _ = run(capsys, "info", out)
    assert code == 0
    assert "cyclegan" in printed
    code, printed, _ = run(capsys, "translate", out, str(two_folders / "testB"), "--direction", "BtoA")
    assert code == 0
    assert "Translated 2 of 2 images" in printed
    assert len(list((tmp_path / "run" / "translated" / "BtoA").glob("*.png"))) == 2
    code, _, err = run(capsys, "translate", out, str(two_folders / "testB"), "--direction", "BtoA")
    assert code == 73
    assert "--overwrite" in err


def test_two_folders_of_any_name_are_taken(
    capsys: pytest.CaptureFixture[str], config_file: str, two_folders: Path, tmp_path: Path
) -> None:
    a, b = (two_folders / "trainA").rename(tmp_path / "photos"), (two_folders / "trainB").rename(tmp_path / "paintings")
    out = str(tmp_path / "run")
    code, _, _ = run(
        capsys, "train", "--a", str(a), "--b", str(b), "--config", config_file, "--out", out, "--steps", "1"
    )
    assert code == 0
    assert info(out).domains == {"A": "photos", "B": "paintings"}


def test_one_unreadable_image_does_not_stop_the_others_and_is_an_error(
    capsys: pytest.CaptureFixture[str], config_file: str, two_folders: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    run(capsys, "train", str(two_folders), "--config", config_file, "--out", out, "--steps", "1")
    (two_folders / "testA" / "000.png").write_bytes(b"no image")
    code, printed, _ = run(capsys, "translate", out, str(two_folders / "testA"))
    assert code == 65
    assert "Translated 1 of 2 images" in printed
    assert "failed:" in printed


def test_dry_run_prints_the_whole_configuration_and_trains_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, printed, _ = run(
        capsys,
        *("train", "somewhere", "--dry-run", "--out", str(tmp_path / "run"), "--size", "128", "--epochs", "30"),
        *("--seed", "7", "--objective.identity-weight", "0", "--data.flip=no", "--optimizer.learning_rate", "1e-4"),
    )
    assert code == 0
    shown = yaml.safe_load(printed)
    assert shown["data"]["crop_size"] == 128
    assert shown["data"]["load_size"] == 143
    assert shown["data"]["flip"] is False
    assert shown["generator"]["num_blocks"] == 6
    assert shown["objective"]["identity_weight"] == 0
    assert shown["optimizer"]["learning_rate"] == 1e-4
    assert shown["run"]["seed"] == 7
    assert (shown["schedule"]["num_epochs_constant"], shown["schedule"]["num_epochs_decay"]) == (15, 15)
    assert not (tmp_path / "run").exists()


def test_a_printed_configuration_can_be_given_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, printed, _ = run(capsys, "train", "somewhere", "--recipe", "demo", "--dry-run")
    (tmp_path / "mine.yaml").write_text(printed)
    _, again, _ = run(capsys, "train", "--config", str(tmp_path / "mine.yaml"), "--dry-run")
    assert again == printed


def test_data_draw_writes_unpaired_folders_and_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, _ = run(
        capsys, "data", "draw", str(tmp_path / "u"), "--b", "night", "--count", "12", "--size", "32", "--seed", "2"
    )
    assert code == 0
    counts = {name: len(list((tmp_path / "u" / name).glob("*.png"))) for name in ("trainA", "trainB", "testA", "testB")}
    assert counts == {"trainA": 12, "trainB": 12, "testA": 1, "testB": 1}
    code, _, _ = run(
        capsys, "data", "draw", str(tmp_path / "p"), "--paired", "--a", "labels", "--count", "3", "--size", "32"
    )
    assert code == 0
    assert len(list((tmp_path / "p" / "train").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train"], 65, "No data: give a DATA folder"),
        (["train", "{absent}"], 65, "is not a folder"),
        (["train", "{half}"], 65, "has no trainB (it holds trainA)"),
        (["train", "{empty}"], 65, "holds no images"),
        (["train", "{data}", "--a", "x"], 65, "--a is given alone"),
        (["train", "{data}", "--szie", "64"], 64, "Did you mean --size?"),
        (["train", "{data}", "--steps", "many"], 64, "--steps"),
        (["train", "{data}", "--steps", "0"], 78, "The number of steps (--steps) must be at least 1, not 0."),
        (["train", "{data}", "--steps", "1", "--epochs", "1"], 78, "--steps and --epochs are both given"),
        (["train", "{data}", "--data.lod-size", "3"], 78, "did you mean data.load_size?"),
        (["train", "{data}", "--data.load-size", "big"], 78, "data.load_size takes a whole number"),
        (["train", "{data}", "--recipe", "papr"], 78, "did you mean paper?"),
        (["train", "{data}", "--config", "absent.yaml"], 78, "absent.yaml"),
        (["train", "{data}", "--size", "30"], 78, "must be a multiple of 4"),
        (["train", "{data}", "--device", "cuda:99"], 78, "device"),
        (["train", "{data}", "--device", "gpu"], 78, "Unknown device 'gpu'"),
        (["train", "{data}", "--size", "64", "--data.preprocess", "crop"], 65, "smaller than the crop (64)"),
        (["translate", "{absent}", "x.png"], 65, "no run or model folder"),
        (["translate", "{empty}", "x.png"], 65, "no model.json"),
        (["info", "{empty}"], 65, "holds no run"),
        (["data", "draw", "{absent}", "--a", "sumer"], 78, "summer"),
        (["dmeo"], 64, "demo"),
    ],
)
def test_errors_are_one_sentence_with_their_own_code(
    capsys: pytest.CaptureFixture[str], two_folders: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    places = {
        "data": two_folders,
        "absent": tmp_path / "absent",
        "empty": tmp_path / "empty",
        "half": tmp_path / "half",
    }
    (tmp_path / "empty" / "trainA").mkdir(parents=True)
    (tmp_path / "empty" / "trainB").mkdir()
    (tmp_path / "half" / "trainA").mkdir(parents=True)
    given = [argument.format(**places) for argument in arguments]
    left, _, err = run(capsys, *given, *(["--out", str(tmp_path / "run")] if given[:1] == ["train"] else []))
    assert left == code
    assert err.startswith("unpaired: ")
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_images_smaller_than_the_crop_are_told_of(
    capsys: pytest.CaptureFixture[str], config_file: str, two_folders: Path, tmp_path: Path
) -> None:
    for path in sorted((two_folders / "trainA").glob("*.png"))[:2]:
        with PIL.Image.open(path) as image:
            small = image.resize((20, 40))
        small.save(path)
    code, printed, _ = run(
        capsys, "train", str(two_folders), "--config", config_file, "--out", str(tmp_path / "run"), "--steps", "1"
    )
    assert code == 0
    assert f"2 of 6 images in {two_folders / 'trainA'} are smaller than the crop (32) and are enlarged" in printed


def test_every_unreadable_image_is_named_before_step_one(
    capsys: pytest.CaptureFixture[str], config_file: str, two_folders: Path, tmp_path: Path
) -> None:
    truncated = (two_folders / "trainA" / "001.png").read_bytes()[:200]
    (two_folders / "trainA" / "001.png").write_bytes(truncated)
    (two_folders / "trainA" / "004.png").write_bytes(b"<html>not found</html>")
    code, printed, err = run(
        capsys, "train", str(two_folders), "--config", config_file, "--out", str(tmp_path / "run"), "--steps", "2"
    )
    assert code == 65
    assert "2 of 6 images" in err
    assert "001.png" in err
    assert "004.png" in err
    assert "step" not in printed


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for verb in VERBS:
        golden_file(verb).write_text(help_text(verb), encoding="utf-8")


if __name__ == "__main__" and "--write" in sys.argv:
    write()
