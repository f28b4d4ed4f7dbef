"""Values that are none: NaN and infinity named before step one, no data filled for the network and put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor, nn

from unpaired.data.datasets import DataConfig, prepare
from unpaired.data.domains import open_domains
from unpaired.data.normalising import fill_of, spec_from_config
from unpaired.doctor.checkup import check_data
from unpaired.errors import ConfigError, DataError, ImageError
from unpaired.images import (
    Image,
    Percentiles,
    ValueRange,
    flatten,
    half_of,
    parse_fill,
    read_header,
    read_image,
    resize,
    restore,
)
from unpaired.images.image import turned
from unpaired.models.domain_values import DomainValues
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo
from unpaired.networks import ResNetGenerator
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.translate import plan_outputs, read_model, translate_files
from unpaired.translate.lost_metadata import LostMetadata
from unpaired.translate.translator import Translator

METRES = ValueRange((500.0, 900.0))


def heights(kind: str = "float32", gap: float = -9999) -> Any:
    """Heights of 500 to 890 in 40 rows, the first ten columns without data."""
    rows, columns = np.mgrid[:40, :40]
    return np.where(columns < 10, gap, 500 + 10 * rows).astype(kind)[:, :, None]


class Same(nn.Module):
    """A network that changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Constant(nn.Module):
    """A network with a constant output, which stores its input."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.given = value, torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return torch.full_like(x, self.value)


def translator(network: nn.Module, a: DomainValues, b: DomainValues | None = None, channels: int = 1) -> Translator:
    direction = DirectionInfo(generator=ResNetGenerator(), in_channels=channels, out_channels=channels)
    info = ModelInfo(
        directions={"AtoB": direction},
        domains={"A": "a", "B": "b"},
        training=TrainingInfo(step=1, seed=0, load_size=32, crop_size=32, objective="cyclegan"),
        values={"A": a, "B": b or a},
    )
    return Translator(info, {"AtoB": network}, device="cpu")


# --- detection -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "gap"), [("float32", -9999.0), ("float32", float(np.finfo("f4").min)), ("uint16", 65535), ("int16", -2000)]
)
def test_declared_no_data_is_missing_and_nothing_else_is(kind: str, gap: float) -> None:
    image = Image(heights(kind, gap), nodata=gap)
    assert image.missing is not None
    assert image.missing[:, :10].all()
    assert not image.missing[:, 10:].any()
    assert (image.measured.min(), image.measured.max()) == (500, 890)


def test_no_data_that_is_nan_is_missing() -> None:
    image = Image(heights(gap=np.nan), nodata=float("nan"))
    assert image.measured.size == 40 * 30
    assert np.isfinite(image.filled(500).pixels).all()


def test_a_value_that_the_type_does_not_hold_occurs_nowhere() -> None:
    assert Image(heights("uint16", 0), nodata=-9999).missing is None
    assert Image(heights("uint16", 0), nodata=0.5).missing is None
    assert Image(heights("float32", 0), nodata=1e300).missing is None


def test_a_pixel_of_a_colour_picture_is_missing_if_all_three_of_its_values_are() -> None:
    pixels = np.array([[[0, 0, 0], [0, 7, 0]]], np.uint8)
    missing = Image(pixels, nodata=0).missing
    assert missing is not None
    assert missing.tolist() == [[[True] * 3, [False] * 3]]


def test_percentiles_leave_no_data_out() -> None:
    images = [Image(heights(), nodata=-9999), Image(heights(gap=np.nan), nodata=float("nan"))]
    assert Percentiles(0, 100).measure(images, 2) == ValueRange((500, 890))


# --- the input of a network ------------------------------------------------------------------------


def test_the_low_end_of_the_range_stands_in_for_no_data() -> None:
    made = flatten(Image(heights(), nodata=-9999), 1, (255, 255, 255), METRES)
    assert (made.pixels[:, :10] == 500).all()
    assert made.nodata is None
    assert (flatten(Image(heights(), nodata=-9999), 1, (0, 0, 0), METRES, 700).pixels[:, :10] == 700).all()


def test_training_fills_before_it_resizes_so_that_no_gap_bleeds_into_a_height() -> None:
    config = DataConfig(load_size=20, crop_size=16, channels_a=1, range_a="500..900", nodata_fill_a="600")
    made = prepare(Image(heights(), nodata=-9999), config, spec_from_config(config, "A"))
    assert made.pixels[:, :4].min() >= 590
    assert made.pixels[:, :4].max() <= 610


@pytest.mark.parametrize(("text", "value"), [("low", None), ("0", 0.0), ("-1024", -1024.0)])
def test_the_fill_is_the_low_end_or_a_number(text: str, value: float | None) -> None:
    assert parse_fill(text) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "high"])
def test_a_fill_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="low end of the range, or a number"):
        parse_fill(text)


def test_one_domain_may_have_a_fill_of_its_own() -> None:
    config = DataConfig(nodata_fill="0", nodata_fill_b="7")
    assert (fill_of(config, "A"), fill_of(config, "B")) == (0, 7)


def test_the_largest_float_is_a_number_and_resizing_it_stays_one() -> None:
    pixels = np.where(np.arange(64) % 7 < 3, np.finfo("f4").min, np.finfo("f4").max).astype("f4")
    made = resize(Image(np.tile(pixels, (64, 1))[:, :, None]), (20, 30))
    assert np.isfinite(made.pixels).all()


# --- the result ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "gap"), [("float32", -9999.0), ("uint16", 65535.0), ("float32", float("nan"))])
def test_no_data_is_restored_where_it_was(kind: str, gap: float) -> None:
    network = Constant(0.5)
    own = DomainValues(range=METRES, dtype=kind)
    (made,) = translator(network, own).translate_images([Image(heights(kind, gap), nodata=gap)])
    assert (network.given[..., :10] == -1).all()
    np.testing.assert_array_equal(made.pixels[:, :10], np.full((40, 10, 1), gap, kind))
    assert (made.pixels[:, 10:] == 800).all()
    assert made.missing is not None


def test_a_network_that_changes_nothing_gives_a_picture_with_gaps_back_bit_for_bit() -> None:
    given = Image(heights(), nodata=-9999)
    (made,) = translator(Same(), DomainValues(range=METRES, dtype="float32")).translate_images([given])
    np.testing.assert_array_equal(made.pixels, given.pixels)
    assert made.nodata == -9999


def test_a_result_that_meets_the_no_data_value_by_accident_is_moved_off_it() -> None:
    own = DomainValues(range=ValueRange((0, 255)), dtype="uint8")
    given = Image(np.full((4, 4, 1), 9, np.uint8), nodata=0)
    (made,) = translator(Constant(-1), own).translate_images([given])
    assert (made.pixels == 1).all()
    assert made.missing is None


def test_a_type_that_cannot_hold_the_value_keeps_no_gaps_and_says_so() -> None:
    made = restore(Image(np.full((40, 40, 1), 9, np.uint8)), Image(heights(), nodata=-9999))
    assert made.nodata is None
    assert (made.pixels == 9).all()


def test_a_value_of_one_band_alone_is_filled_and_its_pixel_translated() -> None:
    pixels = np.full((1, 2, 2), 600, "f4")
    pixels[0, 0, 1] = -9999
    own = DomainValues(range=METRES, dtype="float32")
    (made,) = translator(Constant(0), own, channels=2).translate_images([Image(pixels, nodata=-9999)])
    assert (made.pixels == 700).all()


# --- NaN and infinity that nobody declared ---------------------------------------------------------


def field(path: Path, value: float) -> Path:
    pixels = np.linspace(0, 1, 40 * 40, dtype="f4").reshape(40, 40)
    pixels[3, 5] = value
    tifffile.imwrite(path, pixels, metadata=None)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_value_is_named_with_its_place(tmp_path: Path, value: float) -> None:
    with pytest.raises(ImageError, match=r"x\.tif: It holds NaN or infinite values in 1 of 1,600 .* row 3, column 5"):
        read_image(field(tmp_path / "x.tif", value))


def folders(root: Path, bad: int = 1) -> Path:
    for domain in "AB":
        (root / f"train{domain}").mkdir(parents=True)
        for number in range(4):
            value = np.nan if (domain, number) == ("A", bad) else 0.25
            field(root / f"train{domain}" / f"{number}.tif", value)
    return root


def test_training_names_the_image_before_step_one_and_can_leave_it_out(tmp_path: Path, toy_config: Config) -> None:
    root = folders(tmp_path / "data")
    data = replace(toy_config.data, root=str(root), channels_a=1, channels_b=1, range="0..1")
    schedule = replace(toy_config.schedule, num_steps=2)
    config = replace(toy_config, data=data, schedule=schedule)
    with pytest.raises(DataError, match=r"trainA/1\.tif: It holds NaN"):
        train(config, out=tmp_path / "refused")
    run = train(replace(config, data=replace(data, bad_images="skip")), out=tmp_path / "run")
    assert run.step == 2
    assert '"1.tif"' in (tmp_path / "run" / "data.json").read_text()


def test_percentiles_do_not_see_a_bad_image(tmp_path: Path) -> None:
    config = DataConfig(root=str(folders(tmp_path)), channels_a=1, channels_b=1, range="p0..p100", bad_images="skip")
    domains, _ = open_domains(config).usable(config)
    assert domains.settled(config).range_a == "0..1"


def test_the_check_of_a_folder_names_it(tmp_path: Path) -> None:
    found = {f.fault.code: f for f in check_data(DataConfig(root=str(folders(tmp_path)))).findings}
    assert [item.paths[0].name for item in found["non_finite"].items] == ["1.tif"]
    assert "damaged" not in found


def test_nan_declared_as_no_data_is_no_fault(tmp_path: Path) -> None:
    pixels = np.linspace(0, 1, 1600, dtype="f4").reshape(40, 40)
    pixels[3, 5] = np.nan
    image = Image(pixels[:, :, None], nodata=float("nan"))
    assert image.measured.size == 1599


# --- in files --------------------------------------------------------------------------------------

GDAL_NODATA = 42113


def tile(path: Path, kind: str, gap: float) -> Path:
    tags = [(GDAL_NODATA, "s", 0, f"{gap:.17g}", True)]
    tifffile.imwrite(path, heights(kind, gap)[:, :, 0], extratags=tags, metadata=None)
    return path


@pytest.mark.parametrize(
    ("kind", "gap"), [("float32", -9999.0), ("float32", float(np.finfo("f4").min)), ("uint16", 65535.0)]
)
def test_a_tile_with_gaps_is_translated_to_a_tile_with_the_same_gaps(tmp_path: Path, kind: str, gap: float) -> None:
    own = DomainValues(range=METRES, dtype=kind)
    jobs = plan_outputs([tile(tmp_path / "x.tif", kind, gap)], tmp_path / "out").jobs
    lost = LostMetadata()
    assert translate_files(translator(Constant(0.5), own), jobs, lost=lost) == []
    made = read_image(tmp_path / "out" / "x.tif")
    assert made.nodata == gap
    np.testing.assert_array_equal(made.missing, Image(heights(kind, gap), nodata=gap).missing)
    assert set(made.measured.tolist()) == {800}
    assert lost.sentences() == []


def test_results_whose_type_has_no_place_for_the_value_are_counted(tmp_path: Path) -> None:
    a, b = DomainValues(range=METRES, dtype="float32"), DomainValues(range=ValueRange((0, 255)), dtype="uint8")
    jobs = plan_outputs([tile(tmp_path / "x.tif", "float32", -9999)], tmp_path / "out").jobs
    lost = LostMetadata()
    translate_files(translator(Constant(0.5), a, b), jobs, lost=lost)
    (sentence,) = lost.sentences()
    assert "1 of 1 result does not carry the no-data value of its input" in sentence
    assert "type has no place for it" in sentence


def test_training_takes_the_fill_for_gaps_in_files_and_the_model_keeps_it(tmp_path: Path, toy_config: Config) -> None:
    for domain in "AB":
        (tmp_path / "data" / f"train{domain}").mkdir(parents=True)
        for number in range(3):
            tile(tmp_path / "data" / f"train{domain}" / f"{number}.tif", "float32", -9999)
    data = replace(
        toy_config.data,
        root=str(tmp_path / "data"),
        channels_a=1,
        channels_b=1,
        range="p0..p100",
        nodata_fill_b="700",
    )
    config = replace(toy_config, data=data, schedule=replace(toy_config.schedule, num_steps=2))
    train(config, out=tmp_path / "run")
    values = read_model(tmp_path / "run" / "model")[0].values
    assert (str(values["A"].range), values["A"].nodata_fill) == ("500..890", None)
    assert (str(values["B"].range), values["B"].nodata_fill) == ("500..890", 700)


def masked(path: Path, kind: str = "float32") -> Path:
    """A tile of which a mask inside the file hides the first ten columns, as GDAL writes it."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(heights(kind, 700)[:, :, 0], metadata=None)
        shown = np.mgrid[:40, :40][1] >= 10
        writer.write(shown, photometric=4, subfiletype=4, compression="adobe_deflate", metadata=None)
    return path


@pytest.mark.parametrize("kind", ["float32", "uint16", "uint8"])
def test_pixels_that_a_mask_hides_are_no_data_whatever_their_values(tmp_path: Path, kind: str) -> None:
    image = read_image(masked(tmp_path / "x.tif", kind))
    assert image.missing is not None
    assert image.missing[:, :10].all()
    assert not image.missing[:, 10:].any()
    assert image.measured.size == 40 * 30
    assert (image.filled(9).pixels[:, :10] == 9).all()
    assert read_header(tmp_path / "x.tif").frames == 1


def test_a_mask_comes_back_in_the_result_and_is_missed_where_the_format_has_none(tmp_path: Path) -> None:
    own = DomainValues(range=METRES, dtype="uint16")
    given = masked(tmp_path / "x.tif", "uint16")
    network, lost = Constant(0.5), LostMetadata()
    jobs = plan_outputs([given], tmp_path / "out").jobs
    assert translate_files(translator(network, own), jobs, lost=lost) == []
    assert (network.given[..., :10] == -1).all()
    with tifffile.TiffFile(tmp_path / "out" / "x.tif") as made:
        picture, mask = made.pages
        assert (picture.asarray()[:, 10:] == 800).all()
        assert (int(mask.subfiletype), int(mask.photometric)) == (4, 4)
        np.testing.assert_array_equal(mask.asarray() > 0, np.mgrid[:40, :40][1] >= 10)
    assert lost.sentences() == []
    translate_files(translator(network, own), plan_outputs([given], tmp_path / "png", format="png").jobs, lost=lost)
    assert any("no-data" in sentence for sentence in lost.sentences())


def test_a_mask_follows_its_picture_when_that_is_turned_halved_and_resized() -> None:
    hidden = np.mgrid[:4, :6][1] < 2
    image = Image(np.zeros((4, 6, 1), np.float32), mask=hidden)
    upright = turned(image, 6).mask
    assert upright is not None
    assert upright[:2].all()
    assert not upright[2:].any()
    left, right = (half_of(image, left=side).mask for side in (True, False))
    assert left is not None
    assert left.sum() == 8
    assert right is not None
    assert not right.any()
    for how in ("bicubic", "nearest"):
        small = resize(image, (2, 3), how).mask
        assert small is not None
        assert small.tolist() == [[True, False, False]] * 2
    with pytest.raises(ImageError, match="A mask must be"):
        Image(np.zeros((4, 6, 1), np.float32), mask=hidden[:2])
