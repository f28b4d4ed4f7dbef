"""Parts of one's own, as a stranger adds them: one file outside of the package, or an installed package."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

import unpaired
from unpaired import cli
from unpaired.artifacts.part_records import read_origins
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.errors import ConfigError, MissingPartError
from unpaired.images import Image
from unpaired.networks import DISCRIMINATORS, GENERATORS
from unpaired.objectives import LOSSES, METHODS
from unpaired.recipe_files import origins_of
from unpaired.recipes import Config, load_file, named
from unpaired.registry import Origin
from unpaired.runs import train

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {
    "generator.width": 4,
    "generator.num_blocks": 1,
    "discriminator.base_channels": 4,
    "discriminator.num_layers": 1,
    "data.load_size": 36,
    "data.crop_size": 32,
    "schedule.num_steps": 4,
    "run.device": "cpu",
    "run.checkpoint_every": 2,
    "run.held_out_every": 0,
}

pytestmark = pytest.mark.usefixtures("clean_registries")


def small(config: Config, data: Path, **settings: object) -> Config:
    names = {"generator.width", "generator.num_blocks"} if config.generator.kind != "squeeze" else set()
    names |= {key for key in SMALL if key.startswith("discriminator.") and config.discriminator.kind != "patchgan"}
    sizes = {key: value for key, value in SMALL.items() if key not in names}
    more = {"generator.base_channels": 4, "generator.num_blocks": 1} if "generator.width" in names else {}
    return override(config, {**sizes, **more, "data.root": str(data), **settings})


def options(settings: dict[str, object]) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    out, err = capsys.readouterr()
    return left.value.code, out + err


def forget() -> None:
    """Undo registrations, as a new process does."""
    for registry in (GENERATORS, DISCRIMINATORS, METHODS, LOSSES):
        for kind in set(registry._parts) - {part.kind for part in registry.own()}:
            del registry._parts[kind]


def test_a_network_in_one_file_trains_resumes_translates_and_is_evaluated(
    two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = EXAMPLES / "generator.py", tmp_path / "run"
    command = ["train", two_folders, "--recipe", f"{file}:squeeze", "--out", out, *options(SMALL)]
    assert run(capsys, *command)[0] == 0
    forget()
    code, said = run(capsys, *command)
    assert (code, "This run is finished: 4 of 4 steps" in said) == (0, True)

    longer = [*command, "--schedule.num-steps", "6", "--allow-config-change"]
    assert "Continuing at step 4 of 6" in run(capsys, *longer)[1]
    forget()

    # without the file: one sentence that names it, and no file is called damaged
    for verb in ("translate", "info", "evaluate"):
        more = [two_folders / "testA"] if verb == "translate" else [two_folders] if verb == "evaluate" else []
        code, said = run(capsys, verb, out, *more)
        assert code == 78
        assert "The generator squeeze is not installed here; it came from the file generator.py" in said
        assert "Traceback" not in said
    code, said = run(capsys, "verify", out)
    assert code == 78
    assert "damaged" not in said
    assert said.count("unchecked") == 2

    # with it
    assert run(capsys, "translate", out, two_folders / "testA", "--recipe", file)[0] == 0
    assert len(list((out / "translated" / "AtoB").glob("*.png"))) == 2
    forget()
    assert run(capsys, "info", out, "--recipe", f"{file}:squeeze")[0] == 0
    forget()
    assert run(capsys, "verify", out, "--recipe", file)[0] == 0
    forget()
    assert run(capsys, "evaluate", out, two_folders, "--recipe", file)[0] == 0
    described = json.loads((out / "model" / "model.json").read_text())
    assert described["requires"]["generator squeeze"]["file"] == "generator.py"
    assert "generator.py" in (out / "model" / "README.md").read_text()


def test_own_parts_give_the_same_bits_after_an_interruption(two_folders: Path, tmp_path: Path) -> None:
    config = small(named(f"{EXAMPLES / 'generator.py'}:squeeze"), two_folders)
    whole = train(config, out=tmp_path / "whole")
    half = override(config, {"schedule.num_steps": 2})
    train(half, out=tmp_path / "halves")
    # the schedule's length is a setting; so the rest is allowed as a change, with the published constant rate before it
    halves = train(config, out=tmp_path / "halves", allow_config_change=True)
    assert (whole.step, halves.step) == (4, 4)
    again = train(config, out=tmp_path / "again")
    assert again.state_sha256 == whole.state_sha256


def test_the_fast_forms_of_inference_take_a_network_of_ones_own(two_folders: Path, tmp_path: Path) -> None:
    config = small(named(f"{EXAMPLES / 'generator.py'}:squeeze"), two_folders)
    train(config, out=tmp_path / "run")
    image = Image(np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8))
    exact = unpaired.Translator.load(tmp_path / "run", device="cpu")(image)
    fast = unpaired.Translator.load(tmp_path / "run", device="cpu", precision="bf16")(image)
    assert exact.pixels.shape == (33, 47, 3)
    assert np.abs(exact.pixels.astype(int) - fast.pixels.astype(int)).max() <= 8


class Gain(torch.nn.Module):
    """A weight that belongs to no layer, in front of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * x


def test_a_weight_that_belongs_to_no_layer_is_lowered_with_the_layers() -> None:
    from unpaired.translate.fast import fast_form

    network = torch.nn.Sequential(Gain(), torch.nn.Conv2d(3, 3, 3, padding=1))
    image = torch.rand(1, 3, 8, 8)
    made = fast_form(network, torch.device("cpu"))(image.bfloat16())
    assert made.dtype == torch.bfloat16
    assert (made.float() - network(image)).abs().max() < 0.02
    assert network[0].gain.dtype == torch.float32


@pytest.mark.parametrize(("name", "function"), [("loss", "chi_squared"), ("method", "gcgan")])
def test_the_examples_train_and_resume(name: str, function: str, two_folders: Path, tmp_path: Path) -> None:
    config = small(named(f"{EXAMPLES / name}.py:{function}"), two_folders)
    found = train(config, out=tmp_path / "run")
    assert found.step == 4
    forget()
    with pytest.raises(MissingPartError, match=rf"not installed here; it came from the file {name}\.py"):
        unpaired.info(tmp_path / "run")
    config = small(named(f"{EXAMPLES / name}.py:{function}"), two_folders)
    assert train(config, out=tmp_path / "run").state_sha256 == found.state_sha256
    forget()
    # the network is the package's: whoever has the model needs nothing else
    translated = unpaired.load(tmp_path / "run" / "model")(Image(np.zeros((32, 32, 3), np.uint8)))
    assert translated.pixels.shape == (32, 32, 3)


def test_the_loss_of_the_example_is_its_formula() -> None:
    load_file(EXAMPLES / "loss.py")
    loss = LOSSES.get("chi_squared")
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0])
    assert loss.generator(fake) == pytest.approx(0.5)
    assert loss.discriminator(real, fake, 1.0) == pytest.approx((2 + 2) / 2)
    zeros = torch.zeros(4)
    assert loss.discriminator(zeros, zeros, 1.0) == pytest.approx(loss.undecided)


def test_a_file_that_is_loaded_is_the_origin_of_its_parts() -> None:
    for name, registry, kind in (("loss", LOSSES, "chi_squared"), ("generator", GENERATORS, "squeeze")):
        load_file(EXAMPLES / f"{name}.py")
        content = (EXAMPLES / f"{name}.py").read_bytes()
        assert registry.origin(kind) == Origin(file=f"{name}.py", sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("name", ["generator", "loss", "method"])
def test_an_example_fits_on_a_screen_or_two(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
    assert 20 <= len([line for line in lines if line.strip()]) <= 75


def test_a_recipe_file_whose_content_changed_is_refused_unless_allowed(two_folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text((EXAMPLES / "generator.py").read_text())
    train(small(named(f"{file}:squeeze"), two_folders), out=tmp_path / "run")
    before = read_origins(RunFolder(tmp_path / "run"))["generator squeeze"]
    file.write_text(file.read_text() + "\n# another content\n")
    config = small(named(f"{file}:squeeze"), two_folders)
    with pytest.raises(ConfigError, match=r"mine\.py changed since .* was started; restore that file"):
        train(config, out=tmp_path / "run")
    train(override(config, {"schedule.num_steps": 6}), out=tmp_path / "run", allow_config_change=True)
    assert read_origins(RunFolder(tmp_path / "run"))["generator squeeze"] != before
    history = (tmp_path / "run" / "history.jsonl").read_text()
    assert "The code of own parts changed: generator squeeze: the file mine.py" in history


FAULTY = {
    "fails as it is read": ("import nothing_of_this_name\n", "fails in line 1 .ModuleNotFoundError"),
    "is no Python": ("def wide(:\n", "fails in line 1 .SyntaxError"),
    "fails as it is called": (
        "def wide():\n    return 1 / 0\n",
        "fails in line 2 .ZeroDivisionError: division by zero",
    ),
    "has a network without build": (
        """
        from dataclasses import dataclass, replace
        from unpaired.recipes import paper
        @dataclass(frozen=True)
        class Bare:
            kind = "bare"
            multiple = 1
            min_size = 1
        def wide():
            return replace(paper(), generator=Bare())
        """,
        "Bare of the file own.py .* is no generator: it lacks build",
    ),
    "has a network that can be changed": (
        """
        from dataclasses import dataclass, replace
        from unpaired.recipes import paper
        @dataclass
        class Loose:
            kind = "loose"
            multiple = 1
            min_size = 1
            def build(self, a, b): ...
        def wide():
            return replace(paper(), generator=Loose())
        """,
        "Loose of the file own.py .* is no generator: its dataclass must be frozen",
    ),
    "has a kind of the package": (
        """
        from dataclasses import dataclass, replace
        from unpaired.networks import ResNetGenerator
        from unpaired.recipes import paper
        @dataclass(frozen=True)
        class Mine(ResNetGenerator):
            kind = "unet"
        """,
        "The generator unet of the file own.py .* has the kind of a built-in one; give it another kind",
    ),
    "has two networks of one kind": (
        """
        from dataclasses import dataclass
        from unpaired.networks import ResNetGenerator
        @dataclass(frozen=True, kw_only=True)
        class One(ResNetGenerator):
            kind = "mine"
        @dataclass(frozen=True, kw_only=True)
        class Two(ResNetGenerator):
            kind = "mine"
        """,
        "One and Two of the file own.py .* are two classes for the generator mine; give each its own kind",
    ),
    "has a multiple that is no number": (
        """
        from dataclasses import dataclass, replace
        from unpaired.recipes import paper
        @dataclass(frozen=True)
        class Mine:
            kind = "mine"
            multiple = "4"
            min_size = 8
            def build(self, a, b): ...
        def wide():
            return replace(paper(), generator=Mine())
        """,
        r"generator\.multiple must be a whole number of at least 1, not '4'",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_recipe_file_is_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = FAULTY[case]
    (tmp_path / "own.py").write_text(dedent(text))
    with pytest.raises(ConfigError, match=words):
        named(f"{tmp_path / 'own.py'}:wide")
    code, said = run(capsys, "train", tmp_path, "--recipe", f"{tmp_path / 'own.py'}:wide")
    assert code == 78
    assert said.startswith("unpaired: ")
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1


def test_a_field_that_yaml_cannot_hold_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
        from dataclasses import dataclass, field, replace
        from unpaired.networks import ResNetGenerator
        from unpaired.recipes import paper
        @dataclass(frozen=True, kw_only=True)
        class Mine(ResNetGenerator):
            kind = "mine"
            more: dict = field(default_factory=dict)
        def wide():
            return replace(paper(), generator=Mine())
        """
    (tmp_path / "own.py").write_text(dedent(text))
    code, said = run(capsys, "train", tmp_path, "--recipe", f"{tmp_path / 'own.py'}:wide")
    assert code == 78
    assert "use plain values: numbers, text, booleans and tuples of these (generator.more takes dict, not {})" in said


def test_a_recipe_file_without_its_function_and_a_name_in_place_of_a_file_are_one_sentence(
    two_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(capsys, "train", two_folders, "--recipe", EXAMPLES / "generator.py")
    assert (code, "generator.py names no function of the file; write" in said) == (78, True)
    code, said = run(capsys, "settings", "--recipe", "fast")
    assert (code, said) == (78, "unpaired: fast is no file of your own; --recipe takes FILE.py here.\n")


def test_the_command_that_training_suggests_works_as_it_is(
    two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "my parts" / "own.py", tmp_path / "a run"
    file.parent.mkdir()
    shutil.copy(EXAMPLES / "generator.py", file)
    code, said = run(capsys, "train", two_folders, "--recipe", f"{file}:squeeze", "--out", out, *options(SMALL))
    assert code == 0
    _, command = said.rsplit("Translate with it: unpaired ", 1)
    given = shlex.split(command.replace("IMAGE...", shlex.quote(str(two_folders / "testA"))))
    forget()
    assert run(capsys, *given)[0] == 0


@pytest.mark.parametrize("content", ["", "[]", "{", "3"])
def test_a_damaged_record_of_own_parts_is_named_by_verify_alone(
    content: str, two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = EXAMPLES / "generator.py", tmp_path / "run"
    train(small(named(f"{file}:squeeze"), two_folders), out=out)
    (out / "parts.json").write_text(content)
    found = {finding.part: finding for finding in unpaired.verify(out)}
    assert [part for part, finding in found.items() if finding.problem] == ["parts.json"]
    assert "parts.json is damaged" in found["parts.json"].problem
    forget()
    found = {finding.part: finding for finding in unpaired.verify(out)}
    assert [part for part, finding in found.items() if finding.problem] == ["parts.json"]
    assert [part for part, finding in found.items() if finding.missing] == ["config.yaml", "model"]
    assert run(capsys, "info", out)[0] == 78


def test_the_network_of_the_manual_trains_by_both_ways_that_it_shows(two_folders: Path, tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "own-parts.md").read_text(encoding="utf-8")
    in_a_file, from_python = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "mine.py").write_text(in_a_file)
    settings = {key: value for key, value in SMALL.items() if key != "generator.num_blocks"}
    config = override(named(f"{tmp_path / 'mine.py'}:plain"), {**settings, "data.root": str(two_folders)})
    assert train(config, out=tmp_path / "run").step == 4
    forget()
    given = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unpaired.runs.train", given.append)
        patch.setattr(unpaired, "train", given.append, raising=False)
        exec(in_a_file + from_python, {"__name__": __name__})
    assert given[0].generator.kind == "plain"


def test_a_configuration_of_the_packages_parts_has_no_origins() -> None:
    assert origins_of(Config()) == {}


OWN_PARTS = """
from dataclasses import dataclass, replace
from typing import ClassVar
from torch import nn
from unpaired.objectives.base import Objective
from unpaired.recipes import paper

@dataclass(frozen=True, kw_only=True)
class Small:
    kind: ClassVar[str] = "small"
    min_size: ClassVar[int] = 8

    def build(self, in_channels):
        return nn.Conv2d(in_channels, 1, 4, 2, 1)

@dataclass(frozen=True, kw_only=True)
class Alone:
    kind: ClassVar[str] = "alone"
    pairing: ClassVar[str] = "unpaired"

    def build(self, generator, discriminator, channels_a, channels_b, seed):
        objective = OneNetwork()
        objective.translators["AtoB"] = generator.build(channels_a, channels_b)
        return objective

class OneNetwork(Objective):
    generate = generator_losses = discriminator_losses = samples = lambda self, *batch: {}

def small():
    return replace(paper(), discriminator=Small())

def alone():
    return replace(paper(), objective=Alone())
"""


def test_scores_need_the_discriminator_and_translating_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out, data = tmp_path / "own.py", tmp_path / "run", tmp_path / "data"
    file.write_text(OWN_PARTS)
    assert run(capsys, "data", "draw", data, "--count", "20", "--size", "32")[0] == 0
    train(small(named(f"{file}:small"), data), out=out)
    forget()
    assert run(capsys, "translate", out, data / "testA")[0] == 0
    code, said = run(capsys, "translate", out, data / "testA", "--scores", "--overwrite")
    assert code == 78
    assert "The discriminator small is not installed here; it came from the file own.py" in said
    assert "damaged" not in run(capsys, "verify", out)[1]
    forget()
    assert run(capsys, "translate", out, data / "testA", "--scores", "--overwrite", "--recipe", file)[0] == 0


def test_a_method_without_a_discriminator_is_refused_before_step_one(two_folders: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_PARTS)
    config = small(named(f"{tmp_path / 'own.py'}:alone"), two_folders)
    with pytest.raises(ConfigError, match=r"objective\.kind alone has no discriminator, and each player"):
        train(config, out=tmp_path / "run")


# ---- an installed package -------------------------------------------------------------------------

PLUG_IN = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "unpaired-squeeze"
version = "1.5"

[project.entry-points."unpaired.generators"]
squeeze = "unpaired_squeeze:SqueezeGenerator"

[tool.setuptools]
py-modules = ["unpaired_squeeze"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator of the examples as a package, installed in a folder of its own."""
    pytest.importorskip("setuptools")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PLUG_IN)
    shutil.copy(EXAMPLES / "generator.py", source / "unpaired_squeeze.py")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target, source]
    subprocess.run([sys.executable, "-m", "pip", *map(str, install)], check=True, timeout=300)
    return target


def test_an_installed_package_needs_no_recipe_file(site: Path, two_folders: Path, tmp_path: Path) -> None:
    def unpaired_with(path: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
        paths = [str(path)] if path else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "unpaired", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    out = tmp_path / "run"
    given = ["train", two_folders, "--out", out, "--generator.kind", "squeeze", *options(SMALL)]
    done = unpaired_with(site, *given)
    assert done.returncode == 0, done.stderr
    origin = {"package": "unpaired-squeeze", "version": "1.5"}
    assert json.loads((out / "model" / "model.json").read_text())["requires"] == {"generator squeeze": origin}
    assert json.loads((out / "parts.json").read_text()) == {"generator squeeze": origin}
    assert unpaired_with(site, "translate", out, two_folders / "testA").returncode == 0
    without = unpaired_with(None, "translate", out, two_folders / "testA", "--overwrite")
    assert without.returncode == 78
    assert "a part of the package unpaired-squeeze 1.5: install that package" in without.stderr


def test_a_recipe_file_imports_modules_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_it_and_unique.py").write_text("answer = 42\n")
    (tmp_path / "mine.py").write_text("from beside_it_and_unique import answer\n")
    assert load_file(tmp_path / "mine.py").answer == 42
