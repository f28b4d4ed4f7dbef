"""The colour baseline: exact where truth is a polynomial of colour, never worse than doing nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from unpaired.evaluation.colour import ColourTransform


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def quartic(images: Tensor) -> Tensor:
    r, g, b = images.unbind(1)
    return torch.stack(
        (
            0.3 * r**4 - 0.2 * g * b**3 + 0.1,
            0.4 * r * g * b - 0.3 * g**2 * b**2 + 0.2 * b,
            0.5 * g - 0.3 * r**2 * b + 0.1 * r * g**2 * b,
        ),
        dim=1,
    )


def test_an_exact_polynomial_is_recovered_and_holds_on_unseen_images() -> None:
    seen, unseen = random_images(4, 3, 24, 24), random_images(2, 3, 9, 13, seed=1)
    transform = ColourTransform.fit([(seen, quartic(seen))])
    assert transform.coefficients.shape == (35, 3)
    torch.testing.assert_close(transform(unseen), quartic(unseen), atol=1e-4, rtol=0)


def test_no_fit_is_worse_than_untouched_images_on_its_own_pairs() -> None:
    for seed in range(5):
        images = random_images(2, 3, 8, 8, seed=seed)
        truth = (0.9 * images + 0.1 * random_images(2, 3, 8, 8, seed=100 + seed)).clamp(-1, 1)
        coloured = ColourTransform.fit([(images, truth)])(images)
        assert (coloured - truth).square().mean() <= (images - truth).square().mean()


def test_a_fit_to_the_images_themselves_leaves_them_alone() -> None:
    images = random_images(1, 3, 16, 16)
    torch.testing.assert_close(ColourTransform.fit([(images, images)])(images), images)


def test_pairs_are_read_one_by_one_and_their_batching_does_not_matter() -> None:
    images, truth = random_images(6, 3, 8, 8), random_images(6, 3, 8, 8, seed=1)

    def singly() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(6):
            yield images[i : i + 1], truth[i : i + 1]

    together = ColourTransform.fit([(images, truth)])
    torch.testing.assert_close(ColourTransform.fit(singly()).coefficients, together.coefficients)


def test_one_flat_colour_is_enough_to_fit() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    blue = torch.tensor([-1.0, -1.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    torch.testing.assert_close(ColourTransform.fit([(red, blue)])(red), blue, atol=1e-4, rtol=0)


def test_results_keep_shape_and_dtype_and_stay_in_range() -> None:
    images = random_images(2, 3, 8, 6)
    transform = ColourTransform.fit([(images, images * 3)])
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        coloured = transform(images.to(dtype))
        assert coloured.shape == images.shape
        assert coloured.dtype == dtype
        assert coloured.abs().max() <= 1


def test_programming_errors_are_refused() -> None:
    images = random_images(1, 3, 8, 8)
    with pytest.raises(ValueError, match="at least one pair"):
        ColourTransform.fit([])
    with pytest.raises(ValueError, match="differ in shape"):
        ColourTransform.fit([(images, images[:, :, :4])])
    with pytest.raises(ValueError, match="n 3 h w"):
        ColourTransform.fit([(images[:, :1], images[:, :1])])
