"""The documentation site: every page has a place, every generated name exists, links lead somewhere on the site too."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import unpaired

ROOT = Path(__file__).parent.parent
GENERATORS = ("zensical", "mkdocstrings_handlers")


def loaded_builder() -> Any:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / ".ci" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs_site = loaded_builder()


def configuration() -> dict[str, Any]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(re.sub(r"!!python/\S+", "", text)))


def generated_names() -> list[str]:
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def test_the_navigation_lists_every_page_of_docs_once() -> None:
    listed = [page for section in configuration()["nav"] for pages in section.values() for page in pages]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == {page for page in pages if not page.startswith("decisions/")}


def test_the_front_page_links_to_every_page_of_the_navigation() -> None:
    listed = {page for section in configuration()["nav"] for pages in section.values() for page in pages}
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert listed - {"index.md"} <= set(re.findall(r"\]\(([^)]+)\)", text))


def test_every_name_on_the_generated_pages_can_be_imported() -> None:
    names = generated_names()
    assert len(names) > 20
    for name in names:
        module, parts = unpaired, name.split(".")[1:]
        found: Any = module
        for index, part in enumerate(parts):
            if not hasattr(found, part):
                importlib.import_module(".".join(["unpaired", *parts[: index + 1]]))
            found = getattr(found, part)
        assert found.__doc__, name


def test_every_public_name_is_on_the_generated_pages() -> None:
    text = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    for name in set(unpaired.__all__) - {"__version__"}:
        assert f"unpaired.{name}" in [*generated_names(), *re.findall(r"`(unpaired\.\w+)\(", text)], name


def test_every_link_of_the_repository_leads_to_a_page_of_the_site(tmp_path: Path) -> None:
    repository = docs_site.Repository()
    shown = repository.write(tmp_path)
    assert repository.problems == []
    assert PurePosixPath("benchmarks/speed.md") in shown
    assert PurePosixPath("examples/quickstart.ipynb") in shown
    for page in tmp_path.rglob("*.md"):
        for target in docs_site.links(page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.relative_to(tmp_path)} links to {target}"


def test_files_and_folders_outside_docs_become_pages_and_links_follow_them(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown", "source": ["# N"]}, {"cell_type": "code", "source": ["x = 1"]}]
    files = {
        "docs/index.md": "[a](deep/a.md#top) [s](../src/x.py) [d](decisions/) ![p](p.png) `[no](code.md)`\n\n[u](https://e.org/x.md)",
        "docs/deep/a.md": "[out](../../bench/b.md)",
        "docs/decisions/001.md": "# First choice",
        "docs/p.png": "",
        "bench/b.md": "[back](../docs/index.md) [n](n.ipynb)\n\n```text\n[no](code.md)\n```\n",
        "bench/n.ipynb": json.dumps({"cells": cells}),
        "src/x.py": "print(1)\n",
        "src/unlinked.py": "",
    }
    write(tmp_path / "in", files)
    repository = docs_site.Repository(tmp_path / "in")
    repository.write(tmp_path / "out")
    made = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert repository.problems == []
    assert set(made) == {
        "index.md",
        "deep/a.md",
        "decisions/001.md",
        "decisions/index.md",
        "p.png",
        "repository/bench/b.md",
        "repository/bench/n.ipynb.md",
        "repository/src/x.py.md",
    }
    index = made["index.md"].read_text(encoding="utf-8")
    assert "[a](deep/a.md#top) [s](repository/src/x.py.md) [d](decisions/index.md) ![p](p.png)" in index
    assert "`[no](code.md)`" in index
    assert "(https://e.org/x.md)" in index
    assert made["deep/a.md"].read_text(encoding="utf-8") == "[out](../repository/bench/b.md)"
    assert "[back](../../index.md) [n](n.ipynb.md)" in made["repository/bench/b.md"].read_text(encoding="utf-8")
    assert "````python\nx = 1\n````" in made["repository/bench/n.ipynb.md"].read_text(encoding="utf-8")
    assert "````python\nprint(1)\n````" in made["repository/src/x.py.md"].read_text(encoding="utf-8")
    assert "[First choice](001.md)" in made["decisions/index.md"].read_text(encoding="utf-8")


def test_a_link_that_leads_nowhere_or_out_of_the_repository_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path / "in", {"docs/index.md": "[a](gone.md) [b](../../outside.md)", "../outside.md": ""})
    repository = docs_site.Repository(tmp_path / "in")
    repository.write(tmp_path / "out")
    assert repository.problems == [
        "docs/index.md links to gone.md, which does not exist.",
        "docs/index.md links to ../../outside.md, which does not exist.",
    ]


def test_what_a_page_would_load_from_another_server_is_found(tmp_path: Path) -> None:
    page = (
        '<link rel="stylesheet" href="style.css"><script src="a.js"></script><a href="https://e.org">link</a>'
        '<script src="https://cdn.org/a.js"></script><link rel="stylesheet" href="//fonts.org/f.css"><img src="http://e.org/i.png">'
    )
    write(tmp_path, {"index.html": page})
    assert len(docs_site.remote(tmp_path)) == 3


@pytest.mark.skipif(not all(map(importlib.util.find_spec, GENERATORS)), reason="needs pip install -e '.[docs]'")
@pytest.mark.parametrize(
    "broken", ["", "[x](data.md#no-such-heading)", "[x][unpaired.nothing]", "::: unpaired.nothing"]
)
def test_the_site_is_built_and_whatever_is_unresolved_fails(broken: str, tmp_path: Path) -> None:
    for name in (".ci/docs_site.py", "mkdocs.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("docs", "src", "benchmarks", "findings", "tests", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for path in ROOT.glob("*.md"):
        shutil.copy(path, tmp_path)
    if broken:
        (tmp_path / "docs").unlink()
        shutil.copytree(ROOT / "docs", tmp_path / "docs")
        with (tmp_path / "docs" / "names.md").open("a", encoding="utf-8") as page:
            page.write(f"\n{broken}\n")
    command = [sys.executable, str(tmp_path / ".ci" / "docs_site.py")]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (finished.returncode == 0) == (not broken), finished.stdout + finished.stderr
    if not broken:
        training = (tmp_path / "site" / "training.html").read_text(encoding="utf-8")
        assert 'id="exit-codes"' in training
        assert 'id="unpaired.train"' in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
