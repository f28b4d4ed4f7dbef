"""Input and output types of a translator, and its description."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from unpaired.errors import ConfigError, ImageError, UnpairedError
from unpaired.images import Image, ValueRange, write_image
from unpaired.networks import ResNetGenerator
from unpaired.translate import DirectionInfo, DomainValues, ModelInfo, TrainingInfo, Translator

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)


class Negative(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -images


def negative(values: DomainValues | None = None, **options: int) -> Translator:
    info = ModelInfo(
        directions={name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")},
        domains={"A": "summer\x1b", "B": "winter"},
        training=TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan"),
        values={"A": values or DomainValues(), "B": values or DomainValues()},
    )
    return Translator(info, dict.fromkeys(info.directions, Negative().eval()), device="cpu", **options)  # type: ignore[arg-type]


def picture(seed: int, height: int = 6, width: int = 9) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_an_image(tmp_path: Path, kind: type) -> None:
    write_image(tmp_path / "x.png", picture(1))
    made = negative()(kind(tmp_path / "x.png"))
    assert isinstance(made, Image)
    np.testing.assert_array_equal(made.pixels, 255 - picture(1).pixels)
    with pytest.raises(ImageError, match=r"missing\.png"):
        negative()(kind(tmp_path / "missing.png"))
    with pytest.raises(ImageError, match=r"limit of 20; scale it down or raise max_pixels\.$"):
        negative(max_pixels=20)(kind(tmp_path / "x.png"))


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_list_may_hold_every_kind_and_each_comes_back_as_its_own(tmp_path: Path, batch: int) -> None:
    write_image(tmp_path / "x.png", picture(0))
    tensor, many = torch.rand(3, 5, 4) * 2 - 1, torch.rand(2, 3, 5, 4) * 2 - 1
    given = [
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        picture(2).to_pil(),
        picture(3),
        picture(4).pixels,
        picture(5).pixels[:, :, 0],
        tensor,
        tensor.double(),
        -tensor,
        -tensor,
        many,
    ]
    made = negative()(given, batch=batch)
    assert [type(one) for one in made[:4]] == [Image, Image, PIL.Image.Image, Image]
    for one, image in zip(made[:5], (0, 0, 2, 3, 4), strict=True):
        pixels = one.pixels if isinstance(one, Image) else np.asarray(one)
        np.testing.assert_array_equal(pixels, 255 - picture(image).pixels)
    assert made[5].shape == (6, 9, 3)
    for one, before in zip(made[6:], (tensor, tensor, -tensor, -tensor, many), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, -before)


@pytest.mark.parametrize("empty", [[], ()])
def test_nothing_gives_nothing(empty: list[object] | tuple[()]) -> None:
    assert negative()(empty) == []
    with pytest.raises(ConfigError, match="direction"):
        negative()(empty, direction="up")
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        negative()(empty, batch=0)


def test_floats_are_translated_in_the_range_of_the_model() -> None:
    values = DomainValues(range=ValueRange((0, 2)), dtype="float32")
    floats = np.random.default_rng(0).uniform(0, 2, (4, 5, 3)).astype(np.float32)
    made = negative(values)(floats)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, 2 - floats, atol=1e-6)
    with pytest.raises(ImageError, match="Images of float32 have no range of their own"):
        negative()(floats)


def test_the_ranges_are_those_of_the_domains() -> None:
    values = DomainValues(range=ValueRange((0, 4095)), dtype="uint16")
    assert negative(values).ranges == {"A": values, "B": values}
    assert str(negative(values).ranges["A"].range) == "0..4095"


def test_it_says_what_it_is() -> None:
    assert repr(negative()) == (
        r"Translator(AtoB: summer\x1b -> winter, BtoA: winter -> summer\x1b; resnet 3 -> 3 channels, trained at 64 "
        "pixels, step 7; torch on cpu, precision fp32)"
    )


def test_no_message_of_a_translator_names_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "x.png", picture(1))
    (tmp_path / "broken.png").write_bytes(b"no image")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    small = negative(max_pixels=20)
    attempts = [
        lambda: small(tmp_path / "x.png"),
        lambda: small(picture(1)),
        lambda: small(torch.zeros(4, 3, 9, 9)),
        lambda: small(tmp_path / "broken.png"),
        lambda: negative()(np.zeros((4, 4, 3), np.float32)),
        lambda: negative()(np.zeros((4, 4, 3), np.int32)),
        lambda: negative()(np.zeros((4, 4, 5), np.uint8)),
        lambda: negative()(np.zeros((0, 4, 3), np.uint8)),
        lambda: negative()(torch.zeros(1, 4, 4)),
        lambda: negative()(3),
        lambda: negative()(picture(1), direction="up"),
        lambda: Translator.load(tmp_path),
        lambda: Translator.load(tmp_path / "none"),
        lambda: Translator.load(tmp_path, backend="none"),
        lambda: negative(precision="half"),
        lambda: negative(max_pixels=0),
        lambda: Translator(small.info, {"AtoB": Negative(), "BtoA": Negative()}, device="cuda"),
        lambda: Translator(small.info, {"AtoB": Negative(), "BtoA": Negative()}, device="gpu"),
    ]
    for attempt in attempts:
        with pytest.raises(UnpairedError) as caught:
            attempt()
        assert not re.search(r"(?<![\w-])--[a-z]", str(caught.value)), str(caught.value)
        assert not caught.value.setting or caught.value.setting in str(caught.value)


@pytest.mark.parametrize("dtype", [">u2", ">i2", ">f4"])
def test_arrays_of_the_other_byte_order_are_translated_like_their_own(dtype: str) -> None:
    values = None if dtype == ">u2" else DomainValues(range=ValueRange((-1.0, 1.0)))
    array = np.arange(54).reshape(6, 3, 3).astype(dtype) % 2
    native = array.astype(array.dtype.newbyteorder("="))
    made = negative(values)(array)
    assert made.dtype == native.dtype
    assert made.tobytes() == negative(values)(native).tobytes()


def test_masked_arrays_and_tensors_without_values_are_refused_in_one_sentence() -> None:
    masked = np.ma.masked_less(np.zeros((4, 4, 3), np.uint8), 1)  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match=r"masked array, .*; fill them, as in array\.filled\(0\)\.$"):
        negative()(masked)
    with pytest.raises(ConfigError, match="one on the device meta has none; give real ones"):
        negative()(torch.zeros(3, 4, 4, device="meta"))
