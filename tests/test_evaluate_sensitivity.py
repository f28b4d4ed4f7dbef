"""Each figure responds to the faults it is meant for; docs/metrics.md lists the ones that it misses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unpaired.evaluation import faults
from unpaired.evaluation.describe import Description, describe
from unpaired.evaluation.distances import Distances, distances
from unpaired.evaluation.metrics import l1, pixel_accuracy, psnr, ssim
from unpaired.scenes.scene import draw_scene, scene_seeds

COUNT = 60
FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda images: images,
    "blur": faults.blur,
    "slight noise": lambda images: faults.noise(images, 4),
    "noise": lambda images: faults.noise(images, 20),
    "hue": faults.hue_shift,
    "checkerboard": faults.checkerboard,
    "collapse": lambda images: faults.collapse(images, 5),
}


def scenes(split: str) -> Tensor:
    drawn = [torch.from_numpy(draw_scene(seed, "summer", 64)) for seed in scene_seeds(split, COUNT, 0)]
    return torch.stack(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def made() -> Tensor:
    return scenes("trainA")


@pytest.fixture(scope="module")
def real() -> Description:
    return describe([scenes("test")])


@pytest.fixture(scope="module")
def results(made: Tensor, real: Description) -> dict[str, Distances]:
    return {name: distances(describe([fault(made)]), real, resamples=50) for name, fault in FAULTS.items()}


@pytest.mark.parametrize(
    ("figure", "seen"),
    [
        ("kernel_distance", ["blur", "noise", "hue", "collapse"]),
        ("swd_1", ["blur", "slight noise", "noise", "checkerboard", "collapse"]),
        ("swd_2", ["blur", "noise", "collapse"]),
        ("swd_4", ["hue", "collapse"]),
        ("two_sample_accuracy", ["blur", "noise", "hue", "checkerboard", "collapse"]),
    ],
)
def test_distances_grow_beyond_the_floor(results: dict[str, Distances], figure: str, seen: list[str]) -> None:
    floor = results["none"].figures[figure]
    for fault in seen:
        assert results[fault].figures[figure].low > floor.value, fault


@pytest.mark.parametrize(
    ("figure", "seen"), [("density", ["blur", "noise", "hue"]), ("coverage", ["blur", "noise", "hue", "collapse"])]
)
def test_density_and_coverage_fall_below_the_floor(results: dict[str, Distances], figure: str, seen: list[str]) -> None:
    floor = results["none"].figures[figure]
    for fault in seen:
        assert results[fault].figures[figure].high < floor.value, fault


def test_real_images_cannot_be_told_from_real_ones(results: dict[str, Distances]) -> None:
    floor = results["none"]
    assert floor.two_sample_p > 0.01
    assert floor.figures["kernel_distance"].low <= 0 <= floor.figures["kernel_distance"].high
    assert floor.figures["coverage"].value > 0.85


def test_density_praises_a_collapse_so_it_is_never_read_without_coverage(results: dict[str, Distances]) -> None:
    assert results["collapse"].figures["density"].value > results["none"].figures["density"].value


def test_figures_against_truth_worsen_with_every_fault(made: Tensor) -> None:
    made = made[:12]
    for name in ("blur", "slight noise", "hue", "checkerboard"):
        found = FAULTS[name](made)
        assert l1(found, made).mean() > 0.002, name
        assert psnr(found, made).mean() < 45, name
        assert ssim(found, made).mean() < 0.999, name
        assert pixel_accuracy(found, made, 5).mean() < 0.95, name
    slight, strong = (FAULTS[name](made) for name in ("slight noise", "noise"))
    assert l1(strong, made).mean() > l1(slight, made).mean()
    assert psnr(strong, made).mean() < psnr(slight, made).mean()
    assert ssim(strong, made).mean() < ssim(slight, made).mean()
    assert pixel_accuracy(strong, made, 16).mean() < pixel_accuracy(slight, made, 16).mean()
