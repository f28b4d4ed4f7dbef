"""Paths given as a model that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from unpaired.errors import DataError, ModelError
from unpaired.evaluation.test_set import open_test_set
from unpaired.models.model_folder import find_model


@pytest.mark.parametrize(
    ("files", "given", "sentence"),
    [
        (["m/model.json", "m/AtoB.safetensors"], "m/AtoB.safetensors", r"is a file of a model; give its folder: .*m$"),
        (["r/config.yaml", "r/checkpoints/step-4/x"], "r/checkpoints", "give the folder of the run: .*r$"),
        (["r/config.yaml", "r/checkpoints/step-4/x"], "r/checkpoints/step-4", "give the folder of the run: .*r$"),
        (["r/config.yaml", "r/checkpoints/step-4/x"], "r", "has no model yet"),
        (["h2z/latest_net_G_A.pth"], "h2z", "weights of another program; convert them with import_weights"),
        ([f"runs/{n}/config.yaml" for n in "abcd"], "runs", r"holds runs \(a, b, c and 1 more\); give one of them"),
        (["photos/1.png"], "photos", "is a folder of images and .* no model.json; the run comes first"),
        (["data/testA/1.png"], "data", "the run comes first, then the images"),
        (["x/notes.txt"], "x", "contains no model.json; check the name"),
        (["x/notes.txt"], "y", "There is no run or model folder .*y; check the name"),
    ],
)
def test_the_right_folder_is_named(files: list[str], given: str, sentence: str, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(ModelError, match=sentence):
        find_model(tmp_path / given)


def test_half_of_the_test_images_leads_to_the_whole(tmp_path: Path) -> None:
    for name in ("testA/1.png", "testB/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"give the folder of both: {tmp_path}$"):
        open_test_set(tmp_path / "testA")
