"""The list of planted mistakes fits the source: `make mutants` would plant each of them once, where it belongs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutants.__main__ import Failure, Outcome
from mutants.planted import MUTANTS, Mutant

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "unpaired"
PAGE = TESTS.parent / "docs" / "reliability.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_mistake_has_one_place_and_is_still_python(mutant: Mutant) -> None:
    text = (SOURCE / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} holds it {text.count(mutant.old)} times: {mutant.old}"
    changed = text.replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_must_notice_a_mistake_exist(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (TESTS / file).read_text(encoding="utf-8")
        assert "golden" not in test


def test_every_mistake_has_a_name_of_its_own_and_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_the_manual_lists_every_mistake_and_counts_them() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = page.partition("| mutant | what it would do |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert listed == [f"| {mutant.name} | {mutant.effect} |" for mutant in MUTANTS]
    areas = page.partition("| area | mutants | noticed |\n|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    *counts, total = [int(line.split("|")[2]) for line in areas]
    assert sum(counts) == total == len(MUTANTS)
    assert f"\n{total} mistakes are planted" in page


@pytest.mark.parametrize(
    ("code", "failures", "verdict"),
    [
        (0, (), "survived"),
        (1, (Failure("test_pool.py::test_x", "call", "AssertionError"),), "killed"),
        (1, (Failure("test_pool.py::test_x", "setup", "AssertionError"),), "invalid"),
        (1, (Failure("test_pool.py::test_x", "call", "NameError"),), "invalid"),
        (2, (Failure("test_pool.py", "collection", "error"),), "invalid"),
        (-1, (), "invalid"),
    ],
)
def test_only_a_test_that_fails_by_what_it_looks_at_counts(
    code: int, failures: tuple[Failure, ...], verdict: str
) -> None:
    assert Outcome(code, failures).verdict == verdict
