"""Domains whose files differ: the type that holds them all, the minority by name, bands that are tagged as alpha."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from test_nodata import Same, translator
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.doctor.checkup import check_data
from unpaired.errors import ConfigError, DataError
from unpaired.images import DTYPE, Image, ValueRange, read_image
from unpaired.models.domain_values import DomainValues
from unpaired.scanning.predicates import alpha_is_a_band


@pytest.mark.parametrize(
    ("kinds", "bounds", "result"),
    [
        (["uint8"], None, "uint8"),
        (["uint8", "uint16"], None, "uint16"),
        (["uint8", "int16"], None, "int16"),
        (["uint16", "int16"], (-1024, 3071), "int32"),
        (["uint8", "float32"], (0, 1), "float32"),
        (["uint8"], (0, 4095), "uint16"),
        (["uint16"], (-1024, 3071), "int32"),
        (["int16", "int32"], (-1024, 3071), "int32"),
        (["int32", "float32"], (0, 4095), "float32"),
        (["int16"], (-1e12, 1e12), "float32"),
    ],
)
def test_the_smallest_type_holds_every_file_and_the_range(
    kinds: list[str], bounds: tuple[float, float] | None, result: str
) -> None:
    assert ValueRange(bounds).smallest_type(map(np.dtype, kinds)) == result


def test_floats_beside_whole_numbers_that_they_cannot_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match="No type holds images of float32 and int32"):
        ValueRange((0, 2**31)).smallest_type([np.dtype("int32"), np.dtype("float32")])


@pytest.mark.parametrize(("odd", "others"), [("uint8", "float32"), ("uint8", "uint16"), ("uint16", "int16")])
def test_the_first_file_does_not_decide_for_its_domain(tmp_path: Path, odd: str, others: str) -> None:
    for number, kind in enumerate([odd, others, others]):
        values = (np.arange(36 * 36).reshape(36, 36) % 200).astype(kind)
        for domain in "AB":
            (tmp_path / f"train{domain}").mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / f"train{domain}/{number}.tif", values, metadata=None)
    config = DataConfig(root=str(tmp_path), channels_a=1, channels_b=1, range="0..200", crop_size=32, load_size=36)
    domains, notes = open_domains(config).usable(config)
    assert domains.settled(config).dtype_a == np.result_type(odd, others)
    note = f"1 of 3 files in {tmp_path / 'trainB'} are not {others} as most are (first: 0.tif, {odd})"
    assert any(note in one for one in notes)
    found = {(finding.fault.code, finding.place): finding for finding in check_data(config).findings}
    (item,) = found["mixed_types", "trainA"].items
    assert (item.paths[0].name, item.detail) == ("0.tif", f"{odd}, where most are {others}")


def test_files_of_a_number_of_channels_that_is_not_trained_on_are_bad_images(tmp_path: Path) -> None:
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        for number, channels in enumerate([3, 5, 1]):
            array = np.full((36, 36, channels)[: 3 if channels > 1 else 2], 9, np.uint8)
            kind = "rgb" if channels == 3 else "minisblack"
            path = tmp_path / f"train{domain}/{number}.tif"
            tifffile.imwrite(
                path, array, photometric=kind, planarconfig="contig" if channels > 1 else None, metadata=None
            )
    config = DataConfig(root=str(tmp_path), crop_size=32, load_size=36, bad_images="skip")
    domains, notes = open_domains(config).usable(config)
    assert [path.name for path in domains.train_b.paths] == ["0.tif", "2.tif"]
    assert any("1 of 3 images" in note for note in notes)


# --- the type of a result --------------------------------------------------------------------------


def result_type(given: str, a: DomainValues, b: DomainValues) -> Any:
    return translator(Same(), a, b).translate_images([Image(np.full((4, 4, 1), 9, given))])[0].dtype


HU = ValueRange((-1000.0, 1000.0))


def test_a_domain_recorded_wide_because_of_one_file_still_writes_narrow_results() -> None:
    assert result_type("int16", DomainValues(range=HU, dtype="int16"), DomainValues(range=HU, dtype="int32")) == "int16"
    assert result_type("int16", DomainValues(range=HU, dtype="int32"), DomainValues(range=HU, dtype="int32")) == "int16"


def test_floats_between_0_and_1_are_never_written_as_bytes_0_and_1() -> None:
    unit = DomainValues(range=ValueRange((0.0, 1.0)), dtype="float32")
    assert result_type("uint8", unit, unit) == "float32"
    assert result_type("float32", unit, unit) == "float32"


def test_a_recorded_type_that_cannot_hold_its_range_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"uint8 cannot represent the range -1000\.\.1000; replace it by one that can"
    ):
        DomainValues(range=HU, dtype="uint8")


# --- a last band that is tagged alpha --------------------------------------------------------------


def near_infrared(path: Path, alpha: Any = None) -> Path:
    rows, columns = np.mgrid[:40, :40]
    infrared = (6 * columns) % 256 if alpha is None else alpha
    bands = np.stack([60 + columns, 120 + rows, 50 + 0 * columns, infrared], -1).astype("u1")
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, bands, photometric="rgb", extrasamples=[2], metadata=None)
    return path


def test_four_declared_channels_take_alpha_as_the_fourth_band(tmp_path: Path) -> None:
    image = read_image(near_infrared(tmp_path / "x.tif"))
    assert image.alpha is not None
    own = DomainValues(range=DTYPE, dtype="uint8")
    (made,) = translator(Same(), own, channels=4).translate_images([image])
    np.testing.assert_array_equal(made.pixels, image.interleaved)
    assert made.alpha is None


def test_three_channels_warn_that_alpha_looks_like_a_measurement(tmp_path: Path) -> None:
    for domain in "AB":
        for number in range(3):
            near_infrared(tmp_path / f"train{domain}" / f"{number}.tif")
    config = DataConfig(root=str(tmp_path), crop_size=32, load_size=36)
    _, notes = open_domains(config).usable(config)
    advice = "3 of 3 images in {} tag their last band as alpha"
    assert sum(advice.format(tmp_path / f"train{domain}") in note for domain in "AB" for note in notes) == 2
    assert any(note.endswith("give --data.channels-a 4.") for note in notes)
    four = DataConfig(root=str(tmp_path), crop_size=32, load_size=36, channels_a=4, channels_b=4)
    assert not any("alpha" in note for note in open_domains(four).usable(four)[1])
    assert "alpha_band" in {finding.fault.code for finding in check_data(config).findings}


def test_soft_edges_are_transparency(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:40, :40]
    disc = (1200 - 80 * np.hypot(rows - 20, columns - 20)).clip(0, 255)
    path = near_infrared(tmp_path / "x" / "x.tif", disc)
    assert not alpha_is_a_band(path, read_image(path))
    PIL.Image.fromarray(np.full((9, 9, 4), 99, np.uint8)).save(tmp_path / "half.png")
    assert not alpha_is_a_band(tmp_path / "half.png", read_image(tmp_path / "half.png"))


# --- the check of a folder -------------------------------------------------------------------------


def test_the_check_finds_channels_and_types_that_training_would_refuse(tmp_path: Path) -> None:
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        for number in range(3):
            array = np.full((36, 36, 5), number, np.float32)
            path = tmp_path / f"train{domain}/{number}.tif"
            tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig", metadata=None)
    found = {finding.fault.code: finding for finding in check_data(DataConfig(root=str(tmp_path))).findings}
    assert found["channels"].items[0].detail == "5, and training is set to 3"
    assert found["no_range"].items[0].detail == "float32"
    right = DataConfig(root=str(tmp_path), channels_a=5, channels_b=5, range="p0..p100")
    assert not {"channels", "no_range"} & {finding.fault.code for finding in check_data(right).findings}


def test_percentiles_of_nothing_say_so(tmp_path: Path) -> None:
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        tags = [(42113, "s", 0, "0", True)]
        tifffile.imwrite(tmp_path / f"train{domain}/0.tif", np.zeros((36, 36), "f4"), extratags=tags, metadata=None)
    config = DataConfig(root=str(tmp_path), channels_a=1, channels_b=1, range="p0..p100")
    with pytest.raises(DataError, match=r"trainA: There are no values to measure percentiles of"):
        open_domains(config).settled(config)
