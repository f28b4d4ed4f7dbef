"""The documents tell the truth: README's commands run, the settings named in the manual exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from unpaired import cli
from unpaired.config import flatten
from unpaired.errors import UnpairedError
from unpaired.recipes import RECIPES, paper
from unpaired.scenes.draw import draw_dataset

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])

# What makes the README's own commands take seconds; what they do is the same.
SMALL = {
    "train": "--data.crop-size 32 --data.load-size 36 --steps 2 --generator.base-channels 4 "
    "--generator.num-blocks 1 --discriminator.num-layers 1",
    "demo": "--steps 2 --count 8",
}


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "".join(blocks("bash")).splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def test_every_command_of_the_readme_is_one_that_is_tested_here() -> None:
    assert {words[0] for words in commands()} == {"make", "unpaired"}


def test_the_make_targets_of_the_readme_exist() -> None:
    for words in commands():
        if words[0] == "make":
            made = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr


def test_make_bench_hands_its_options_on() -> None:
    command = ["make", "-n", "bench", "OFFICIAL=clone", "BENCH=--size 64"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    expected = "unpaired bench --size 64 --official clone --out runs/bench.md --json runs/bench.json"
    assert any(line.endswith(expected) for line in told.splitlines())


def test_the_readme_can_be_followed_from_two_folders_to_translated_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_dataset(tmp_path / "summer2winter", count=4, size=40, num_test=2)
    for words in commands():
        if words[0] == "unpaired":
            small = SMALL.get(words[1], "").split()
            with pytest.raises(SystemExit) as left:
                cli.main([*words[1:], *small])
            assert left.value.code == 0, words
    PIL.Image.new("RGB", (50, 41), "green").save("summer.jpg")
    (python,) = blocks("python")
    finished = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    with PIL.Image.open("winter.jpg") as winter:
        assert winter.size == (50, 41)


def test_every_setting_that_the_documents_name_exists() -> None:
    named = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named |= {name.replace("-", "_") for name in re.findall(r"--([a-z]+\.[a-z][a-z0-9_-]+)", text)}
    assert len(named) > 10
    assert named <= {name for recipe in RECIPES.values() for name in flatten(recipe())}


def test_the_published_defaults_in_the_readme_are_those_of_the_recipe() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    settings = flatten(paper())
    assert f"resized to {settings['data.load_size']} × {settings['data.load_size']}" in text
    assert f"random crop of {settings['data.crop_size']} × {settings['data.crop_size']}" in text
    assert f"{settings['schedule.num_epochs_constant']} epochs at 2e-4" in text
    assert f"{settings['schedule.num_epochs_decay']} decaying" in text
    assert settings["optimizer.learning_rate"] == 2e-4
    assert f"cycle {settings['objective.cycle_weight_a']:g} each way" in text
    assert f"identity {settings['objective.identity_weight']:g} × {settings['objective.cycle_weight_b']:g}" in text
    assert f"pool of {settings['objective.pool_size']} images" in text
    assert f"ResNet, {settings['generator.num_blocks']} blocks" in text


def test_every_recipe_is_named_in_the_help() -> None:
    text = (ROOT / "tests" / "golden" / "help-train.txt").read_text(encoding="utf-8")
    assert all(re.search(rf"\b{name}\b", text) for name in RECIPES)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_modules_that_the_manual_names_exist() -> None:
    package = ROOT / "src" / "unpaired"
    named = set[str]()
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"`(?:src/unpaired/)?([a-z_]+/[a-z_/]+\.py)`", text))
        named |= {name.replace(".", "/") + ".py" for name in re.findall(r"\bunpaired((?:\.[a-z_]+){2,})\b", text)}
    places = {name.lstrip("/") for name in named if not name.startswith("tests/")}
    assert len(places) > 10
    assert [place for place in sorted(places) if not (package / place).exists()] == []


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    listed = {
        int(code) for line in re.findall(r"^\| ([\d, ]+) \|", text, flags=re.MULTILINE) for code in line.split(",")
    }
    codes = {error.exit_code for error in all_errors(UnpairedError)} - {UnpairedError.exit_code}
    assert codes <= listed
    assert listed - codes == {0, cli.USAGE, 130, 143}


def all_errors(base: type[UnpairedError]) -> list[type[UnpairedError]]:
    return [found for sub in base.__subclasses__() for found in [sub, *all_errors(sub)]]
