"""Distances of two sets against closed forms and slow, independent loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from unpaired.evaluate import METRICS
from unpaired.evaluate.describe import describe
from unpaired.evaluate.distances import distances
from unpaired.evaluate.kernel import kernel_distance, kid
from unpaired.evaluate.manifold import density_and_coverage
from unpaired.evaluate.sliced import enlarged, patches, pyramid, sliced_distance
from unpaired.evaluate.two_sample import FOLDS, RIDGE, _held_out, two_sample_test


def normal(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def slow_kernel_distance(x: Tensor, y: Tensor) -> float:
    def kernel(u: Tensor, v: Tensor) -> float:
        return (sum(float(p) * float(q) for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3

    within = [np.mean([kernel(u, v) for u, v in itertools.permutations(one, 2)]) for one in (list(x), list(y))]
    return float(sum(within) - 2 * np.mean([kernel(u, v) for u in x for v in y]))


def test_the_kernel_distance_matches_an_independent_loop() -> None:
    x, y = normal(7, 3, seed=0), normal(5, 3, seed=1) * 2 + 1
    assert kernel_distance(x, y, resamples=0).value == pytest.approx(slow_kernel_distance(x, y), rel=1e-9)
    assert kid(x[:5], y, subsets=1)[0] == pytest.approx(slow_kernel_distance(x[:5], y), rel=1e-9)


def test_the_kernel_distance_of_gaussians_has_its_closed_form() -> None:
    # In one dimension k = 1 + 3 uv + 3 u²v² + u³v³, so the distance compares the first three moments.
    x, y = normal(4000, 1, seed=2), normal(4000, 1, seed=3) + 0.5
    expected = 3 * 0.5**2 + 3 * 0.25**2 + (0.5**3 + 3 * 0.5) ** 2
    found = kernel_distance(x, y, resamples=200)
    assert found.value == pytest.approx(expected, rel=0.1)
    assert found.low < expected < found.high


def test_the_kernel_distance_of_one_origin_is_zero_on_average_even_for_few_images() -> None:
    values = [
        kernel_distance(normal(10, 4, seed=s), normal(12, 4, seed=1000 + s), resamples=0).value for s in range(400)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0 < max(values)


def test_subsets_of_kid_average_to_the_distance() -> None:
    x, y = normal(60, 4, seed=4), normal(50, 4, seed=5) + 0.5
    mean, deviation = kid(x, y, subsets=200, size=20)
    assert mean == pytest.approx(kernel_distance(x, y, resamples=0).value, abs=5 * deviation / 200**0.5)
    assert kid(x, y[:20], subsets=3)[0] == kid(x, y[:20], subsets=3, size=20)[0]


def test_the_kernel_interval_holds_the_truth_and_zero_when_nothing_differs() -> None:
    held = 0
    for seed in range(60):
        found = kernel_distance(normal(40, 3, seed=seed), normal(40, 3, seed=500 + seed), resamples=200)
        held += found.low <= 0 <= found.high
    assert held >= 55


def test_density_and_coverage_match_an_independent_loop() -> None:
    real, made = normal(30, 3, seed=6), normal(25, 3, seed=7) * 1.2 + 0.3
    inside = np.zeros((25, 30))
    for j in range(30):
        radius = sorted(float((real[j] - other).norm()) for i, other in enumerate(real) if i != j)[4]
        for i in range(25):
            inside[i, j] = float((made[i] - real[j]).norm()) < radius
    found = density_and_coverage(made, real)
    assert found.density.value == pytest.approx(inside.sum() / (5 * 25))
    assert found.coverage.value == pytest.approx(inside.any(axis=0).mean())


def test_density_is_one_and_coverage_31_of_32_for_sets_of_one_origin() -> None:
    found = density_and_coverage(normal(1500, 8, seed=8), normal(1500, 8, seed=9))
    assert found.density.value == pytest.approx(1, abs=0.06)
    assert found.coverage.value == pytest.approx(1 - 2**-5, abs=0.02)
    assert found.density.low < 1 < found.density.high


def test_strangers_have_neither_density_nor_coverage() -> None:
    found = density_and_coverage(normal(50, 4, seed=10) + 100, normal(50, 4, seed=11))
    assert found.density.value == found.coverage.value == 0


def test_the_two_sample_classifier_is_a_ridge_regression_trained_without_the_fold() -> None:
    x = normal(20, 3, seed=12)
    labels = torch.tensor([1.0, -1] * 10).double()
    folds = torch.arange(20) % FOLDS
    found = _held_out(x @ x.T / 3, labels[:, None], folds)[:, 0]
    for index in range(20):
        train = folds != folds[index]
        u, mean = x[train], labels[train].mean()
        weights = torch.linalg.solve(u.T @ u / 3 + RIDGE * torch.eye(3).double(), u.T @ (labels[train] - mean) / 3)
        assert found[index].item() == pytest.approx(float(x[index] @ weights), rel=1e-9)


def test_two_sets_far_apart_are_always_told_apart_and_equal_ones_by_chance() -> None:
    x, y = normal(40, 5, seed=13), normal(40, 5, seed=14)
    apart = two_sample_test(x + 3, y - 3)
    assert apart.accuracy.value == 1
    assert apart.p_value == pytest.approx(1 / 1000)
    alike = two_sample_test(x, y)
    assert alike.accuracy.value == pytest.approx(0.5, abs=0.15)
    assert alike.p_value > 0.05


def test_p_values_of_one_origin_are_uniform() -> None:
    found = np.array(
        [
            two_sample_test(normal(15, 3, seed=s), normal(15, 3, seed=900 + s), shuffles=99, resamples=2).p_value
            for s in range(120)
        ]
    )
    assert np.mean(found <= 0.05) < 0.11
    assert 0.42 < found.mean() < 0.62


def test_the_larger_set_of_a_two_sample_test_does_not_decide_by_its_size() -> None:
    found = two_sample_test(normal(300, 3, seed=15), normal(30, 3, seed=16))
    assert found.accuracy.value < 0.7


@pytest.mark.parametrize(("h", "w", "levels"), [(16, 16, 1), (31, 40, 1), (32, 32, 2), (65, 70, 3), (130, 64, 3)])
def test_the_levels_of_the_pyramid_add_up_to_the_image(h: int, w: int, levels: int) -> None:
    images = torch.rand(2, 4, h, w) * 2 - 1
    found = pyramid(images)
    assert len(found) == levels
    rebuilt = found[-1]
    for level in reversed(found[:-1]):
        rebuilt = level + enlarged(rebuilt, level.shape[-2:])
    torch.testing.assert_close(rebuilt, images, rtol=0, atol=1e-5)


def test_flat_images_have_nothing_in_the_finer_levels() -> None:
    *finer, coarsest = pyramid(torch.full((1, 3, 67, 64), 0.3))
    assert max(level.abs().max().item() for level in finer) < 1e-6
    torch.testing.assert_close(coarsest, torch.full_like(coarsest, 0.3))


def test_patches_are_parts_of_their_image() -> None:
    level = torch.arange(2 * 3 * 20 * 18).reshape(2, 3, 20, 18).float()
    cut = patches(level, [0, 1], count=5, seed=1)
    assert cut.shape == (2, 5, 3, 49)
    for image, parts in zip(level, cut, strict=True):
        for part in parts:
            top, left = divmod(int(part[0, 0] - image[0, 0, 0]), 18)
            torch.testing.assert_close(part.reshape(3, 7, 7), image[:, top : top + 7, left : left + 7])
    torch.testing.assert_close(patches(level[1:], [1], count=5, seed=1), cut[1:])


def slow_sliced_distance(x: Tensor, y: Tensor, directions: np.ndarray) -> float:
    """Sorted projections of equally many patches, as Karras et al. have it."""
    u, v = (t.flatten(2).flatten(0, 1).numpy().astype(np.float64) @ directions for t in (x, y))
    return float(np.abs(np.sort(u, axis=0) - np.sort(v, axis=0)).mean())


def test_the_sliced_distance_matches_sorted_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(6, 8, 2, 49, seed=17).float(), normal(6, 8, 2, 49, seed=18).float() * 1.5
    y = (y - y.mean(dim=(0, 1, 3), keepdim=True)) / y.std(dim=(0, 1, 3), correction=0, keepdim=True)
    directions = normal(98, 48, seed=19).numpy()
    directions /= np.linalg.norm(directions, axis=0)
    blocks = [torch.from_numpy(directions[:, start : start + 16]).float() for start in (0, 16, 32)]
    monkeypatch.setattr("unpaired.evaluate.sliced._slices", lambda size, count, seed: iter(blocks))
    found = sliced_distance(x, y, resamples=0)
    assert found.value == pytest.approx(1000 * slow_sliced_distance(x, y, directions), rel=1e-4)
    assert sliced_distance(y, x.mul(1), resamples=0, normalise_each=True).value > 0


def test_an_image_drawn_twice_counts_as_two_images() -> None:
    x, y = normal(3, 4, 1, 49, seed=20).float(), normal(5, 4, 1, 49, seed=21).float()
    from unpaired.evaluate.sliced import _Merged

    u, v = x.flatten(2) @ torch.eye(49)[:, :4], y.flatten(2) @ torch.eye(49)[:, :4]
    found = _Merged.of(u, v).distances(torch.tensor([2.0, 0, 1]), torch.ones(5))
    expected = _Merged.of(u[[0, 0, 2]], v).distances(torch.ones(3), torch.ones(5))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for k in range(4):  # unequal counts: each value as often as the other set has values
        one, other = u[[0, 0, 2], :, k].flatten().numpy(), v[..., k].flatten().numpy()
        area = np.abs(np.sort(np.repeat(one, len(other))) - np.sort(np.repeat(other, len(one)))).mean()
        assert found[k].item() == pytest.approx(float(area), rel=1e-4)


def test_shifted_patches_are_as_far_apart_as_the_shift_along_each_direction() -> None:
    y = normal(8, 8, 1, 49, seed=22).float()
    deviation = y.double().std(correction=0).item()
    near, far = (sliced_distance(y + shift * deviation, y, resamples=0).value for shift in (0.5, 1.0))
    assert far == pytest.approx(2 * near, rel=1e-4)
    # The shift along a direction is its sum, normal with variance 1 for 49 values: |.| is (2 / pi)^(1/2) on average.
    assert far == pytest.approx(1000 * (2 / np.pi) ** 0.5, rel=0.2)
    assert sliced_distance(y + 1, y, resamples=0, normalise_each=True).value < 1


def test_a_set_compared_with_itself_is_at_no_distance() -> None:
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    described = describe([images])
    found = distances(described, described, resamples=20)
    assert found.figures["swd_1"].value == pytest.approx(0, abs=1e-3)
    assert found.figures["swd_2"].value == pytest.approx(0, abs=1e-3)
    assert found.figures["coverage"].value == 1


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_all_distances_take_any_number_of_channels(channels: int) -> None:
    x, y = (describe([torch.rand(7, channels, 40, 33) * 2 - 1]) for _ in range(2))
    found = distances(x, y, resamples=20)
    assert set(found.figures) == {"kernel_distance", "swd_1", "swd_2", "density", "coverage", "two_sample_accuracy"}
    assert set(found.figures) <= set(METRICS.kinds())
    for interval in found.figures.values():
        assert interval.low <= interval.value <= interval.high


def test_the_same_seed_gives_the_same_figures() -> None:
    x, y = (describe([torch.rand(8, 3, 32, 32) * 2 - 1]) for _ in range(2))
    assert distances(x, y, seed=3, resamples=20) == distances(x, y, seed=3, resamples=20)


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        distances(describe([torch.zeros(6, 3, 32, 32)]), describe([torch.zeros(6, 3, 32, 48)]))
    with pytest.raises(ValueError, match="at least 2 images"):
        kernel_distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="more than 5 real"):
        density_and_coverage(torch.zeros(9, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least 5 images"):
        two_sample_test(torch.zeros(4, 3), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="one level"):
        sliced_distance(torch.zeros(2, 3, 3, 49), torch.zeros(2, 3, 1, 49))
    with pytest.raises(ValueError, match="at least 16x16"):
        pyramid(torch.zeros(1, 3, 15, 20))
