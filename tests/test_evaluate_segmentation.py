"""Label maps: the published figures by hand, and colours to classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unpaired.evaluation.segmentation import (
    class_accuracy,
    class_iou,
    confusions,
    nearest_colours,
    pixel_accuracy,
    segmentation_scores,
)
from unpaired.scenes.scene import LABEL_COLOURS, draw_scene


def random_labels(*shape: int, seed: int, classes: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, shape))


def test_the_figures_of_a_small_example_by_hand() -> None:
    truth = torch.tensor([[[0, 0, 0, 1], [1, 1, 2, 255]]])
    found = torch.tensor([[[0, 0, 1, 1], [1, 1, 0, 7]]])  # predictions at pixels with truth 255 do not count
    (confusion,) = confusions(found, truth, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert pixel_accuracy(confusion).item() == pytest.approx(5 / 7)
    assert class_accuracy(confusion).item() == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert class_iou(confusion).item() == pytest.approx((2 / 4 + 3 / 4 + 0) / 3)


def test_confusions_match_an_independent_loop() -> None:
    truth, found = random_labels(3, 5, 6, seed=0), random_labels(3, 5, 6, seed=1)
    expected = np.zeros((3, 4, 4), int)
    for n, i, j in np.ndindex(3, 5, 6):
        expected[n, truth[n, i, j], found[n, i, j]] += 1
    assert confusions(found, truth, 4).tolist() == expected.tolist()


def test_right_labels_are_perfect_and_classes_are_averaged_over_the_whole_set() -> None:
    truth = random_labels(6, 8, 8, seed=2)
    perfect = segmentation_scores([confusions(truth, truth, 4)])
    assert {(i.value, i.low, i.high) for i in perfect.values()} == {(1, 1, 1)}
    found = torch.where(random_labels(6, 8, 8, seed=3) == 0, 0, truth)
    each = confusions(found, truth, 4)
    scores = segmentation_scores(each.split(2), resamples=300)
    assert scores["class_iou"].value == pytest.approx(class_iou(each.sum(dim=0)).item())
    for interval in scores.values():
        assert interval.low < interval.value < interval.high < 1


def test_labels_out_of_range_and_shapes_that_differ_are_refused() -> None:
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="from 0 to 2"):
        confusions(good + 3, good, 3)
    with pytest.raises(ValueError, match="Two label maps"):
        confusions(good, good[:, :3], 3)
    with pytest.raises(ValueError, match="at least one image"):
        segmentation_scores([])


def test_each_pixel_takes_the_class_of_the_nearest_colour() -> None:
    palette = [(0, 0, 0), (255, 255, 255), (255, 0, 0)]
    pixels = torch.tensor([[10, 20, 5], [200, 180, 190], [180, 60, 20], [0, 0, 0]], dtype=torch.uint8)
    assert nearest_colours(pixels.T.reshape(1, 3, 2, 2), palette).tolist() == [[[0, 1], [2, 0]]]
    with pytest.raises(ValueError, match="3 values"):
        nearest_colours(pixels.T.reshape(1, 3, 2, 2), [(0, 1)])


def test_drawn_labels_come_back_from_their_colours_even_with_noise() -> None:
    picture = torch.from_numpy(draw_scene(4, "labels", 48)).permute(2, 0, 1)[None]
    palette = list(LABEL_COLOURS.values())
    truth = nearest_colours(picture, palette)
    assert all(palette[label] == tuple(picture[0, :, i, i].tolist()) for i in range(48) for label in [truth[0, i, i]])
    noisy = picture / 127.5 - 1 + 0.02 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    scores = segmentation_scores([confusions(nearest_colours(noisy, palette), truth, len(palette))], resamples=2)
    assert scores["pixel_accuracy"].value > 0.99
