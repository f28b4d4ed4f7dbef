"""Command lines that cannot be parsed end in one sentence with the right word, and paths may begin with ~."""

from __future__ import annotations

from pathlib import Path

import pytest

import unpaired
from unpaired.cli import as_meant, main
from unpaired.cli.misunderstood import given_folder
from unpaired.data.datasets import DataConfig
from unpaired.networks.feature_sources import open_features
from unpaired.storage import at_home


def error_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 64) -> str:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == code
    return capsys.readouterr().err.removeprefix("unpaired: ").removesuffix("\n")


SENTENCES = {
    "train x --size 256x256": "--size takes one number for both sides; type --size 256.",
    "train x --steps 1e3": "--steps takes a whole number, not '1e3'; type --steps 1000.",
    "train x --steps 10k": "--steps takes a whole number, not '10k'; type --steps 10000.",
    "train x --steps many": "--steps takes a whole number, not 'many'.",
    "train x --strict yes": "--strict takes no value; remove yes.",
    "train x --stop-when-flat 5": "--stop-when-flat takes no value; remove 5.",
    "train x --steps": "--steps takes a value; put it after the option.",
    "train x y z": "`unpaired train` does not take y z; remove it.",
    "train x --netG unet_256": "Unknown option: --netG. Use --generator.kind unet --generator.num-downs 8.",
    "train x --model=cycle_gan": "Unknown option: --model. Omit it: CycleGAN is the default.",
    "train x --gpu_ids -1": "Unknown option: --gpu_ids. Use --device cpu.",
    "train x --no_flip --foo 3": "2 unknown options:\n  --no_flip: use --data.flip false.\n"
    "  --foo: see `unpaired train --help`.",
    "train x y": "`unpaired train` takes one DATA folder; a run folder is named with --out: unpaired train x --out y",
    "data check x y": "`unpaired data check` takes one DATA folder; for a folder for each domain: unpaired data check "
    "--a x --b y",
    "train d/testA d/testB d/trainA d/trainB": "`unpaired train` takes one DATA folder: unpaired train d",
    "translate --style x.png": "MODEL is missing; type: unpaired translate --style FILE IMAGES",
    "bench --quick": "Unknown option: --quick. See `unpaired bench --help`.",
    "translate m x --size 48": "Unknown option: --size. Use --resize N, or --resize trained for that of training; "
    "without it images are translated at their own size.",
    "translate m x --epoch 9": "Unknown option: --epoch. Use --step N for a checkpoint that the run keeps; without it "
    "the selected or the last step is used.",
    "translate": "MODEL is missing; type: unpaired translate RUN IMAGES",
    "translate m x --keep-best": "--keep-best takes a value, such as 20%, which keeps the most trusted fifth of the "
    "results.",
    "export m": "--out is missing; type: unpaired export RUN --out FOLDER",
    "demo x": "`unpaired demo` does not take x; remove it, or name it as --out x.",
    "test x": "Unknown command test; to translate images: unpaired translate RUN IMAGES; to measure a model: unpaired "
    "evaluate RUN DATA.",
    "train.py x": "Unknown command train.py; did you mean train?",
    "data info x": "Unknown command data info; to check a folder of images: unpaired data check DATA.",
    "data draw x --num 5": "Unknown option: --num. Use --count N.",
}


@pytest.mark.parametrize("words", SENTENCES)
def test_the_right_word_is_given(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, *words.split()) == SENTENCES[words]


def test_a_command_of_the_official_code_becomes_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    official = "train --dataroot x --name y --model pix2pix --batch_size 4 --display_id 0 --netG unet_128 --gpu_ids=-1"
    said = error_of(capsys, *official.split(), "--steps", "9")
    assert said.split("\n") == [
        "7 unknown options:",
        "  --dataroot: give the folder as the first argument: unpaired train FOLDER.",
        "  --name: use --out FOLDER.",
        "  --model: use --recipe pix2pix.",
        "  --batch_size: use --data.batch-size N.",
        "  --display_id: omit it: report.html and log.jsonl in the run folder show the run.",
        "  --netG: use --generator.kind unet --generator.num-downs 7.",
        "  --gpu_ids: use --device cpu.",
        "Together: unpaired train x --out runs/y --recipe pix2pix --data.batch-size 4 --generator.kind unet "
        "--generator.num-downs 7 --device cpu --steps 9",
    ]


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        (
            "--dataroot ./datasets/facades --name f --model pix2pix --direction BtoA",
            "./datasets/facades --out runs/f --recipe pix2pix --objective.direction BtoA",
        ),
        (
            "--dataroot d --name h2z --lambda_A 5 --lambda_B 6 --n_epochs 3 --crop_size 128 --no_flip",
            "d --out runs/h2z --objective.cycle-weight-a 5 --objective.cycle-weight-b 6 --schedule.num-epochs-constant "
            "3 --size 128 --data.flip false",
        ),
        (
            "--dataroot d --CUT_mode FastCUT --gpu_ids 0 --lambda_cyc 3",
            "d --recipe fastcut --device cuda:0 --objective.cycle-weight-a 3 --objective.cycle-weight-b 3",
        ),
        ("--dataroot d --model munit", ""),
    ],
)
def test_commands_of_the_official_code_are_translated(
    official: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(capsys, "train", *official.split())
    assert said.partition("\nTogether: ")[2] == (ours and f"unpaired train {ours}")


def test_an_unknown_command_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "frobnicate")
    assert all(f" {name}" in said for name in ("train", "verify", "study", "export"))


def test_help_and_version_are_understood_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert as_meant(["version"]) == ["--version"]


def test_the_folder_of_a_command_line_is_found_among_options() -> None:
    assert given_folder(["train", "--recipe", "fast", "--strict", "x", "--size", "64"]) == "x"
    assert given_folder(["train", "--recipe=fast", "--strict"]) == ""


def test_a_number_for_keep_best_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "translate", str(tmp_path), "x.png", "--keep-best", "20", code=78)
    assert said == (
        "--keep-best takes the share of the results to keep, not their number; type --keep-best 20% for the most "
        "trusted 20 of 100."
    )
    assert "such as 20% or 0.2, not yes" in error_of(capsys, "translate", "m", "x", "--keep-best", "yes", code=78)


class TestHome:
    """A leading ~ that no shell has expanded."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        return tmp_path

    def test_on_the_command_line(self, home: Path) -> None:
        words = ["train", "~/x", "--out=~/y", "--config", "~/z", "--data.a", "~/w", "~", "a~/x", "--", "-~"]
        here = str(home)
        assert as_meant(words) == [
            *("train", f"{here}/x", f"--out={here}/y", "--config", f"{here}/z", "--data.a", f"{here}/w", here),
            *("a~/x", "--", "-~"),
        ]

    def test_in_configurations(self, home: Path) -> None:
        config = DataConfig(root="~/x", a="~/a", b="./~/b")
        assert (config.root, config.a, config.b) == (f"{home}/x", f"{home}/a", "./~/b")

    def test_in_python(self, home: Path) -> None:
        assert at_home("~/x") == home / "x"
        assert at_home("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
        for call in (
            lambda: unpaired.load("~/no-run"),
            lambda: unpaired.info("~/no-run"),
            lambda: unpaired.verify("~/no-run"),
            lambda: unpaired.check("~/no-run"),
            lambda: unpaired.evaluate("~/no-run", "~/no-data"),
            lambda: unpaired.export("~/no-run", "out"),
            lambda: unpaired.import_weights("~/no-run", "out"),
            lambda: unpaired.train("~/no-run", out="~/out", quiet=True),
            lambda: unpaired.train("x", recipe="~/no-run.py:f"),
            lambda: open_features("vgg16:~/no-run", 3),
        ):
            with pytest.raises(unpaired.errors.UnpairedError, match=f"{home}/no-run|no-run.py does not exist"):
                call()
