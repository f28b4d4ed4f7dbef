"""Metrics against closed forms and against slow, independent loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unpaired.evaluation.metrics import l1, pixel_accuracy, psnr, ssim
from unpaired.evaluation.truth import against_truth, score


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def slow_ssim(x: Tensor, y: Tensor) -> float:
    """Wang et al. 2004 for one image c h w, a window at a time, in plain loops."""
    a, b = (x.double().numpy() + 1) / 2, (y.double().numpy() + 1) / 2
    window = np.empty((11, 11))
    for i in range(11):
        for j in range(11):
            window[i, j] = math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    scores = []
    for channel in range(a.shape[0]):
        for top in range(a.shape[1] - 10):
            for left in range(a.shape[2] - 10):
                p = a[channel, top : top + 11, left : left + 11]
                q = b[channel, top : top + 11, left : left + 11]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                scores.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(scores))


def test_a_constant_offset_has_the_closed_form_psnr_and_l1() -> None:
    x = random_images(3, 3, 16, 16) * 0.5
    for offset in (0.02, 0.2, 0.5):
        difference = offset / 2  # on the [0, 1] scale
        torch.testing.assert_close(psnr(x + offset, x), torch.full((3,), -20 * math.log10(difference)))
        torch.testing.assert_close(l1(x, x + offset), torch.full((3,), difference))


def test_black_against_white_is_the_worst_of_images_in_range() -> None:
    black, white = -torch.ones(2, 3, 16, 16), torch.ones(2, 3, 16, 16)
    assert psnr(black, white).tolist() == [0, 0]
    assert l1(black, white).tolist() == [1, 1]


def test_ssim_of_constant_images_is_the_luminance_term() -> None:
    for p, q in ((0.1, 0.9), (0.5, 0.6), (0.0, 1.0)):
        x = torch.full((1, 3, 16, 16), 2 * p - 1)
        y = torch.full((1, 3, 16, 16), 2 * q - 1)
        expected = (2 * p * q + 1e-4) / (p * p + q * q + 1e-4)
        assert ssim(x, y).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_matches_an_independent_loop() -> None:
    x = random_images(2, 3, 14, 17, seed=1)
    y = (0.6 * x + 0.4 * random_images(2, 3, 14, 17, seed=2)).clamp(-1, 1)
    for value, one, other in zip(ssim(x, y), x, y, strict=True):
        assert value.item() == pytest.approx(slow_ssim(one, other), abs=1e-6)


def test_psnr_and_l1_match_an_independent_loop() -> None:
    x, y = random_images(2, 3, 9, 7, seed=3), random_images(2, 3, 9, 7, seed=4)
    for i in range(2):
        a, b = x[i].double().numpy() / 2 + 0.5, y[i].double().numpy() / 2 + 0.5
        assert l1(x, y)[i].item() == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
        assert psnr(x, y)[i].item() == pytest.approx(10 * np.log10(1 / ((a - b) ** 2).mean()), rel=1e-5)


def test_identical_images_are_perfect() -> None:
    x = random_images(2, 3, 16, 16)
    assert l1(x, x).tolist() == [0, 0]
    assert psnr(x, x).tolist() == [math.inf, math.inf]
    torch.testing.assert_close(ssim(x, x), torch.ones(2))


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_every_metric_is_symmetric_and_looks_at_each_image_alone(metric) -> None:
    x, y = random_images(4, 3, 16, 20, seed=5), random_images(4, 3, 16, 20, seed=6)
    values = metric(x, y)
    assert values.shape == (4,)
    torch.testing.assert_close(values, metric(y, x))
    torch.testing.assert_close(values[2:3], metric(x[2:3], y[2:3]))


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_half_precision_images_are_measured_in_single_precision(metric) -> None:
    x, y = random_images(1, 3, 16, 16, seed=7).bfloat16(), random_images(1, 3, 16, 16, seed=8).bfloat16()
    assert metric(x, y).dtype == torch.float32
    torch.testing.assert_close(metric(x, y), metric(x.float(), y.float()))


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_shapes_that_differ_are_refused_rather_than_broadcast(metric) -> None:
    with pytest.raises(ValueError, match="one shape"):
        metric(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match="n c h w"):
        metric(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    assert ssim(torch.zeros(1, 3, 11, 11), torch.zeros(1, 3, 11, 11)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))


def test_pixels_are_right_when_their_worst_channel_is_close_enough() -> None:
    truth = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    found = truth.clone()
    found[0, 0, 0, 0] = 105  # one channel is 5 off
    found[0, :, 0, 1] = 90  # every channel is 10 off
    found[0, 2, 1, 0] = 117  # one channel is 17 off
    assert [pixel_accuracy(found, truth, within).item() for within in (4, 5, 10, 16, 17)] == [0.25, 0.5, 0.75, 0.75, 1]


def test_pixel_accuracy_of_floats_is_that_of_the_files_they_become() -> None:
    x, y = random_images(2, 4, 9, 11, seed=9), random_images(2, 4, 9, 11, seed=10) * 1.2
    files = [((t.clamp(-1, 1) * 127.5) + 127.5).round().to(torch.uint8) for t in (x, y)]
    for within in (5, 10, 16, 100):
        expected = (files[0].int() - files[1].int()).abs().amax(dim=1) <= within
        torch.testing.assert_close(pixel_accuracy(x, y, within), expected.float().mean(dim=(1, 2)))
        torch.testing.assert_close(pixel_accuracy(*files, within), pixel_accuracy(x, y, within))


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_bytes_and_the_floats_they_stand_for_score_the_same(metric) -> None:
    x, y = (torch.from_numpy(np.random.default_rng(s).integers(0, 256, (2, 3, 16, 16), np.uint8)) for s in (1, 2))
    torch.testing.assert_close(metric(x, y), metric(x / 127.5 - 1, y / 127.5 - 1))


def test_figures_against_truth_do_not_depend_on_the_batches() -> None:
    x, y = random_images(5, 3, 16, 16, seed=11), random_images(5, 3, 16, 16, seed=12)
    whole = against_truth([(x, y)])
    parts = against_truth(zip(x.split(2), y.split(2), strict=True))
    assert list(whole) == ["l1", "psnr", "ssim", "within_5", "within_10", "within_16"]
    for name, values in whole.items():
        assert values.shape == (5,)
        torch.testing.assert_close(values, parts[name])
    means = score([(x, y)])
    assert whole["psnr"].mean().item() == pytest.approx(means.psnr, abs=1e-3)
    with pytest.raises(ValueError, match="at least one pair"):
        against_truth([])
