"""Options under the names of other programs get the right name, which exists."""

from __future__ import annotations

import re

import pytest

from unpaired.cli import main
from unpaired.cli.app import app
from unpaired.cli.synonyms import EVALUATE, TRAIN, TRANSLATE, advice
from unpaired.recipes import RECIPES

TABLES = {"train": TRAIN, "translate": TRANSLATE, "evaluate": EVALUATE}


def options_of(verb: str) -> set[str]:
    arguments = app[verb].assemble_argument_collection(parse_docstring=False)
    return {name for argument in arguments for name in argument.names}


@pytest.mark.parametrize("verb", TABLES)
def test_no_name_is_an_option_already_or_listed_twice(verb: str) -> None:
    names = [name for group in TABLES[verb] for name in group.split()]
    assert len(set(names)) == len(names)
    assert not {f"--{name.replace('_', '-')}" for name in names if len(name) > 1} & options_of(verb)


@pytest.mark.parametrize(
    ("verb", "sentence"), [(verb, text) for verb, table in TABLES.items() for text in table.values()]
)
def test_the_options_and_settings_that_an_advice_names_exist(verb: str, sentence: str) -> None:
    recipes = [recipe() for recipe in RECIPES.values()]
    for dotted in re.findall(r"--([a-z]+\.[a-z0-9-]+)", sentence):
        part, name = dotted.replace("-", "_").split(".")
        assert any(hasattr(getattr(recipe, part), name) for recipe in recipes), dotted
    at = "evaluate" if "unpaired evaluate" in sentence else verb
    for option in re.findall(r"(--[a-z-]+)(?![a-z.-])", sentence.replace("--nproc-per-node", "")):
        assert option in options_of(at), option


def test_names_of_the_official_code_and_of_habit_are_advised(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in {
        ("train", "x", "--batch-size", "4"): "Unknown option: --batch-size. Use --data.batch-size N.\n",
        ("train", "x", "--continue_train"): "the same command with the same --out continues an interrupted run.\n",
        ("train", "x", "--from_pretrained", "y"): "Use --from PATH, a run",
        ("translate", "m", "x.png", "--gpu_ids", "0"): "Use --device cuda, cuda:N, cpu or mps.\n",
        ("evaluate", "m", "d", "--fid"): "Use --inception FILE",
        ("train", "x", "--outt", "y"): "Unknown option: --outt. Did you mean --out?\n",
    }.items():
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 64
        assert expected in capsys.readouterr().err


def test_other_names_and_verbs_have_no_advice() -> None:
    assert advice([], "--lr") == advice(["info"], "--lr") == advice(["train"], "--no-such") == ""
