"""Strength and masks: a result between the input and its translation, exact at both ends, for all types of values."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from unpaired.cli import main
from unpaired.cli.strengths import joined
from unpaired.errors import ConfigError, DataError, ImageError
from unpaired.images import DTYPE, Image, ValueRange, read_image, write_image
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.translate import (
    DirectionInfo,
    DomainValues,
    ModelInfo,
    TrainingInfo,
    Translator,
    find_masks,
    mask_weight,
    plan_outputs,
    translate_files,
    write_model,
)

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)
STRENGTHS = [0, 0.1, 0.25, 0.5, 0.75, 0.99, 1, 1.25, 1.5]
SIZE = (11, 14)


class Negative(nn.Module):
    """Half of the negative: its values lie well inside the range, so that extrapolation has room."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Negative.calls += 1
        return images.mean(1, keepdim=True).expand(-1, self.out or images.shape[1], -1, -1) * -0.5

    def __init__(self, out: int = 0) -> None:
        super().__init__()
        self.out = out


def info_of(source: DomainValues, target: DomainValues, channels: int = 3, out: int = 3, **more: Any) -> ModelInfo:
    ways = {"AtoB": (channels, out), "BtoA": (out, channels)}
    return ModelInfo(
        directions={
            name: DirectionInfo(generator=SMALL, in_channels=a, out_channels=b) for name, (a, b) in ways.items()
        },
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan"),
        values={"A": source, "B": target},
        **more,
    )


def halfway(source: DomainValues | None = None, target: DomainValues | None = None, channels: int = 3) -> Translator:
    source = source or DomainValues()
    info = info_of(source, target or source, channels, channels)
    return Translator(info, {name: Negative().eval() for name in info.directions}, device="cpu")


def picture(dtype: str, channels: int = 3, alpha: bool = False, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        pixels = rng.uniform(-1.2, 1.2, (*SIZE, channels)).astype(np.float32)
        return Image(pixels, rng.uniform(0, 1, SIZE).astype(np.float32) if alpha else None)
    top = 4000 if dtype == "int32" else np.iinfo(dtype).max
    pixels = rng.integers(0, top, (*SIZE, channels), endpoint=True, dtype=dtype)
    return Image(pixels, rng.integers(0, top, SIZE, dtype=dtype) if alpha else None)


UNIT, WIDE = ValueRange((-1.0, 1.0)), ValueRange((0.0, 4095.0))


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    ("dtype", "values"),
    [("uint8", DTYPE), ("uint16", DTYPE), ("int16", WIDE), ("int32", WIDE), ("float32", UNIT), ("uint8", WIDE)],
)
def test_0_is_the_input_and_1_the_translation_bit_for_bit_and_values_are_monotone(
    dtype: str, values: ValueRange, alpha: bool
) -> None:
    translator, image = halfway(DomainValues(range=values)), picture(dtype, alpha=alpha)
    made = [translator(image, strength=strength) for strength in STRENGTHS]
    plain = translator(image)
    assert made[0].pixels.tobytes() == image.pixels.tobytes()
    assert made[STRENGTHS.index(1)].pixels.tobytes() == plain.pixels.tobytes()
    rising = plain.pixels.astype(float) >= image.pixels.astype(float)
    for before, after in itertools.pairwise(made):
        step = after.pixels.astype(float) - before.pixels.astype(float)
        assert (step[rising] >= 0).all()
        assert (step[~rising] <= 0).all()
    low, high = values.of(image.dtype)
    assert all(low <= one.pixels.min() and one.pixels.max() <= high for one in made[-2:])
    for one in made:
        assert (one.dtype, one.alpha is None) == (image.dtype, not alpha)
        assert not alpha or one.alpha.tobytes() == image.alpha.tobytes()


def test_strength_0_gives_the_input_in_the_range_and_type_of_the_result() -> None:
    translator = halfway(DomainValues(range=WIDE, dtype="uint16"), DomainValues(range=UNIT, dtype="float32"))
    image = Image(np.full((*SIZE, 3), 4095, np.uint16))
    assert (translator(image, strength=0).pixels == 1.0).all()
    assert translator(image, strength=0.5).dtype == np.float32
    grey = Image(np.full((*SIZE, 1), 7, np.uint8))
    assert (halfway()(grey, strength=0).pixels == 7).all()


def test_variants_translate_once_and_equal_single_calls() -> None:
    translator, image = halfway(), picture("uint8")
    before = Negative.calls
    made = translator.variants(image, [0, 0.5, 1])
    assert Negative.calls == before + 1
    for strength, one in zip([0, 0.5, 1], made, strict=True):
        assert one.pixels.tobytes() == translator(image, strength=strength).pixels.tobytes()
    pil = translator.variants(image.to_pil(), [0.5])[0]
    assert isinstance(pil, PIL.Image.Image)
    assert np.asarray(pil).tobytes() == made[1].pixels.tobytes()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5])
def test_tensors_arrays_and_lists_take_strength_and_masks(strength: float) -> None:
    translator = halfway()
    tensor = torch.rand(3, *SIZE) * 2 - 1
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 7:] = 255
    made = translator(tensor, strength=strength, mask=mask, feather=0)
    assert made[:, :, :7].equal(tensor[:, :, :7])
    expected = (tensor + strength * (translator(tensor) - tensor)).clamp(-1, 1)
    assert torch.allclose(made[:, :, 7:], expected[:, :, 7:], atol=1e-6)
    array = picture("uint16").pixels
    both = translator([tensor, array], strength=strength, mask=mask > 0, feather=0)
    assert both[0].equal(made)
    assert (both[1][:, :7] == array[:, :7]).all()
    assert (
        both[1].tobytes()
        == translator(array, strength=strength, mask=mask.astype(np.float32) / 255, feather=0).tobytes()
    )


def test_models_whose_domains_differ_in_channels_refuse_in_one_sentence() -> None:
    info = info_of(DomainValues(), DomainValues(), 3, 1)
    translator = Translator(info, {"AtoB": Negative(1), "BtoA": Negative(3)}, device="cpu")
    for call in (
        lambda: translator(picture("uint8"), strength=0.5),
        lambda: translator.variants(picture("uint8"), [1]),
    ):
        with pytest.raises(ConfigError, match="has 3 channels and its result 1, so a result cannot be blended"):
            call()
    assert translator(picture("uint8"), strength=1).channels == 1


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan")])
def test_strengths_out_of_range_are_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match=r"strength must be 0 .* not"):
        halfway()(picture("uint8"), strength=strength)


def test_no_data_stays_no_data_in_every_strength() -> None:
    pixels = np.random.default_rng(0).uniform(-1, 1, (*SIZE, 1)).astype(np.float32)
    pixels[2:5] = -9999
    image = Image(pixels, nodata=-9999.0)
    for strength in (0, 0.5, 1, 1.5):
        made = halfway(DomainValues(range=UNIT), channels=1)(image, strength=strength)
        assert made.nodata == -9999
        assert ((made.pixels == -9999) == (pixels == -9999)).all()


# --- masks -----------------------------------------------------------------------------------------


def square() -> Any:
    mask = np.zeros(SIZE, np.uint8)
    mask[2:9, 3:12] = 255
    return mask


@pytest.mark.parametrize("feather", [0, 1, 3])
@pytest.mark.parametrize(("dtype", "values"), [("uint8", DTYPE), ("uint16", DTYPE), ("float32", UNIT)])
def test_outside_of_the_mask_the_input_stays_bit_for_bit(dtype: str, values: ValueRange, feather: int) -> None:
    translator, image, mask = halfway(DomainValues(range=values)), picture(dtype, alpha=True), square()
    made = translator(image, mask=mask, feather=feather)
    assert made.pixels[mask == 0].tobytes() == image.pixels[mask == 0].tobytes()
    inside = mask_weight(mask, SIZE, feather) == 1
    assert made.pixels[inside].tobytes() == translator(image).pixels[inside].tobytes()
    assert inside.sum() == (7 - 2 * feather) * (9 - 2 * feather)


def test_the_edge_is_feathered_inwards_and_not_at_the_border_of_the_image() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[:, 3:] = 255
    assert mask_weight(mask, (9, 9), 3)[4].tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert (mask_weight(np.full((9, 9), 255, np.uint8), (9, 9), 3) == 1).all()


def test_grey_masks_are_weights_of_any_type() -> None:
    for dtype, half in ((np.uint16, 32896), (np.float64, 32896 / 65535)):
        weight = mask_weight(np.full(SIZE, half, dtype), SIZE)
        np.testing.assert_allclose(weight, 32896 / 65535)
    image, grey = picture("uint8"), np.full(SIZE, 51, np.uint8)
    translator = halfway()
    assert translator(image, mask=grey).pixels.tobytes() == translator(image, strength=0.2).pixels.tobytes()
    seen = Image(np.full((*SIZE, 3), 255, np.uint8), np.zeros(SIZE, np.uint8))
    assert (mask_weight(seen, SIZE) == 0).all()


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.zeros((5, 6), np.uint8), "The mask has 6 x 5 pixels and its image 14 x 11; make them equal"),
        (np.random.default_rng(0).integers(0, 9, (*SIZE, 3), np.uint8), "A mask is grey"),
        (np.full(SIZE, 2.0), "weights in 0..1"),
        (np.full(SIZE, np.nan), "weights in 0..1"),
        (np.zeros(SIZE, np.int32), "not int32"),
        (np.zeros(3, np.uint8), "A mask is h w"),
    ],
)
def test_masks_that_do_not_fit_are_one_sentence(mask: Any, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        halfway()(picture("uint8"), mask=mask)


# --- files -----------------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.tif")):
        write_image(folder / name, picture("uint8" if number == 0 else "uint16", seed=number))
    return folder


def test_a_folder_in_several_strengths_is_decoded_and_translated_once(inputs: Path, tmp_path: Path) -> None:
    translator, out = halfway(), tmp_path / "out"
    jobs = plan_outputs([inputs], out, strengths=[0, 0.25, 1]).jobs
    before = Negative.calls
    assert translate_files(translator, jobs) == []
    assert Negative.calls == before + 2
    names = {
        f"{stem}-strength-{s}{end}" for stem, end in (("a", ".png"), ("sub/b", ".tif")) for s in ("0", "0.25", "1")
    }
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == names
    for name in ("a.png", "sub/b.tif"):
        given = read_image(inputs / name)
        path = Path(name)
        for strength in ("0", "0.25", "1"):
            made = read_image(out / path.with_name(f"{path.stem}-strength-{strength}{path.suffix}"))
            assert made.pixels.tobytes() == translator(given, strength=float(strength)).pixels.tobytes()


def test_masks_of_a_folder_are_found_by_stem_and_missing_ones_named(inputs: Path, tmp_path: Path) -> None:
    masks, out = tmp_path / "masks", tmp_path / "out"
    (masks / "sub").mkdir(parents=True)
    jobs = plan_outputs([inputs], out).jobs
    write_image(masks / "a.tif", Image((square().astype(np.uint16) * 257)[:, :, None]))
    with pytest.raises(DataError, match=r"has no mask for b\.tif; a mask has the name of its image"):
        find_masks(masks, jobs, out)
    write_image(masks / "sub" / "b.png", Image(square()[:, :, None]))
    translate_files(halfway(), jobs, masks=find_masks(masks, jobs, out, feather=1))
    for name in ("a.png", "sub/b.tif"):
        given, made = read_image(inputs / name), read_image(out / name)
        assert made.pixels.tobytes() == halfway()(given, mask=square(), feather=1).pixels.tobytes()
    write_image(masks / "a.png", Image(square()[:, :, None]))
    with pytest.raises(DataError, match="are both masks of one image; keep one"):
        find_masks(masks, jobs, out)


def test_a_mask_that_does_not_fit_is_the_failure_of_its_image_alone(inputs: Path, tmp_path: Path) -> None:
    write_image(inputs / "c.png", Image(np.zeros((5, 5, 3), np.uint8)))
    write_image(tmp_path / "mask.png", Image(square()[:, :, None]))
    jobs = plan_outputs([inputs], tmp_path / "out").jobs
    failures = translate_files(halfway(), jobs, masks=find_masks(tmp_path / "mask.png", jobs, tmp_path / "out"))
    assert [str(one) for one in failures] == [
        f"{inputs}/c.png: {tmp_path}/mask.png: The mask has 14 x 11 pixels and its image 5 x 5; make them equal."
    ]


def write_pages(path: Path, pages: list[Image]) -> None:
    first, *others = [page.to_pil() for page in pages]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize("pages", [1, 3, 2])
def test_stacks_take_one_mask_or_one_for_each_page(tmp_path: Path, pages: int) -> None:
    slices = [picture("uint16", 1, seed=number) for number in range(3)]
    write_pages(tmp_path / "s.tif", slices)
    masks = [np.roll(square(), number, 0) for number in range(pages)]
    write_pages(tmp_path / "m.tif", [Image(mask[:, :, None]) for mask in masks])
    jobs = plan_outputs([tmp_path / "s.tif"], tmp_path / "out").jobs
    translator = halfway(channels=1)
    failures = translate_files(translator, jobs, masks=find_masks(tmp_path / "m.tif", jobs, tmp_path / "out"))
    if pages == 2:
        assert "The mask has 2 pages and its image 3; give one, or one for each." in str(failures[0])
        return
    for number, given in enumerate(slices):
        mask = masks[number % pages]
        made = read_image(tmp_path / "out" / "s.tif", frame=number)
        assert made.pixels.tobytes() == translator(given, mask=mask).pixels.tobytes()


def test_a_mask_of_a_side_by_side_image_is_halved_with_it(tmp_path: Path) -> None:
    pair = Image(np.concatenate([picture("uint8", seed=1).pixels, picture("uint8", seed=2).pixels], axis=1))
    write_image(tmp_path / "x.png", pair)
    sheet = np.concatenate([square(), 255 - square()], axis=1)
    for name, mask in (("whole", sheet), ("half", 255 - square())):
        write_image(tmp_path / f"{name}.png", Image(mask[:, :, None]))
        out = tmp_path / name
        jobs = [replace(job, half="right") for job in plan_outputs([tmp_path / "x.png"], out, strengths=[0.5, 1]).jobs]
        masks = find_masks(tmp_path / f"{name}.png", jobs, out)
        assert translate_files(halfway(), jobs, masks=masks) == []
        made = read_image(out / "x-strength-1.png")
        assert made.pixels.tobytes() == halfway()(picture("uint8", seed=2), mask=255 - square()).pixels.tobytes()


# --- the command line ------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    info = info_of(DomainValues(), DomainValues())
    torch.manual_seed(0)
    networks = {name: SMALL.build(3, 3) for name in info.directions}
    for network in networks.values():
        initialise(network)
    write_model(tmp_path / "model", info, networks)
    return tmp_path / "model"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def test_the_command_writes_a_file_for_each_strength_and_resumes(
    model: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["translate", model, inputs / "a.png", "--out", out, "--strength"]
    code, printed, _ = run(capsys, *command, "0", "0.5", "1")
    assert (code, "Translated 3 of 3 results" in printed) == (0, True)
    assert read_image(out / "a-strength-0.png").pixels.tobytes() == read_image(inputs / "a.png").pixels.tobytes()
    code, printed, _ = run(capsys, *command, "0,0.5,1", "--resume")
    assert (code, "3 of 3 were finished before" in printed) == (0, True)
    (out / "a-strength-0.5.png").unlink()
    assert "2 of 3 were finished before" in run(capsys, *command, "0,0.5,1", "--resume")[1]


def test_the_command_takes_a_mask_and_a_changed_mask_is_translated_again(
    model: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "m.png", Image(square()[:, :, None]))
    command = ["translate", model, inputs / "a.png", "--out", tmp_path / "out", "--mask", tmp_path / "m.png"]
    assert run(capsys, *command, "--strength", "0.5")[0] == 0
    assert "1 of 1 were finished" in run(capsys, *command, "--strength", "0.5", "--resume")[1]
    assert "finished" not in run(capsys, *command, "--strength", "0.25", "--resume")[1]
    write_image(tmp_path / "m.png", Image(255 - square()[:, :, None]))
    assert "finished" not in run(capsys, *command, "--strength", "0.25", "--resume")[1]
    given, made = read_image(inputs / "a.png").pixels, read_image(tmp_path / "out" / "a.png").pixels
    assert made[square() > 0].tobytes() == given[square() > 0].tobytes()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--strength", "30"], 78, "--strength takes numbers from 0 (the input) to 1.5 (1 is the translation), not 30"),
        (["--strength", "0", "1", "--scores"], 78, "give one --strength"),
        (["--mask", "nowhere"], 65, "There is no mask nowhere; give a file, or a folder"),
        (["--feather", "2"], 78, "--feather fades a translation towards the pixels that a mask keeps; add --mask"),
        (["--mask", "{image}", "--feather", "-1"], 78, "feather must be 0 to 256 pixels, not -1"),
    ],
)
def test_mistakes_are_one_sentence(
    model: Path, inputs: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    image = str(inputs / "a.png")
    found = run(capsys, "translate", model, image, *(word.format(image=image) for word in words))
    assert found[0] == code
    assert sentence in found[2]


def test_a_failure_is_one_line_whatever_the_number_of_strengths(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    code, printed, _ = run(
        capsys, "translate", model, tmp_path / "a.png", "--strength", "0", "1", "--out", tmp_path / "out"
    )
    assert (code, printed.count("failed:")) == (65, 1)
    assert "Translated 0 of 2 results" in printed


def test_strengths_may_be_separated_by_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    words = ["translate", "m", "--strength", "0", "0.5", "7"]
    assert joined(words) == ["translate", "m", "--strength", "0,0.5", "7"]
    assert joined(["translate", "m", "x.png", "--strength", "0.5"]) == ["translate", "m", "x.png", "--strength", "0.5"]
    assert joined(["train", "--strength", "0", "1"]) == ["train", "--strength", "0", "1"]
