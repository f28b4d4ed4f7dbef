"""Random-convolution features are the same for everybody; descriptions are bounded and do not depend on batches."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor

from unpaired.evaluation.describe import describe
from unpaired.evaluation.features import RandomConvolutions, standardised


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (1, "81c0a8231cf4e1cd"),
        (3, "49d7f9a71399dc19"),
    ],
)
def test_the_weights_are_a_constant_of_the_package(channels: int, expected: str) -> None:
    weights = RandomConvolutions(channels).state_dict()
    digest = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in ("first", "bias", "second")))
    assert digest.hexdigest()[:16] == expected


def test_half_of_the_filters_are_blind_to_flat_colour() -> None:
    first = RandomConvolutions(3).first
    assert first[::2].sum(dim=(2, 3)).abs().max() < 1e-6
    assert first[1::2].sum(dim=(2, 3)).abs().min() > 1e-4


def test_the_weights_vary_as_their_scale_says() -> None:
    extractor = RandomConvolutions(13)
    assert extractor.first.var().item() * 13 * 25 == pytest.approx(1, rel=0.05)
    assert extractor.second.var().item() * 32 * 9 == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize(("h", "w", "size"), [(16, 16, 320), (33, 47, 640), (64, 80, 960)])
def test_any_number_of_channels_and_any_size_give_features(channels: int, h: int, w: int, size: int) -> None:
    features = RandomConvolutions(channels)(random_images(2, channels, h, w))
    assert features.shape == (2, size)
    assert features.isfinite().all()
    assert features.std() > 0


def test_each_image_is_looked_at_alone() -> None:
    images, extractor = random_images(4, 3, 32, 32), RandomConvolutions(3)
    torch.testing.assert_close(extractor(images)[2:3], extractor(images[2:3]), rtol=1e-5, atol=1e-6)


def test_features_refuse_other_channels_and_tiny_images() -> None:
    with pytest.raises(ValueError, match="3 channels, not 1"):
        RandomConvolutions(3)(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="at least 16x16"):
        RandomConvolutions(3)(torch.zeros(1, 3, 15, 32))
    with pytest.raises(ValueError, match="n c h w"):
        RandomConvolutions(3)(torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match="int32"):
        RandomConvolutions(3)(torch.zeros(1, 3, 32, 32, dtype=torch.int32))


def test_standardising_favours_neither_set_and_leaves_constant_columns_at_zero() -> None:
    x, y = random_images(1, 1, 30, 4)[0, 0] * 100 + 7, random_images(1, 1, 20, 4, seed=1)[0, 0]
    x[:, 3] = y[:, 3] = 0.1
    u, v = standardised(x, y)
    both = torch.cat([u, v])
    torch.testing.assert_close(both.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(both.std(dim=0, correction=0), torch.tensor([1.0, 1, 1, 0]))
    again = standardised(y, x)
    torch.testing.assert_close((v, u), again)


def test_a_description_does_not_depend_on_how_the_images_came() -> None:
    images = ((random_images(7, 3, 40, 36) + 1) * 127.5).round().to(torch.uint8)
    whole, parts = describe([images]), describe(images.float().div(127.5).sub(1).split(3))
    assert whole.num_images == parts.num_images == 7
    assert whole.size == (3, 40, 36)
    torch.testing.assert_close(whole.features, parts.features, rtol=1e-5, atol=1e-6)
    assert [level.shape for level in whole.patches] == [(7, 64, 3, 49), (7, 64, 3, 49)]
    torch.testing.assert_close(whole.patches, parts.patches, rtol=1e-5, atol=1e-6)


def test_a_description_keeps_a_bounded_random_part_of_many_images() -> None:
    values = torch.arange(60) / 60 - 0.5
    images = values[:, None, None, None].expand(60, 1, 16, 16)
    bytes_an_image = 64 * 49 * 4
    kept = describe(images.split(7), max_images=20, max_patch_bytes=10 * bytes_an_image + 5)
    assert kept.num_images == 60
    assert len(kept.features) == 20
    assert len(kept.patches[0]) == 10
    numbers = {round(float(level.mean()) * 60 + 30) for level in kept.patches[0]}
    assert len(numbers) == 10
    assert max(numbers) >= 20  # not the first ones alone
    with pytest.raises(ValueError, match=r"Only a sample of the .* images was kept"):
        kept.select(torch.arange(5))


def test_a_part_of_a_description_is_the_description_of_that_part() -> None:
    images = random_images(6, 1, 20, 20)
    part = describe([images]).select(torch.tensor([4, 1]))
    assert part.num_images == 2
    torch.testing.assert_close(part.features, describe([images[[4, 1]]]).features, rtol=1e-5, atol=1e-6)


def test_images_of_two_sizes_and_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        describe([torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 17)])
    with pytest.raises(ValueError, match="at least one image"):
        describe([])
