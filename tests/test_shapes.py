"""Drawn objects: two styles of a seed differ in form alone, and the rule for masks is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unpaired.errors import ConfigError
from unpaired.evaluation.object_masks import mask_iou, moved_share, object_masks
from unpaired.scenes.draw import draw_dataset, draw_pairs
from unpaired.scenes.scene import draw_scene
from unpaired.scenes.shapes import (
    CHROMA_THRESHOLD,
    FRUIT_STYLES,
    SHAPE_STYLES,
    draw_still_life,
    object_mask,
    sample_still_life,
)
from unpaired.scenes.worlds import ALL_STYLES, WORLDS, draw_style, world_of

STYLES = (*SHAPE_STYLES, *FRUIT_STYLES)
SEEDS = range(40)


def batch(style: str, size: int = 48) -> torch.Tensor:
    return torch.from_numpy(np.stack([draw_still_life(seed, style, size) for seed in SEEDS])).permute(0, 3, 1, 2)


def true_masks(style: str, size: int = 48) -> torch.Tensor:
    return torch.from_numpy(np.stack([object_mask(seed, style, size) for seed in SEEDS]))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [32, 50, 64, 129])
def test_a_still_life_is_a_square_rgb_picture_of_any_size(style: str, size: int) -> None:
    picture = draw_still_life(5, style, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10
    np.testing.assert_array_equal(picture, draw_still_life(5, style, size))
    assert (picture != draw_still_life(6, style, size)).any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_the_rule_for_masks_is_exact_on_drawn_pictures(style: str, size: int) -> None:
    found = object_masks(batch(style, size), CHROMA_THRESHOLD)
    assert mask_iou(found, true_masks(style, size)).min() >= 0.98


@pytest.mark.parametrize(("a", "b", "alike"), [(*SHAPE_STYLES, 0.9), (*FRUIT_STYLES, 0.55)])
def test_forms_differ_at_the_same_place_with_the_same_area(a: str, b: str, alike: float) -> None:
    one, other = true_masks(a, 96), true_masks(b, 96)
    assert mask_iou(one, other).mean() < alike
    areas = one.sum((1, 2)) / other.sum((1, 2))
    assert (areas - 1).abs().max() < 0.06
    row = torch.arange(96.0)
    for axis in (1, 2):
        middles = [(mask.sum(3 - axis) * row).sum(1) / mask.sum((1, 2)) for mask in (one, other)]
        assert (middles[0] - middles[1]).abs().max() < 1.2


@pytest.mark.parametrize(("a", "b"), [SHAPE_STYLES, FRUIT_STYLES])
def test_only_places_near_an_object_differ(a: str, b: str) -> None:
    for seed in range(10):
        pictures = [draw_still_life(seed, style, 64).astype(int) for style in (a, b)]
        y, x = np.mgrid[0:64, 0:64] / 64
        far = np.ones((64, 64), bool)
        for thing in sample_still_life(seed).things:
            far &= np.hypot(x - thing.x, y - thing.y) > 2.8 * thing.radius
        assert far.any()
        np.testing.assert_array_equal(pictures[0][far], pictures[1][far])


def test_the_objects_of_both_styles_have_the_same_colours() -> None:
    for a, b in (SHAPE_STYLES, FRUIT_STYLES):
        for seed in range(10):
            means = [
                draw_still_life(seed, style, 96)[object_mask(seed, style, 96)].astype(float).mean(0) for style in (a, b)
            ]
            assert np.abs(means[0] - means[1]).max() < 12


def test_objects_are_inside_and_apart() -> None:
    for seed in range(100):
        for style in STYLES:
            mask = object_mask(seed, style, 64)
            assert not mask[0].any()
            assert not mask[-1].any()
            assert not mask[:, 0].any()
            assert not mask[:, -1].any()
        things = sample_still_life(seed).things
        expected = sum(np.pi * thing.radius**2 for thing in things)
        assert object_mask(seed, "round-fruit", 128).mean() == pytest.approx(expected, rel=0.02)  # none overlap
        assert object_mask(seed, "long-fruit", 128).mean() == pytest.approx(expected, rel=0.02)


def test_iou_and_moved_share_of_known_masks() -> None:
    before, truth = torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, dtype=torch.bool)
    before[:, :2], truth[:, 1:3] = True, True  # one row of three in both
    assert mask_iou(before, truth).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert mask_iou(truth, truth).tolist() == [1, 1]
    assert mask_iou(~truth & truth, ~truth & truth).tolist() == [1, 1]
    assert moved_share(before, truth, before).tolist() == [0, 0]
    assert moved_share(truth, truth, before).tolist() == [1, 1]
    half = before.clone()
    half[:, 0] = False
    assert moved_share(half, truth, before).tolist() == [0.5, 0.5]
    assert moved_share(truth, truth, truth).isnan().all()
    with pytest.raises(ValueError, match="Two masks n h w"):
        mask_iou(before, truth[:1])


def test_chroma_ignores_light() -> None:
    image = torch.tensor([200, 120, 100], dtype=torch.uint8).view(1, 3, 1, 1)
    assert object_masks(image, 99).all()
    assert not object_masks(image, 100).any()
    assert object_masks(image - 90, 99).all()


def test_worlds_know_their_styles() -> None:
    assert tuple(style for styles in WORLDS.values() for style in styles) == ALL_STYLES
    assert [world_of(styles[1]) for styles in WORLDS.values()] == list(WORLDS)
    np.testing.assert_array_equal(draw_style(3, "night", 32), draw_scene(3, "night", 32))
    np.testing.assert_array_equal(draw_style(3, "squares", 32), draw_still_life(3, "squares", 32))


def test_a_data_set_of_fruit_has_truth_for_its_test_scenes(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "u", a="round-fruit", b="long-fruit", count=2, size=32, num_test=2)
    assert {path.name for path in (tmp_path / "u" / "testA").iterdir()} == {
        path.name for path in (tmp_path / "u" / "testB").iterdir()
    }
    draw_pairs(tmp_path / "p", a="circles", b="squares", count=1, size=32)
    assert len(list((tmp_path / "p" / "train").iterdir())) == 1


def test_wrong_styles_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="styles of different worlds, landscapes and shapes"):
        draw_dataset(tmp_path, a="summer", b="squares", count=1, size=32)
    with pytest.raises(ConfigError, match="Unknown style sqares for --b"):
        draw_dataset(tmp_path, a="circles", b="sqares", count=1, size=32)
    with pytest.raises(ConfigError, match="did you mean circles"):
        draw_still_life(0, "circle", 32)
    with pytest.raises(ConfigError, match="Unknown style"):
        world_of("cubes")
    for seed, size, words in ((-1, 32, "negative"), (0, 16, "16 pixels")):
        with pytest.raises(ConfigError, match=words):
            draw_still_life(seed, "circles", size)
        with pytest.raises(ConfigError, match=words):
            object_mask(seed, "circles", size)
