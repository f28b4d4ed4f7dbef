"""Settings: each has a docstring, from which `unpaired settings`, `--explain` and docs/settings.md are made.

`python tests/test_settings.py --write` writes the tables of docs/settings.md anew.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from unpaired import cli
from unpaired.cli.app import app
from unpaired.cli.explaining import explained
from unpaired.cli.settings import OPTIONS, resolve
from unpaired.cli.settings_help import Row, kind_row, parts, rows
from unpaired.config import flatten, from_dict, to_dict, to_yaml
from unpaired.networks import UNetGenerator
from unpaired.provenance import DEFAULT, Provenance
from unpaired.recipes import RECIPES, Config, at_size, demo, paper
from unpaired.runs import RunInfo
from unpaired.setting_docs import class_doc, field_docs

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->"
CLASSES = [Config, RunInfo, Row, *(cls for classes in parts(own=True).values() for cls in classes)]
OTHER_WORDS = re.compile(
    r"\b(told|tells?|says?|said|is no number|what is)\b|\b(is|are|of|by|with|to) what\b", re.IGNORECASE
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


# --- the docstrings --------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_has_a_docstring_in_plain_english(cls: type) -> None:
    docs = field_docs(cls)
    assert list(docs) == [field.name for field in dataclasses.fields(cls)]
    for name, text in docs.items():
        assert len(text) >= 20, f"{cls.__name__}.{name}: {text!r}"
        assert len(text) <= 330, f"{cls.__name__}.{name} is longer than three lines"
        assert text[0].isupper() or text.split()[0].strip(":") in str(inspect.signature(cls)), text
        assert text.endswith("."), f"{cls.__name__}.{name}: {text!r}"
        assert not OTHER_WORDS.search(text), f"{cls.__name__}.{name}: {text!r}"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_class_docstring_describes_a_field_once_more(cls: type) -> None:
    text = inspect.getdoc(cls) or ""
    assert text
    assert not [field.name for field in dataclasses.fields(cls) if re.search(rf"(^|[.,;] ){field.name}: ", text)]


def test_the_classes_are_those_of_every_recipe() -> None:
    for recipe in RECIPES.values():
        for field in dataclasses.fields(Config):
            assert type(getattr(recipe(), field.name)) in parts(own=True)[field.name]


def test_the_help_of_a_short_option_is_the_docstring_of_its_setting() -> None:
    documented = dict(re.findall(r"^(\w+)\n((?: {4}.+\n?)+)", inspect.getdoc(cli.commands.train) or "", re.MULTILINE))
    named = {"DATA": "data", "--range": "range_", "--from": "from_"}
    for setting, option in OPTIONS.items():
        part, name = setting.split(".")
        (cls,) = parts(own=True)[part]
        text = documented[named.get(option, option.removeprefix("--").replace("-", "_"))]
        assert " ".join(text.split()) == field_docs(cls)[name], option


# --- reading them ----------------------------------------------------------------------------------

PLUG_IN = '''
from dataclasses import dataclass
from unpaired.networks import ResNetGenerator

@dataclass(frozen=True, kw_only=True)
class Wide(ResNetGenerator):
    """A wider ResNet."""

    kind = "wide"
    width: int = 2
    """Factor of all widths,
    at least 1.
    """
    bare: int = 3
    num_blocks: int = 12
    """Residual blocks; more than usual."""
    text = "no docstring of a field, as no field stands above it"
    "nor this"
'''


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_class_of_the_users_is_read_with_what_it_inherits(tmp_path: Path) -> None:
    (tmp_path / "own_generator.py").write_text(PLUG_IN)
    wide = loaded(tmp_path / "own_generator.py").Wide
    docs = field_docs(wide)
    assert docs["width"] == "Factor of all widths, at least 1."
    assert docs["bare"] == ""
    assert docs["num_blocks"] == "Residual blocks; more than usual."
    assert docs["norm"] == field_docs(parts(own=True)["generator"][0])["norm"] != ""
    assert set(docs) == {field.name for field in dataclasses.fields(wide)}
    assert class_doc(wide) == "A wider ResNet."
    assert [row.meaning for row in rows("generator", wide) if row.name == "generator.width"] == [docs["width"]]


def test_a_class_without_source_has_empty_texts() -> None:
    made = dataclasses.make_dataclass("made", [("size", int, 3)])
    assert dict(field_docs(made)) == {"size": ""}
    assert class_doc(made) == ""
    assert dict(field_docs(int)) == {}


def test_a_class_in_a_function_is_read_as_well() -> None:
    @dataclass
    class Inner:
        size: int = 3
        """Side of a square in pixels."""

    assert field_docs(Inner)["size"] == "Side of a square in pixels."
    assert class_doc(Inner) == ""  # dataclass writes its signature there


# --- unpaired settings -----------------------------------------------------------------------------


def test_settings_lists_parts_a_kind_or_one_setting(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "settings")
    assert code == 0
    assert [part for part in parts(own=True) if not re.search(rf"^{part}  ", printed, re.MULTILINE)] == []
    _, printed, _ = run(capsys, "settings", "generator")
    assert "generator.num_blocks: 9   (whole number; kind resnet)" in printed
    assert "generator.size: 64   (whole number; kind dcgan)" in printed
    _, printed, _ = run(capsys, "settings", "generator.unet")
    assert "generator.num_downs: 8" in printed
    assert "num_blocks" not in printed
    _, printed, _ = run(capsys, "settings", "optimizer.learning-rate", "run.device")
    assert "optimizer.learning_rate: 0.0002   (number)\n    Learning rate of Adam" in printed
    assert "run.device: auto   (text; free)" in printed
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("datta", "did you mean data?"),
        ("generator.unett", "Unknown setting generator.unett"),
        ("load_size", "did you mean data.load_size?"),
    ],
)
def test_an_unknown_setting_is_one_sentence(capsys: pytest.CaptureFixture[str], name: str, words: str) -> None:
    code, _, err = run(capsys, "settings", name)
    assert code == 78
    assert words in err


def test_the_help_needs_no_torch() -> None:
    code = (
        "import sys, contextlib; from unpaired import cli\n"
        "for words in (['--help'], ['train', '--help'], ['settings', '--help']):\n"
        "    with contextlib.suppress(SystemExit):\n        cli.main(words)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_settings_is_a_command() -> None:
    assert app["settings"]


# --- where a value comes from ----------------------------------------------------------------------


def sources(*settings: str, recipe: str = "paper", **options: Any) -> dict[str, str]:
    given = {"file": None, "size": None, "steps": None, "epochs": None, "quick": {}, **options}
    return resolve(recipe, settings=settings, **given).sources


def test_every_stage_is_the_source_of_the_settings_it_changes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("data: {batch_size: 4}\nobjective: {pool_size: 10}\n")
    quick = {"data.root": "DATA", "run.seed": 0}
    found = sources("data.batch-size=4", "run.seed=5", file=mine, size=128, epochs=10, quick=quick)
    assert found["data.crop_size"] == found["data.load_size"] == found["generator.num_blocks"] == "--size 128"
    assert found["objective.pool_size"] == f"--config {mine}"
    assert found["data.batch_size"] == "--data.batch-size"
    assert found["data.root"] == "DATA"
    assert found["run.seed"] == "--run.seed"
    assert found["schedule.num_steps"] == found["schedule.num_epochs_decay"] == "--epochs"
    assert found["optimizer.beta1"] == found["generator.num_downs"] == DEFAULT
    assert found["generator.kind"] == "recipe paper"
    assert set(found.values()) == {
        *("--size 128", f"--config {mine}", "--data.batch-size", "DATA", "--run.seed", "--epochs", DEFAULT),
        "recipe paper",
    }


def test_an_option_is_the_source_even_if_it_repeats_the_value() -> None:
    assert sources(quick={"run.seed": 0})["run.seed"] == "--seed"
    assert sources("optimizer.beta1=0.5")["optimizer.beta1"] == "--optimizer.beta1"
    assert sources(steps=3)["schedule.num_steps"] == "--steps"
    assert sources(recipe="demo", size=256)["data.crop_size"] == "--size 256"  # the default of its class


def test_a_recipe_is_the_source_of_what_it_sets_apart_from_the_defaults() -> None:
    found = sources(recipe="demo")
    assert {key for key, source in found.items() if source == "recipe demo"} == {
        *("data.load_size", "data.crop_size", "objective.kind", "generator.kind", "generator.base_channels"),
        *("generator.num_blocks", "generator.num_downs", "discriminator.kind", "discriminator.base_channels"),
        *("discriminator.num_layers", "optimizer.learning_rate", "optimizer.ema_decay", "schedule.num_steps"),
        "run.held_out_every",
        *("run.sample_every", "run.checkpoint_every"),
    }
    assert set(found.values()) == {"recipe demo", DEFAULT}


def test_another_kind_brings_its_defaults() -> None:
    found = sources("generator.kind=unet", "generator.num-downs=7", recipe="gan-alone")
    assert found["generator.kind"] == "--generator.kind"
    assert found["generator.num_downs"] == "--generator.num-downs"
    assert found["generator.base_channels"] == found["generator.norm"] == DEFAULT
    assert "generator.num_blocks" not in found


def test_a_later_stage_can_be_any_function_of_a_configuration() -> None:
    made = Provenance(demo(), "recipe demo")
    made.stage(at_size(made.config, 32), "memory plan")
    config = made.stage(replace(made.config, generator=UNetGenerator(num_downs=3)), "a resolver")
    assert config == made.config
    assert made.sources["data.crop_size"] == "memory plan"
    assert made.sources["generator.num_downs"] == made.sources["generator.kind"] == "a resolver"
    assert made.sources["generator.dropout"] == DEFAULT
    assert made.sources["run.log_every"] == DEFAULT
    assert list(made.sources) == list(flatten(config))


def test_a_part_without_defaults_has_the_recipe_as_its_source() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Part:
        size: int
        depth: int = 1

    @dataclass(frozen=True, kw_only=True)
    class Whole:
        part: Part

    made = Provenance(Whole(part=Part(size=3)), "recipe mine")
    assert made.sources == {"part.size": "recipe mine", "part.depth": "recipe mine"}
    made.stage(Whole(part=Part(size=4)), "the images")
    assert made.sources == {"part.size": "the images", "part.depth": "recipe mine"}


# --- train --explain -------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_explained_configuration_is_the_yaml_of_the_same(recipe: str) -> None:
    made = resolve(recipe, None, None, None, None, {"data.root": "a\nb: \u00fc # c" + " x" * 100}, ())
    text = explained(made.config, made.sources)
    plain = yaml.safe_load(to_yaml(made.config))
    assert yaml.safe_load(text) == plain
    assert from_dict(Config, {key: value for key, value in plain.items() if key != "schema"}) == made.config
    assert text.count("# [") == len(flatten(made.config))
    assert "# []" not in text


def test_each_setting_stands_below_its_source_and_its_meaning() -> None:
    text = explained(paper(), dict.fromkeys(flatten(paper()), "somewhere"))
    lines = iter(text.splitlines())
    comment, seen = "", {}
    for line in lines:
        if line.startswith("  # "):
            comment += line[4:] + " "
        elif match := re.match(r"  (\w+):", line):
            seen[match[1]] = comment.strip()
            comment = ""
    assert seen["learning_rate"] == "[somewhere] " + field_docs(type(paper().optimizer))["learning_rate"]
    assert all(text.startswith("[somewhere] ") and len(text) > 30 for text in seen.values())
    assert max(map(len, text.splitlines())) <= 100


def test_explain_prints_what_dry_run_prints_with_comments(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ("train", "somewhere", "--size", "128", "--out", str(tmp_path / "run"), "--objective.identity-weight", "0")
    code, printed, _ = run(capsys, *given, "--explain")
    assert code == 0
    assert "# [--objective.identity-weight] Weight of identity mapping" in printed
    assert run(capsys, *given, "--dry-run", "--explain")[1] == printed
    _, dry, _ = run(capsys, *given, "--dry-run")
    assert yaml.safe_load(printed) == yaml.safe_load(dry)
    (tmp_path / "mine.yaml").write_text(printed)
    assert run(capsys, "train", "--config", str(tmp_path / "mine.yaml"), "--dry-run")[1] == dry
    assert not (tmp_path / "run").exists()


def test_a_name_with_control_characters_does_not_reach_the_terminal(tmp_path: Path) -> None:
    mine = tmp_path / "mine\x1b[31m.yaml"
    mine.write_text("data: {batch_size: 4}")
    made = resolve("paper", mine, None, None, None, {}, ())
    text = explained(made.config, made.sources)
    assert "\x1b" not in text
    assert yaml.safe_load(text)["data"]["batch_size"] == 4


# --- docs/settings.md ------------------------------------------------------------------------------


def table(found: list[Row]) -> list[str]:
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for row in found:
        cells = (f"`{row.name}`", row.default, row.values + ("; free" if row.free else ""), row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def tables() -> str:
    """Return the generated part of docs/settings.md."""
    blocks = []
    for part, classes in parts(own=True).items():
        blocks += [f"## {part}", field_docs(Config)[part]]
        if choosing := kind_row(part, classes):
            blocks.append("\n".join(table(choosing)))
        for cls in classes:
            kind = getattr(cls, "kind", "")
            blocks += [f"### {part}.kind {kind}", class_doc(cls)] if kind else []
            blocks.append("\n".join(table(rows(part, cls))))
    return "\n\n".join(blocks) + "\n"


def test_the_tables_of_the_manual_are_those_of_the_code() -> None:
    _, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    found, mark, _ = rest.partition(END)
    assert mark
    assert found == tables(), "python tests/test_settings.py --write"


def test_every_setting_of_every_recipe_is_in_the_manual() -> None:
    listed = set(re.findall(r"^\| `([\w.]+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {name for recipe in RECIPES.values() for name in flatten(recipe())} | {"discriminator.size"}


def test_a_default_is_shown_as_it_would_be_typed() -> None:
    shown = {
        row.name: row.default for part in parts(own=True) for cls in parts(own=True)[part] for row in rows(part, cls)
    }
    assert (shown["optimizer.eps"], shown["run.tensorboard"], shown["schedule.num_steps"]) == ("1e-08", "false", "none")
    assert (shown["data.background"], shown["objective.augmentation"], shown["data.root"]) == ("255,255,255", "", "")
    config = resolve(
        "paper", None, None, None, None, {}, [f"{key}={shown[key]}" for key in shown if key[:4] in ("data", "run.")]
    )
    assert to_dict(config.config) == to_dict(paper())


def write() -> None:
    before, rest = DOCS.read_text(encoding="utf-8").split(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}{tables()}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_settings.py --write")
    write()
