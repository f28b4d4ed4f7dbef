"""The models that come with the package: complete, small, licensed and loadable; a stand-in tries the rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from test_models_by_name import small_model
from test_repository import PYPROJECT, ROOT, tracked
from unpaired.models.by_name import BUNDLED, models_in
from unpaired.models.model_folder import read_model
from unpaired.models.published_weights import PUBLISHED_WEIGHTS
from unpaired.runs.verify import verify
from unpaired.zoo.shelf import read_origin, size_of

MOST = 3_000_000
"""Bytes of a model folder."""


def faults(folder: Path) -> list[str]:
    """Return what keeps a model folder from coming with the package."""
    found = [f"{path.name} is a folder" for path in folder.iterdir() if not path.is_file()]
    names = {path.name for path in folder.iterdir()}
    found += [f"no {name}" for name in ("model.json", "README.md", "origin.json", "figures.json") if name not in names]
    found += ["no preview"] if not names & {"preview.png", "preview.jpg"} else []
    found += [f"no {key}" for key in ("about", "licence", "credit") if not read_origin(folder).get(key)]
    found += [f"{size_of(folder):,} bytes"] if size_of(folder) > MOST else []
    found += [f"the name {folder.name} is that of published weights"] if folder.name in PUBLISHED_WEIGHTS else []
    if "figures.json" in names:
        json.loads((folder / "figures.json").read_bytes())
    return found


@pytest.mark.parametrize("folder", models_in(BUNDLED).values(), ids=str)
def test_a_model_of_the_package_is_complete_small_and_intact(folder: Path) -> None:
    assert faults(folder) == []
    assert [finding.problem for finding in verify(folder)] == [""]
    read_model(folder)


def test_no_folder_without_a_model_lies_among_them() -> None:
    folders = [path.name for path in sorted(BUNDLED.iterdir()) if path.is_dir() and path.name != "__pycache__"]
    assert folders == list(models_in(BUNDLED))


def test_the_rules_hold_for_a_stand_in_and_name_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    small_model(folder)
    assert faults(folder) == ["no figures.json", "no preview"]
    (folder / "figures.json").write_text("{}")
    (folder / "preview.png").write_bytes(b"x" * MOST)
    assert [fault.partition(" ")[2] for fault in faults(folder)] == ["bytes"]


def test_the_package_data_match_every_file_of_the_bundled_models() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["unpaired"]
    files = [name.removeprefix("src/unpaired/") for name in tracked() if name.startswith("src/unpaired/bundled/")]
    files.remove("bundled/__init__.py")
    assert [file for file in files if not any(fnmatchcase(file, pattern) for pattern in patterns)] == []


def test_wheel_and_sdist_hold_every_file_of_a_bundled_model(tmp_path: Path) -> None:
    """A project of the same pyproject.toml with a stand-in is built; `make dist` builds and compares the whole one."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip("pyproject.toml needs setuptools 77")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    package, small = tmp_path / "src" / "unpaired", tmp_path / "src" / "unpaired" / "bundled" / "small"
    small_model(small)
    for file in (package / "__init__.py", package / "bundled" / "__init__.py", small / "figures.json"):
        file.touch()
    for name in ("preview.png", "AtoB.pt2"):
        (small / name).touch()
    build = "import setuptools.build_meta as b; b.build_wheel('out'); b.build_sdist('out')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    files = {f"unpaired/bundled/small/{path.name}" for path in small.iterdir()}
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.whl"))) as wheel:
        assert files <= set(wheel.namelist())
    with tarfile.open(next((tmp_path / "out").glob("*.tar.gz"))) as sdist:
        assert {f"src/{file}" for file in files} <= {name.partition("/")[2] for name in sdist.getnames()}
