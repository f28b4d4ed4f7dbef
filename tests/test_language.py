"""The language of the documents and of the source: counted against limits, and one sentence a line in the documents.

Two habits that make technical text hard to read are counted: noun clauses ("this is what it does") and personified
reporting ("the line tells whether"). CONTRIBUTING.md lists the words to use instead.

`python tests/test_language.py` prints the counts of each package.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *ROOT.glob("docs/**/*.md"),
    ]
)

HABITS = {
    "noun clauses": re.compile(r"\b(?:is|are|of|to|and) what\b", re.IGNORECASE),
    "told, tells": re.compile(r"\b(?:told|tells)\b", re.IGNORECASE),
}

GOAL = {"noun clauses": 8.0, "told, tells": 3.0}
"""Occurrences per 10,000 words that every tree should keep to."""

LIMITS = {
    "docs": GOAL,
    # Ceilings of text that is yet to be rewritten, as counted on 1 December 2026. They may only fall: lower them with
    # the counts, and replace a line by GOAL once its tree keeps to the goal.
    "docstrings of src": GOAL,
    "messages of src": GOAL,
}
"""The limit of each habit in each tree, per 10,000 words."""

UNLINED = {"CHANGELOG.md"}
"""Pages whose lines are not checked yet; remove a name once its page is rewritten."""

WIDTH = 100
"""Columns of a line that may hold more than one sentence."""

SHORTEST_MESSAGE = 4
"""Words of a string that counts as a message, not as a name or a format."""


@dataclass(frozen=True)
class Passage:
    """A piece of text and its place, such as docs/data.md or src/unpaired/pool.py:12."""

    place: str
    text: str


def pages() -> Iterator[Passage]:
    """Yield the documents without their code."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield Passage(str(page.relative_to(ROOT)), re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE))


def docstrings() -> Iterator[Passage]:
    """Yield every string that stands as a statement: of modules, classes, functions and attributes."""
    for place, tree in modules():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield Passage(f"{place}:{node.lineno}", node.value.value)


def messages() -> Iterator[Passage]:
    """Yield every other string of a few words, with {} in place of the values of an f-string."""
    for place, tree in modules():
        inner = {
            id(node) for text in ast.walk(tree) if isinstance(text, ast.Expr | ast.JoinedStr) for node in parts(text)
        }
        for node in ast.walk(tree):
            if id(node) not in inner and (text := message(node)) and len(text.split()) >= SHORTEST_MESSAGE:
                yield Passage(f"{place}:{getattr(node, 'lineno', 0)}", text)


def parts(text: ast.Expr | ast.JoinedStr) -> list[ast.expr]:
    """Return the constants that are no message by themselves: a docstring, or the pieces of an f-string."""
    return [text.value] if isinstance(text, ast.Expr) else text.values


def message(node: ast.AST) -> str:
    """Return the text of a string or an f-string, "" for any other node."""
    if isinstance(node, ast.JoinedStr):
        return "".join(message(value) or "{}" for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


TREES = {"docs": pages, "docstrings of src": docstrings, "messages of src": messages}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("tree", TREES)
def test_the_language_keeps_to_its_limits(tree: str, habit: str) -> None:
    passages = list(TREES[tree]())
    words = sum(len(passage.text.split()) for passage in passages)
    found = [(passage.place, match.group()) for passage in passages for match in HABITS[habit].finditer(passage.text)]
    rate = 10_000 * len(found) / words
    places = ", ".join(f"{place} ({match})" for place, match in found)
    assert rate <= LIMITS[tree][habit], f"{rate:.1f} {habit} per 10,000 words of {tree}; rewrite some of: {places}"


def test_the_habits_are_recognised() -> None:
    text = "This is what it does. The log tells of what was told; whatever it is, whoever retells it."
    assert HABITS["noun clauses"].findall(text) == ["is what", "of what"]
    assert HABITS["told, tells"].findall(text) == ["tells", "told"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in UNLINED], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_line_of_the_documents_holds_one_sentence_or_at_most_100_columns(page: Path) -> None:
    wide = [(number, line) for number, line in prose(page) if len(line) > WIDTH and len(sentences(line)) > 1]
    assert wide == []


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a page that are not code, tables, generated parts or comments."""
    fenced = generated = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.startswith("```")
        generated = (generated or bool(re.match(r"<!-- \w+:begin -->", line))) and not re.match(
            r"<!-- \w+:end -->", line
        )
        if not (fenced or generated or line.startswith(("    ", "|", "<!--", "```"))):
            yield number, line


def sentences(line: str) -> list[str]:
    """Return the sentences of a line; the lead of an item (**Speed.**) belongs to the sentence after it."""
    line = re.sub(r"^\s*(?:[-*]|\d+\.)?\s*", "", line)
    line = re.sub(r"^(\*{1,2})[^*]+\1[.:]?\s*", "", line)
    line = re.sub(r"`[^`]*`", "code", line)
    line = re.sub(r"\b(?:e\.g|i\.e|et al|Fig|eq|vs|St)\.", "short", line)
    return re.split(r"(?<=[.!?])[\"'”)*\]]*\s+(?=[\"'“(*\[]*[A-Z])", line)


def test_sentences_are_split() -> None:
    assert len(sentences("- **Speed.** A step takes 2 s (see Lavin et al. 2016). It rounds less.")) == 2
    assert len(sentences("**Speed.** A step takes 2.5 s, e.g. Adam with `a. B`.")) == 1
    assert len(sentences('It prints "Took the left half." And it stops.')) == 2


def test_an_attribute_docstring_is_no_message() -> None:
    tree = ast.parse('"""One."""\nA = 1\n"""Two."""\nraise ValueError(f"{A} is not a number of images here")\n')
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    assert len(strings) == 2
    (text,) = [found for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and (found := message(node))]
    assert text == "{} is not a number of images here"


def print_counts() -> None:
    """Print the occurrences of each habit in each tree, by package or page."""
    for tree, passages in TREES.items():
        texts = list(passages())
        words = sum(len(passage.text.split()) for passage in texts)
        for habit, pattern in HABITS.items():
            counts: Counter[str] = Counter()
            for passage in texts:
                parts_of_place = Path(passage.place.partition(":")[0]).parts
                counts["/".join(parts_of_place[:3])] += len(pattern.findall(passage.text))
            rate = 10_000 * counts.total() / words
            print(f"{tree}, {habit}: {counts.total()}, {rate:.2f} per 10,000 words (limit {LIMITS[tree][habit]})")
            print("".join(f"  {count:3} {place}\n" for place, count in counts.most_common() if count), end="")


if __name__ == "__main__":
    print_counts()
