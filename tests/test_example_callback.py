"""The template of a callback, as its docstring has it used."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import unpaired
from unpaired.config import override

EXAMPLE = Path(__file__).parent.parent / "examples" / "callback.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_a_film_is_written_and_a_run_is_stopped(
    example: dict[str, Any], toy_config: unpaired.Config, two_folders: Path, tmp_path: Path
) -> None:
    photo = two_folders / "testA" / "000.png"
    film = example["Film"](photo, tmp_path / "film", every=3, size=32)
    config = override(toy_config, {"data.root": str(two_folders)})
    run = unpaired.train(
        config, out=tmp_path / "run", callbacks=[film, example["StopBelow"]("cycle_a", 1e9, every=5)], quiet=True
    )
    assert (run.step, run.finished) == (5, False)
    frames = sorted((tmp_path / "film").iterdir())
    assert [path.name for path in frames] == ["step-00000000.png", "step-00000003.png"]
    first, second = (np.asarray(PIL.Image.open(path)).astype(int) for path in frames)
    assert first.shape == (32, 32, 3)
    assert 0 < np.abs(first - second).mean() < 64


def test_a_loss_that_is_not_there_stops_nothing(example: dict[str, Any]) -> None:
    stop = example["StopBelow"]("cycle_a", 1.0, every=5)
    view: Any = type("View", (), {"losses": {}})()
    assert not stop.after_step(view)
    view.losses = {"cycle_a": 0.5}
    assert stop.after_step(view)
    assert isinstance(stop, unpaired.Callback)
