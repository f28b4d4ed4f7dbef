"""The repository: its metadata is valid, complete and consistent with its files."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from unpaired import version

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")


def loaded(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def tracked() -> list[str]:
    """Return the files that git knows; the test is skipped outside of a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([a-z][a-z ]*):", text, flags=re.MULTILINE) for name in line.split()}


def code_in(text: str) -> list[str]:
    """Return the code of a page: what stands in backticks, fences and indented lines."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"`([^`\n]+)`", text), *fences, *re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE)]


def test_the_citation_names_the_software_and_both_papers() -> None:
    citation = loaded("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license", "references"} <= set(citation)
    assert (citation["type"], citation["title"]) == ("software", PROJECT["name"])
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert [(paper["doi"], paper["year"]) for paper in citation["references"]] == [
        ("10.1109/ICCV.2017.244", 2017),
        ("10.1109/CVPR.2017.632", 2017),
    ]
    for paper in citation["references"]:
        assert {"type", "title", "authors", "conference"} <= set(paper)
        assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])


def test_the_papers_of_the_citation_are_those_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for paper in loaded("CITATION.cff")["references"]:
        names = ", ".join(author["family-names"] for author in paper["authors"])
        assert f"{names}: *{paper['title']}*" in text


def test_the_authors_are_the_holders_of_the_licence() -> None:
    (holder,) = re.findall(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    assert PROJECT["authors"] == loaded("CITATION.cff")["authors"] == [{"name": holder}]


def test_the_version_is_the_same_everywhere() -> None:
    source = Path(version.__file__).read_text(encoding="utf-8")
    assert f'__version__ = "{PROJECT["version"]}"' in source


def test_the_classifiers_are_those_of_the_promised_versions_of_python() -> None:
    prefix = "Programming Language :: Python :: "
    minors = [
        int(name.removeprefix(f"{prefix}3.")) for name in PROJECT["classifiers"] if name.startswith(f"{prefix}3.")
    ]
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))
    matrix = loaded(".github/workflows/ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert matrix == [f"3.{minors[0]}", f"3.{minors[-1]}"]
    assert PYPROJECT["tool"]["mypy"]["python_version"] == f"3.{minors[0]}"
    assert f"FROM python:3.{minors[0]}-slim" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_no_licence_classifier_stands_beside_the_licence_expression() -> None:
    assert not [name for name in PROJECT["classifiers"] if name.startswith("License ::")]


def test_the_package_data_are_all_files_of_the_package_that_are_not_python() -> None:
    package = ROOT / "src" / "unpaired"
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["unpaired"]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert package / "py.typed" in others
    assert packed == others


def test_every_folder_of_the_package_that_holds_files_is_a_package() -> None:
    package = ROOT / "src" / "unpaired"
    folders = {path.parent for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    folders -= set((package / "bundled").iterdir())  # models, which are data; test_bundled.py inspects them
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_sdist_holds_every_tracked_file_but_those_of_the_forge() -> None:
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    named = {word for command, *words in lines if command == "include" for word in words}
    grafted = {word for command, *words in lines if command == "graft" for word in words}
    assert [name for name in named | grafted if not (ROOT / name).exists()] == []
    by_themselves = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"}
    left_out = [
        name for name in tracked() if name.split("/")[0] not in {"src", *grafted} and name not in named | by_themselves
    ]
    assert left_out == []


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_the_forge_requires(form: Path) -> None:
    content = loaded(form)
    assert {"name", "description", "body"} <= set(content) <= {"name", "description", "title", "labels", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    identities = [field["id"] for field in fields]
    assert len(set(identities)) == len(identities) > 0
    for field in content["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert ("value" if field["type"] == "markdown" else "label") in field["attributes"]
        assert field["type"] not in ("dropdown", "checkboxes") or field["attributes"]["options"]
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_there_is_a_form_for_each_kind_of_issue() -> None:
    assert [form.stem for form in FORMS] == ["bug", "idea", "wrong-numbers"]


def test_continuous_integration_runs_the_targets_of_the_makefile_and_needs_no_secret() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make test", "make check", "make docs", "make dist"]
    assert "secrets." not in text
    assert loaded(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(\w+) \?= *(.*)$", makefile, flags=re.MULTILINE):
        assert name != "TORCH" or f"'{value}'" in text


def test_the_hooks_before_a_commit_are_the_tools_that_make_installs() -> None:
    (repository,) = loaded(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    check = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck:")[1].split("\n\n")[0]
    for hook in repository["hooks"]:
        program, *arguments = hook["entry"].replace(" --force-exclude", "").split()
        assert program.startswith(".venv/bin/")
        assert " ".join([program.replace(".venv/bin", "$(BIN)"), *arguments]) in check


def test_the_make_targets_that_the_pages_name_exist() -> None:
    named = {
        name
        for page in ("CONTRIBUTING.md", "SECURITY.md", "Dockerfile", ".github/workflows/ci.yml")
        for code in [*code_in((ROOT / page).read_text(encoding="utf-8"))]
        for name in re.findall(r"\bmake ([a-z]+)", code)
    }
    assert {"check", "test", "mutants", "fuzz", "faults", "slow", "gpu", "golden", "dist"} <= named
    assert named <= make_targets()


def test_the_help_of_make_names_every_target_for_people() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    assert set(phony.split()) == make_targets()
    assert set(re.findall(r"\bmake ([a-z]+) ", text)) | {"clean", "help"} >= make_targets()


def test_the_paths_that_contributing_names_exist() -> None:
    words = [word.strip("`,.;:()") for code in code_in(CONTRIBUTING) for word in code.split()]
    paths = {word for word in words if re.match(r"(?:src|tests|docs|findings|\.github|\.ci)(?:/|$)", word)}
    paths |= {word for word in words if re.fullmatch(r"[\w.-]+\.(?:toml|cff|md)", word)}
    assert len(paths) > 30
    placeholders = [path for path in paths if "NAME" in path]
    assert placeholders == [path for path in placeholders if (ROOT / path).parent.is_dir()]
    assert [path for path in sorted(paths - set(placeholders)) if not (ROOT / path).exists()] == []


def test_the_names_in_the_code_that_contributing_sends_to_exist() -> None:
    named = {
        "RECIPES": "src/unpaired/recipes.py",
        "GeneratorConfig": "src/unpaired/networks/protocols.py",
        "MethodConfig": "src/unpaired/objectives/method.py",
        "GENERATORS": "src/unpaired/networks/__init__.py",
        "DISCRIMINATORS": "src/unpaired/networks/__init__.py",
        "METHODS": "src/unpaired/objectives/__init__.py",
        "LOSSES": "src/unpaired/objectives/losses.py",
        "AGAINST_TRUTH": "src/unpaired/evaluation/truth.py",
        "METRICS": "src/unpaired/evaluation/figures.py",
        "OfficialExporter": "src/unpaired/interop/official/exporting.py",
        "EXPORTERS": "src/unpaired/interop/__init__.py",
        "ImageFormat": "src/unpaired/images/formats.py",
        "FORMATS": "examples/format_npy.py",
        "PillowFormat": "src/unpaired/images/own_formats.py",
        "OWN": "src/unpaired/images/own_formats.py",
        "def extra": "src/unpaired/images/extras.py",
    }
    for name, path in named.items():
        assert path in CONTRIBUTING
        assert name.removesuffix(" =").removeprefix("def ") in CONTRIBUTING
        assert re.search(rf"\b{name}(?!\w)", (ROOT / path).read_text(encoding="utf-8")), f"{path} holds no {name}"


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_for_visitors_are_at_most_100_columns_wide(page: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_the_image_for_docker_is_given_what_the_wheel_is_built_from_and_no_more() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert kept == {"LICENSE", "README.md", "pyproject.toml", "src"}
    assert {*PROJECT["license-files"], PROJECT["readme"]} <= kept
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert 'ENTRYPOINT ["unpaired"]' in lines
    assert lines.index("USER unpaired") < lines.index('ENTRYPOINT ["unpaired"]')


def test_a_file_name_stands_for_one_idea() -> None:
    names = Counter(path.name for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py")

    assert [name for name, count in names.items() if count > 1] == []


CHANGE_KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    head, *versions = re.split(r"^## ", text, flags=re.MULTILINE)
    assert head.startswith("# Changelog\n")
    assert versions[0].startswith("[Unreleased]\n")
    for entry in versions:
        assert re.match(r"\[(?:Unreleased\]|\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d)\n", entry)
        kinds = re.findall(r"^### (.+)$", entry, flags=re.MULTILINE)
        assert kinds == [kind for kind in CHANGE_KINDS if kind in kinds]
        assert kinds


def test_a_line_of_the_changelog_holds_one_sentence_in_at_most_100_columns() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 100] == []
    assert [line for line in lines if re.search(r"(?<!vs)[.!?] [A-Z`\[]", line)] == []
