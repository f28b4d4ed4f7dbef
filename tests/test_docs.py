"""The documents are correct: commands of README and tutorial run, named settings exist, links resolve."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from unpaired import cli
from unpaired.config import flatten, override
from unpaired.errors import ConfigError, UnpairedError
from unpaired.recipes import RECIPES, Config, paper
from unpaired.scenes.draw import draw_dataset

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
ADVICE = [ROOT / "docs" / name for name in ("choosing-a-method.md", "symptoms.md", "tutorial.md")]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"

# What makes the commands of the pages take seconds; what they do is the same. An option that a command has is replaced.
SMALL = {
    "data draw": "--count 6 --num-test 12 --size 40",
    "train": "--data.crop-size 32 --data.load-size 36 --steps 2 --generator.base-channels 4 "
    "--generator.num-blocks 1 --discriminator.num-layers 1",
    "demo": "--steps 2 --count 8",
}


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(page: str = "README.md") -> list[list[str]]:
    lines = "".join(blocks("bash", page)).splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def shortened(words: list[str]) -> list[str]:
    """Return the arguments of an `unpaired` command with the options of SMALL in place of its own."""
    small = (SMALL.get(words[1]) or SMALL.get(" ".join(words[1:3]), "")).split()
    kept = list(words[1:])
    for option in small[::2]:
        if option in kept:
            del kept[kept.index(option) : kept.index(option) + 2]
    return [*kept, *small]


def run_commands(page: str) -> None:
    """Run every `unpaired` command of a page, shortened, in the current folder; each must succeed."""
    for words in commands(page):
        if words[0] == "unpaired":
            with pytest.raises(SystemExit) as left:
                cli.main(shortened(words))
            assert left.value.code == 0, words


def run_python(page: str) -> None:
    """Run the Python block of a page in the current folder."""
    (python,) = blocks("python", page)
    finished = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_every_command_of_the_readme_is_one_that_is_tested_here() -> None:
    assert {words[0] for words in commands()} == {"make", "unpaired"}


def test_the_make_targets_of_the_readme_exist() -> None:
    for words in commands():
        if words[0] == "make":
            made = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr


def test_make_bench_hands_its_options_on() -> None:
    command = ["make", "-n", "bench", "OFFICIAL=clone", "BENCH=--size 64"]
    reported = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    expected = "unpaired bench --size 64 --official clone --out runs/bench.md --json runs/bench.json"
    assert any(line.endswith(expected) for line in reported.splitlines())


def test_the_readme_can_be_followed_from_two_folders_to_translated_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_dataset(tmp_path / "summer2winter", count=4, size=40, num_test=2)
    run_commands("README.md")
    PIL.Image.new("RGB", (50, 41), "green").save("summer.jpg")
    run_python("README.md")
    with PIL.Image.open("winter.jpg") as winter:
        assert winter.size == (50, 41)


def test_the_tutorial_can_be_followed_from_drawn_scenes_to_a_picture_of_summers_and_winters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_dataset(tmp_path / "photographs", count=4, size=40)
    (tmp_path / "photographs" / "trainA").rename(tmp_path / "photographs" / "summer")
    (tmp_path / "photographs" / "trainB").rename(tmp_path / "photographs" / "winter")
    run_commands("docs/tutorial.md")
    run_python("docs/tutorial.md")
    with PIL.Image.open("summer-to-winter.png") as sheet:
        assert sheet.size == (8 * 136, 3 * 136)
    assert {words[0] for words in commands("docs/tutorial.md")} == {"unpaired"}


def test_the_notebook_can_be_run_from_its_first_cell_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for setting, small in (("NUM_SCENES = 200", "NUM_SCENES = 4"), ("NUM_STEPS = 400", "NUM_STEPS = 2")):
        assert code.count(setting) == 1
        code = code.replace(setting, small)
    (tmp_path / "notebook.py").write_text(code, encoding="utf-8")
    space = runpy.run_path("notebook.py")
    assert set(space["scores"]) == {"model", "no translation"}
    assert space["in_a_row"](space["summer"]).size == (800, 96)
    assert (tmp_path / "quickstart" / "run" / "report.html").exists()


def test_the_notebook_is_committed_without_outputs_and_its_cells_are_plain_python() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


@pytest.mark.parametrize("page", ADVICE, ids=lambda page: page.stem)
def test_the_options_and_values_that_a_page_advises_are_accepted(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^ {4}(unpaired .*)$", text, re.MULTILINE)])
    short = set(re.findall(r"(?<!\S)--([a-z][a-z-]+)(?![\w.-])", code))
    helps = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "golden").glob("help*.txt"))
    assert short <= set(re.findall(r"--([a-z][a-z-]+)", helps)) | {"range"}
    assert set(re.findall(r"--recipe (\S+)", code)) <= set(RECIPES)
    advised = re.findall(r"--([a-z]+\.[a-z0-9-]+)(?: (?!-)(\S+))?", code)
    for name, value in advised:
        assert any(accepts(recipe(), name, value) for recipe in RECIPES.values()), f"--{name} {value}"


def accepts(config: Config, name: str, value: str) -> bool:
    """Return whether a recipe has the setting, and takes the value unless none is named."""
    if name.replace("-", "_") not in flatten(config):
        return False
    try:
        override(config, {name: value} if value else {})
    except ConfigError:
        return False
    return True


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


def test_links_to_a_heading_find_it() -> None:
    headings = {page.resolve(): set(map(_anchor, _headings(page))) for page in PAGES}
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            linked = (page.parent / target).resolve() if target else page.resolve()
            if "docs/api" not in linked.as_posix():  # their headings are made from docstrings
                assert anchor in headings[linked], f"{page.name} links to {target}#{anchor}"


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def _anchor(heading: str) -> str:
    """The name of a heading in links, as the site and repository hosts make it."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def test_the_modules_that_the_manual_names_exist() -> None:
    package = ROOT / "src" / "unpaired"
    named = set[str]()
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"`(?:src/unpaired/)?([a-z_]+/[a-z_/]+\.py)`", text))
        named |= {name.replace(".", "/") + ".py" for name in re.findall(r"\bunpaired((?:\.[a-z_]+){2,})\b", text)}
    places = {name.lstrip("/") for name in named if not name.startswith("tests/")}
    assert len(places) > 10
    # a dotted name may also be that of something in a module
    paths = {place: package / place for place in places}
    homes = {place: (path, path.parent.with_suffix(".py"), path.with_suffix("")) for place, path in paths.items()}
    assert [place for place in sorted(places) if not any(home.exists() for home in homes[place])] == []


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
