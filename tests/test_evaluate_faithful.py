"""Faithfulness of edges and layout, whatever the colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unpaired.evaluation.faithful import cycle_error, gradient_correlation, self_similarity_correlation
from unpaired.evaluation.faults import blur, hue_shift
from unpaired.scenes.scene import draw_scene

KEPT = [gradient_correlation, self_similarity_correlation]


def scenes(style: str, *seeds: int) -> Tensor:
    drawn = [torch.from_numpy(draw_scene(seed, style, 64)) for seed in seeds]
    return torch.stack(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_gradient_correlation_matches_an_independent_one() -> None:
    x, y = (np.random.default_rng(seed).uniform(-1, 1, (2, 3, 9, 12)) for seed in (0, 1))

    def edges(image: np.ndarray) -> np.ndarray:
        grey = np.pad(image.mean(axis=0), 1, mode="edge")
        out = np.zeros(image.shape[1:])
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                window = grey[i : i + 3, j : j + 3]
                across = (window[:, 2] - window[:, 0]) @ [1, 2, 1] / 8
                down = (window[2] - window[0]) @ [1, 2, 1] / 8
                out[i, j] = np.hypot(across, down)
        return out

    found = gradient_correlation(torch.from_numpy(x), torch.from_numpy(y))
    for value, one, other in zip(found, x, y, strict=True):
        expected = np.corrcoef(edges(one).ravel(), edges(other).ravel())[0, 1]
        assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kept", KEPT)
def test_an_image_keeps_everything_of_itself(kept) -> None:
    images = scenes("summer", 1, 2)
    torch.testing.assert_close(kept(images, images), torch.ones(2))


def test_a_negative_has_its_edges_where_they_were() -> None:
    images = scenes("summer", 1, 2)
    torch.testing.assert_close(gradient_correlation(images, -images), torch.ones(2))


@pytest.mark.parametrize("kept", KEPT)
def test_the_same_scene_in_another_style_keeps_more_than_another_scene(kept) -> None:
    seeds = range(12)
    summer, winter = scenes("summer", *seeds), scenes("winter", *seeds)
    same, other = kept(summer, winter), kept(summer, winter.roll(1, 0))
    assert same.mean() > other.mean() + 0.15
    assert (same > other).float().mean() > 0.8


@pytest.mark.parametrize("kept", KEPT)
def test_less_is_kept_by_more_change(kept) -> None:
    images = scenes("summer", *range(6))
    values = [
        kept(images, change(images)).mean().item()
        for change in (torch.clone, lambda i: blur(i, 1), lambda i: blur(i, 4))
    ]
    assert values[0] > values[1] > values[2]
    assert kept(images, hue_shift(images, 20)).mean() > 0.8


@pytest.mark.parametrize("kept", KEPT)
def test_a_flat_image_keeps_nothing_and_gives_a_number(kept) -> None:
    images = scenes("summer", 1)
    assert kept(images, torch.full_like(images, 0.37)).tolist() == [0]
    assert kept(torch.zeros_like(images), torch.zeros_like(images)).tolist() == [0]


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("channels", [1, 4, 13])
def test_inputs_and_outputs_may_differ_in_channels(kept, channels: int) -> None:
    values = kept(torch.rand(2, channels, 20, 33) * 2 - 1, torch.rand(2, 3, 20, 33) * 2 - 1)
    assert values.shape == (2,)
    assert values.abs().max() < 1


@pytest.mark.parametrize("kept", KEPT)
def test_sizes_that_differ_are_refused(kept) -> None:
    with pytest.raises(ValueError, match="one size"):
        kept(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 17))


def test_the_cycle_error_is_the_mean_difference() -> None:
    x = torch.zeros(2, 3, 16, 16)
    assert cycle_error(x, x + torch.tensor([0.0, 0.2])[:, None, None, None]).tolist() == pytest.approx([0, 0.1])
