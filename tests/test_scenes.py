"""The drawn world: two styles of a seed are one place, splits are disjoint, and a colour alone reveals little."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unpaired.errors import ConfigError
from unpaired.evaluation.colour import ColourTransform
from unpaired.evaluation.metrics import psnr, ssim
from unpaired.scenes.materials import LABEL_COLOURS as MATERIAL_LABELS
from unpaired.scenes.materials import ROWS, Material
from unpaired.scenes.scene import LABEL_COLOURS, STYLES, draw_scene, sample_scene, scene_seeds

SPLITS = ("trainA", "trainB", "test")


def batch(style: str, seeds: list[int], size: int = 64) -> torch.Tensor:
    pictures = np.stack([draw_scene(seed, style, size) for seed in seeds])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [32, 50, 64, 129])
def test_a_scene_is_a_square_rgb_picture_of_any_size(style: str, size: int) -> None:
    picture = draw_scene(5, style, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


@pytest.mark.parametrize("style", STYLES)
def test_the_same_seed_draws_the_same_picture_and_another_seed_another(style: str) -> None:
    np.testing.assert_array_equal(draw_scene(7, style, 64), draw_scene(7, style, 64))
    assert (draw_scene(7, style, 64) != draw_scene(8, style, 64)).any()


def test_styles_of_one_seed_differ() -> None:
    for style, other in itertools.combinations(STYLES, 2):
        one, two = (draw_scene(3, name, 64).astype(float) for name in (style, other))
        least = 2 if (style, other) == ("summer", "blossom") else 20  # these two differ in some trees only
        assert np.abs(one - two).mean() > least


def test_blossom_differs_from_summer_in_trees_and_their_mirror_images_only() -> None:
    num_changed = num_trees = 0
    for seed in range(10):
        labels, summer, blossom = (draw_scene(seed, style, 64).astype(int) for style in ("labels", "summer", "blossom"))
        changed = np.abs(summer - blossom).max(axis=2) > 0
        may = np.any([(labels == LABEL_COLOURS[name]).all(axis=2) for name in ("tree", "water")], axis=0)
        near = np.any([np.roll(may, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)  # mixed edges
        assert (changed & ~near).sum() <= 2  # twigs between the middle dots of two pixels
        num_changed += changed.sum()
        num_trees += (labels == LABEL_COLOURS["tree"]).all(axis=2).sum()
    assert num_changed > 0.5 * num_trees > 0


def test_labels_use_their_flat_colours_only_and_all_of_them() -> None:
    colours = np.concatenate([draw_scene(seed, "labels", 64).reshape(-1, 3) for seed in range(30)])
    seen = {(int(r), int(g), int(b)) for r, g, b in np.unique(colours, axis=0)}
    assert seen == set(LABEL_COLOURS.values())
    assert len(LABEL_COLOURS) == len(seen) >= 8


def test_every_material_has_colours_in_every_style_and_a_known_label() -> None:
    assert set(ROWS) == set(Material)
    for row in ROWS.values():
        assert row.label in MATERIAL_LABELS
        for style in ("summer", "winter", "night"):
            assert 1 <= len(row.colours(style)) <= 2


def test_styles_are_aligned_to_the_pixel() -> None:
    """Walls look alike in both seasons, so where the labels show a wall both pictures have to agree."""
    for seed in range(20):
        labels = draw_scene(seed, "labels", 128)
        summer = draw_scene(seed, "summer", 128).astype(int)
        winter = draw_scene(seed, "winter", 128).astype(int)
        walls = (labels == LABEL_COLOURS["wall"]).all(axis=2)
        # A pixel at an edge mixes with its surroundings, which do change with the season.
        inner = walls.copy()
        for axis in (0, 1):
            inner &= np.roll(walls, 1, axis) & np.roll(walls, -1, axis)
        if inner.sum() > 50:
            assert np.median(np.abs(summer - winter)[inner]) < 30


def test_size_changes_detail_but_not_the_place() -> None:
    large = draw_scene(11, "summer", 192).astype(float)
    small = draw_scene(11, "summer", 64).astype(float)
    shrunk = large.reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 4


def test_winter_keeps_a_strip_of_the_roof_colour() -> None:
    """Random parts of a scene must be visible in both seasons, or no translation could recover them."""
    for roof in ("RED", "SLATE", "BROWN"):
        eaves, top = ROWS[Material[f"ROOF_{roof}"]], ROWS[Material[f"ROOF_{roof}_TOP"]]
        assert eaves.winter != top.winter
        difference = [abs(int(eaves.summer[i : i + 2], 16) - int(eaves.winter[i : i + 2], 16)) for i in (0, 2, 4)]
        assert max(difference) < 24


@pytest.mark.parametrize(("source", "target"), [("summer", "winter"), ("winter", "summer")])
def test_the_best_global_colour_transform_is_far_from_the_truth(source: str, target: str) -> None:
    seeds = scene_seeds("test", 30, 0)
    images, truth = batch(source, seeds), batch(target, seeds)
    coloured = ColourTransform.fit([(images, truth)])(images)
    assert psnr(coloured, truth).mean() < 18
    assert ssim(coloured, truth).mean() < 0.6


@given(
    worlds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    splits=st.permutations(SPLITS),
    count=st.integers(0, 300),
)
def test_splits_are_disjoint_within_and_across_worlds(worlds: tuple[int, int], splits: list[str], count: int) -> None:
    one = scene_seeds(splits[0], count, worlds[0])
    other = scene_seeds(splits[1], count, worlds[1])
    assert len(set(one)) == len(one) == count
    assert not set(one) & set(other)
    assert {seed % 3 for seed in one} <= {SPLITS.index(splits[0])}


def test_worlds_with_different_seeds_share_no_scene() -> None:
    # The last seed of one world and the first of the next could coincide.
    assert scene_seeds("trainA", 10**6, 4)[-1] < scene_seeds("trainA", 1, 5)[0]


def test_a_longer_split_begins_with_the_shorter_one_and_both_domains_share_the_test_set() -> None:
    assert scene_seeds("trainB", 20, 1)[:5] == scene_seeds("trainB", 5, 1)
    assert scene_seeds("testA", 9, 2) == scene_seeds("testB", 9, 2) == scene_seeds("test", 9, 2)


def test_wrong_arguments_name_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="'autumn' is unknown; choose one of summer, winter, night, labels"):
        draw_scene(0, "autumn", 64)
    for size in (31, 0, -1, 10**6):
        with pytest.raises(ConfigError, match=f"{size} pixels wide; choose a size from 32 to 4096"):
            draw_scene(0, "summer", size)
    with pytest.raises(ConfigError, match="-1 is negative"):
        draw_scene(-1, "summer", 64)
    with pytest.raises(ConfigError, match="'val' is unknown; choose one of trainA, trainB, test, testA, testB"):
        scene_seeds("val", 1, 0)
    with pytest.raises(ConfigError, match="-1 scenes"):
        scene_seeds("test", -1, 0)
    with pytest.raises(ConfigError, match="-2 is negative"):
        scene_seeds("test", 1, -2)


def test_layout_is_plain_immutable_data() -> None:
    assert sample_scene(9) == sample_scene(9)
    assert hash(sample_scene(9)) != hash(sample_scene(10))


def test_drawing_is_fast() -> None:
    """Measured 170 to 370 scenes a second on one slow core; a tenth of that would be felt in training."""
    draw_scene(0, "winter", 64)
    start = time.process_time()
    for seed in range(20):
        draw_scene(seed, "winter", 64)
    assert 20 / (time.process_time() - start) > 30
