"""Values keep their type, range and last bit from file to network and back, whatever the format."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
import tifffile
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from torch import nn

from unpaired.cli.advice import advice_of
from unpaired.data.datasets import DataConfig, PairedDataset, UnpairedDataset
from unpaired.data.domains import open_domains
from unpaired.data.ranges import resolved_values
from unpaired.data.sources import FolderSource
from unpaired.errors import (
    ConfigError,
    DataError,
    ImageError,
    MissingExtraError,
    ModelError,
    OutputError,
    UnpairedError,
)
from unpaired.images import (
    HELD,
    Image,
    Percentiles,
    ValueRange,
    from_tensor,
    parse_range,
    read_header,
    read_image,
    resize,
    to_srgb,
    to_tensor,
    write_image,
)
from unpaired.networks import ResNetGenerator, UNetGenerator
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.translate import (
    DirectionInfo,
    DomainValues,
    Failure,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    read_model,
    translate_files,
    write_model,
)
from unpaired.translate.pixel_limit import bytes_per_pixel, pixels_that_fit

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)
TRAINING = TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan")
TWELVE_BITS = ValueRange((0, 4095))

# --- test data -------------------------------------------------------------------------------------


def numbers(shape: tuple[int, ...], dtype: str, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Return random numbers of a type, its lowest and its highest one among them."""
    rng = np.random.default_rng(sum(shape))
    if np.dtype(dtype).kind == "f":
        low, high = (0.0, 1.0) if low is None else (low, high)
        made = (rng.random(shape) ** 4 * (high - low) + low).astype(dtype)  # many small ones, with bits far down
    else:
        info = np.iinfo(dtype)
        low, high = (info.min, info.max) if low is None else (low, high)
        made = rng.integers(int(low), int(high) + 1, shape).astype(dtype)
    made.flat[0], made.flat[-1] = low, high
    return made


def model(
    channels: int = 3,
    out_channels: int | None = None,
    a: DomainValues | None = None,
    b: DomainValues | None = None,
    **settings: Any,
) -> ModelInfo:
    a = a or DomainValues()
    direction = DirectionInfo(generator=SMALL, in_channels=channels, out_channels=out_channels or channels)
    return ModelInfo(
        directions={"AtoB": direction},
        domains={"A": "x", "B": "y"},
        training=TRAINING,
        values={"A": a, "B": b or a},
        **settings,
    )


def translator(info: ModelInfo, network: nn.Module | None = None, **options: Any) -> Translator:
    return Translator(info, {"AtoB": network or nn.Identity()}, device="cpu", **options)


def translated(source: Path, info: ModelInfo, network: nn.Module | None = None, **options: Any) -> Path:
    """Translate a file as the command line does, by an identity, and return the result."""
    plan = plan_outputs([str(source)], source.parent / "out")
    failures = translate_files(translator(info, network), plan.jobs, **options)
    assert [str(failure.error) for failure in failures] == []
    return plan.jobs[0].target


def write_dicom(path: Path, stored: np.ndarray, **settings: Any) -> None:
    """Write a 12-bit CT slice with the name of the patient."""
    data = pydicom.Dataset()
    data.PatientName, data.PatientID, data.InstitutionName = "Doe^Jane", "ID-4711", "Hospital"
    data.StudyDate, data.Modality, data.FrameOfReferenceUID = "20260101", "CT", generate_uid()
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * stored.dtype.itemsize, 12, 11
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelSpacing = [0.7, 0.7]
    for keyword, value in settings.items():
        setattr(data, keyword, value)
    data.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    data["PixelData"].VR = "OW"
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    pydicom.dcmwrite(path, data, enforce_file_format=True)


AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.75, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]], float)


def write_nifti(path: Path, array: np.ndarray, slope: float | None = None, intercept: float = 0.0) -> None:
    volume = nibabel.Nifti1Image(array, AFFINE)
    volume.header["descrip"] = b"Jane Doe"
    if slope is not None:
        volume.header.set_slope_inter(slope, intercept)
    nibabel.save(volume, path)


# --- ranges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("dtype", None), ("0..4095", (0, 4095)), ("-1024..3071", (-1024, 3071)), ("-.5..1e3", (-0.5, 1000))],
)
def test_a_range_is_understood_and_written_as_it_was_given(text: str, bounds: tuple[float, float] | None) -> None:
    found = parse_range(text)
    assert found == ValueRange(bounds)
    assert parse_range(str(found)) == found


def test_a_range_without_sense_is_refused() -> None:
    for text in ("4095", "0-4095", "p1..99", "0..", "nan..1", ""):
        with pytest.raises(ConfigError, match=r"as in 0\.\.4095"):
            parse_range(text)
    with pytest.raises(ConfigError, match="no width"):
        parse_range("5..5")
    with pytest.raises(ConfigError, match="from 0 up to 100"):
        parse_range("p5..p101")
    with pytest.raises(ConfigError, match=r"data\.range_a is dtype"):
        DataConfig(range_a="wide")


def test_the_ends_of_a_range_become_the_ends_of_the_tensor_and_beyond_is_clamped() -> None:
    image = Image(np.array([[[0], [4095], [65535]]], np.uint16))
    assert to_tensor(image, 1, TWELVE_BITS).ravel().tolist() == [-1, 1, 1]
    made = from_tensor(torch.tensor([-2.0, -1.0, 0.0, 5.0]).reshape(1, 1, 4), dtype="uint16", values=TWELVE_BITS)
    assert made.pixels.ravel().tolist() == [0, 0, 2048, 4095]


@pytest.mark.parametrize("bounds", [None, (0, 4095), (-1024, 3071), (-3.5, 4000.25)])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_every_16_bit_value_of_a_range_survives_the_tensor(dtype: str, bounds: tuple[float, float] | None) -> None:
    values = ValueRange(bounds)
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if bounds is None else bounds
    every = np.arange(max(info.min, np.ceil(low)), min(info.max, np.floor(high)) + 1).astype(dtype).reshape(1, -1, 1)
    np.testing.assert_array_equal(
        from_tensor(to_tensor(Image(every), 1, values), dtype=dtype, values=values).pixels, every
    )


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_types_without_a_range_of_their_own_ask_for_one(dtype: str) -> None:
    image = Image(np.zeros((2, 2, 1), dtype))
    with pytest.raises(ConfigError, match=r"--range LOW\.\.HIGH"):
        to_tensor(image, 1)
    assert to_tensor(image, 1, ValueRange((0, 1))).unique().tolist() == [-1]


def test_what_is_no_number_is_refused_rather_than_shown_to_a_network() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(ImageError, match="NaN or infinite"):
            to_tensor(Image(np.full((2, 2, 1), value, np.float32)), 1, ValueRange((0, 1)))


def test_percentiles_are_those_of_all_values() -> None:
    images = [Image(np.full((8, 8, 1), value, np.uint16)) for value in (100, 200, 300, 400, 4000)]
    assert Percentiles(0, 100).measure(images, 5) == ValueRange((100, 4000))
    assert Percentiles(0, 75).measure(images, 5) == ValueRange((100, 400))
    hidden = replace(images[-1], alpha=np.zeros((8, 8), np.uint16))
    assert Percentiles(0, 100).measure([*images[:4], hidden], 5) == ValueRange((100, 400))
    with pytest.raises(DataError, match="give the range itself"):
        Percentiles(1, 99).measure(images[:1], 1)


def test_black_and_white_of_a_background_stand_in_the_range() -> None:
    clear = Image(np.zeros((1, 1, 1), np.int16), np.zeros((1, 1), np.int16))
    assert clear.over((255, 255, 255), (-1024, 3071)).pixels.item() == 3071
    assert clear.over((0, 0, 0), (-1024, 3071)).pixels.item() == -1024
    bands = Image(np.zeros((1, 1, 5), np.uint16), np.zeros((1, 1), np.uint16))
    assert bands.over((255, 255, 255)).pixels.ravel().tolist() == [65535] * 5
    with pytest.raises(ImageError, match="5 channels have no colours"):
        bands.over((255, 0, 0))


@pytest.mark.parametrize("dtype", [str(dtype) for dtype in HELD])
def test_every_type_keeps_its_constant_when_resized(dtype: str) -> None:
    value = 0.125 if dtype == "float32" else 101
    image = Image(
        np.full((9, 9, 4), value, dtype), np.full((9, 9), 1.0 if dtype == "float32" else np.iinfo(dtype).max, dtype)
    )
    small = resize(image, (5, 20))
    assert small.dtype == dtype
    assert small.alpha is not None
    np.testing.assert_allclose(small.pixels.astype(float), value, rtol=1e-6)
    assert resize(replace(image, alpha=None), (5, 20)).pixels.mean() == pytest.approx(value)


# --- an identity returns every format bit for bit ---------------------------------------------------

PILLOW = [
    *[(mode, suffix) for mode in ("L", "RGB") for suffix in (".png", ".bmp", ".ppm", ".tif", ".webp")],
    *[(mode, suffix) for mode in ("LA", "RGBA") for suffix in (".png", ".tif")],
    ("RGBA", ".webp"),
    ("I;16", ".png"),
    ("I;16", ".tif"),
]


@pytest.mark.parametrize(("mode", "suffix"), PILLOW)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 1)])
def test_an_identity_returns_pillows_formats_bit_for_bit(
    tmp_path: Path, mode: str, suffix: str, size: tuple[int, int]
) -> None:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
    array = numbers((*size, channels), "uint16" if mode == "I;16" else "uint8")
    source = tmp_path / f"x{suffix}"
    picture = PIL.Image.frombytes(mode, size[::-1], array.tobytes())
    picture.save(source, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    with PIL.Image.open(source) as before:
        before.load()
    with PIL.Image.open(translated(source, model(1 if mode[0] in "LI" and suffix != ".webp" else 3))) as after:
        assert (after.format, after.size, after.mode) == (before.format, before.size, before.mode)
        np.testing.assert_array_equal(np.array(after), np.array(before))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_identity_returns_png_of_16_bits_bit_for_bit(tmp_path: Path, channels: int) -> None:
    array = numbers((7, 5, channels), "uint16")
    colours = 1 if channels < 3 else 3
    alpha = array[:, :, -1] if channels in (2, 4) else None
    write_image(tmp_path / "x.png", Image(array[:, :, :colours], alpha))
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "x.png").read_bytes()).reshape(7, 5, -1), array)
    target = translated(tmp_path / "x.png", model(colours))
    after = imagecodecs.png_decode(target.read_bytes())
    assert after.dtype == np.uint16
    np.testing.assert_array_equal(after.reshape(7, 5, -1), array)


def test_an_identity_returns_ppm_of_16_bits_bit_for_bit(tmp_path: Path) -> None:
    data = b"P6\n# made by hand\n5 7\n65535\n" + numbers((7, 5, 3), "uint16").astype(">u2").tobytes()
    (tmp_path / "x.ppm").write_bytes(data)
    target = translated(tmp_path / "x.ppm", model())
    assert target.read_bytes() == data.replace(b"# made by hand\n", b"")


TIFFS = [
    ("uint8", 4, (0, 255)),
    ("uint8", 13, (0, 255)),
    ("uint16", 3, (0, 65535)),
    ("uint16", 13, (0, 4095)),
    ("uint16", 13, (0, 65535)),
    ("int16", 1, (-1024, 3071)),
    ("int16", 3, (-32768, 32767)),
    ("int32", 1, (-(2**31), 2**31 - 1)),
    ("float32", 1, (0.0, 1.0)),
    ("float32", 3, (-1.5, 1e4)),
    ("float32", 5, (-1.0, 1.0)),
]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("dtype", "channels", "span"), TIFFS)
def test_an_identity_returns_tiff_of_any_values_bit_for_bit(
    tmp_path: Path, dtype: str, channels: int, span: tuple[float, float], alpha: bool
) -> None:
    array = numbers((7, 5, channels), dtype, *span)
    if alpha:
        array = np.concatenate(
            [array, np.full((7, 5, 1), 1 if dtype == "float32" else np.iinfo(dtype).max, dtype)], axis=2
        )
    colours = 3 if channels == 3 else 1
    tifffile.imwrite(
        tmp_path / "x.tif",
        array if array.shape[2] > 1 else array[:, :, 0],
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if array.shape[2] > 1 else None,
        extrasamples=[0] * (channels - colours) + [2] * alpha or None,
        metadata=None,
    )
    header = read_header(tmp_path / "x.tif")
    assert (header.channels, header.has_alpha, header.dtype) == (channels, alpha, dtype)
    target = translated(tmp_path / "x.tif", model(channels, a=DomainValues(range=ValueRange(span), dtype=dtype)))
    before, after = tifffile.imread(tmp_path / "x.tif"), tifffile.imread(target)
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)
    assert after.tobytes() == before.tobytes()


def test_bands_that_lie_one_behind_the_other_are_channels(tmp_path: Path) -> None:
    array = numbers((4, 7, 5), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="minisblack", planarconfig="separate", extrasamples=[0] * 3)
    image = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.pixels, array.transpose(1, 2, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_to_deep_tiff_too(tmp_path: Path, orientation: int) -> None:
    array = numbers((6, 4, 3), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    picture = PIL.Image.fromarray((array >> 8).astype(np.uint8))
    exif = PIL.Image.Exif()
    exif[274] = orientation
    picture.save(tmp_path / "x.png", exif=exif)
    deep, flat = read_image(tmp_path / "x.tif"), read_image(tmp_path / "x.png")
    header = read_header(tmp_path / "x.tif")
    assert (header.height, header.width) == deep.pixels.shape[:2]
    np.testing.assert_array_equal(deep.pixels >> 8, flat.pixels)


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.5, -3), (1.25e-3, 0.1)])
def test_an_identity_returns_the_stored_numbers_of_dicom(
    tmp_path: Path, dtype: str, slope: float, intercept: float
) -> None:
    stored = numbers((7, 5), dtype, *((-2048, 2047) if dtype == "int16" else (0, 4095)))
    write_dicom(tmp_path / "x.dcm", stored, RescaleSlope=slope, RescaleIntercept=intercept)
    image = read_image(tmp_path / "x.dcm")
    np.testing.assert_allclose(image.pixels[:, :, 0], stored.astype(float) * slope + intercept, rtol=1e-6, atol=1e-6)
    assert image.dtype == read_header(tmp_path / "x.dcm").dtype
    assert image.dtype.kind == ("f" if slope % 1 or intercept % 1 else image.dtype.kind)
    span = ValueRange(tuple(sorted((image.pixels.min().item(), image.pixels.max().item()))))
    target = translated(tmp_path / "x.dcm", model(1, a=DomainValues(range=span, dtype=str(image.dtype))))
    after = pydicom.dcmread(target)
    assert after.pixel_array.dtype == stored.dtype
    np.testing.assert_array_equal(after.pixel_array, stored)
    assert (after.BitsStored, after.RescaleSlope, after.RescaleIntercept) == (12, slope, intercept)
    assert after.PixelSpacing == [0.7, 0.7]


def test_a_dicom_result_says_nothing_of_the_patient(tmp_path: Path) -> None:
    write_dicom(tmp_path / "x.dcm", numbers((7, 5), "int16", -2048, 2047))
    target = translated(tmp_path / "x.dcm", model(1))
    before, after = pydicom.dcmread(tmp_path / "x.dcm"), pydicom.dcmread(target)
    for secret in (b"Doe", b"ID-4711", b"Hospital", b"20260101", str(before.SOPInstanceUID).encode()):
        assert secret in (tmp_path / "x.dcm").read_bytes()
        assert secret not in target.read_bytes()
    assert after.ImageType == ["DERIVED", "SECONDARY"]
    assert (after.PatientName, after.PatientID) == ("", "")


def test_dicom_values_that_do_not_fit_the_original_are_stored_plainly(tmp_path: Path) -> None:
    write_dicom(tmp_path / "x.dcm", numbers((7, 5), "int16", -2048, 2047))
    made = Image(numbers((7, 5, 1), "int16"))
    write_image(tmp_path / "y.dcm", made, like=tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "y.dcm").pixels, made.pixels)
    colours = Image(numbers((7, 5, 3), "uint8"))
    write_image(tmp_path / "z.dcm", colours, like=tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "z.dcm").pixels, colours.pixels)
    with pytest.raises(OutputError, match="--format tif"):
        write_image(tmp_path / "w.dcm", Image(np.full((7, 5, 1), 1e6, np.float32)), like=tmp_path / "x.dcm")
    with pytest.raises(OutputError, match=r"\.dcm is written from \.dcm input only"):
        write_image(tmp_path / "v.dcm", made)


NIFTIS = [
    ("uint8", None, (0, 255), (7, 5, 3)),
    ("int16", None, (-1024, 3071), (7, 5, 3)),
    ("int16", (0.5, -3.0), (-1024, 3071), (7, 5, 3)),
    ("float32", None, (-1.5, 1e4), (7, 5, 3)),
    ("int16", None, (-32768, 32767), (7, 5, 3, 2)),
    ("uint16", None, (0, 65535), (7, 5)),
]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "scaling", "span", "shape"), NIFTIS)
def test_an_identity_returns_a_nifti_volume_bit_for_bit(
    tmp_path: Path,
    suffix: str,
    dtype: str,
    scaling: tuple[float, float] | None,
    span: tuple[float, float],
    shape: tuple[int, ...],
) -> None:
    array = numbers(shape, dtype, *span)
    write_nifti(tmp_path / f"x{suffix}", array, *(scaling or ()))
    header = read_header(tmp_path / f"x{suffix}")
    assert (header.height, header.width, header.frames) == (7, 5, int(np.prod(shape[2:])))
    slope, intercept = scaling or (1.0, 0.0)
    values = ValueRange((span[0] * slope + intercept, span[1] * slope + intercept))
    target = translated(tmp_path / f"x{suffix}", model(1, a=DomainValues(range=values, dtype=header.dtype)), batch=2)
    assert target.name == f"x{suffix}"
    before, after = nibabel.load(tmp_path / f"x{suffix}"), nibabel.load(target)
    assert after.get_data_dtype() == before.get_data_dtype() == dtype
    assert after.shape == before.shape
    np.testing.assert_array_equal(np.asarray(after.dataobj.get_unscaled()), array)
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.header.get_zooms() == before.header.get_zooms()
    assert b"Jane" not in (gzip.decompress(target.read_bytes()) if suffix == ".nii.gz" else target.read_bytes())


def test_floats_made_of_whole_numbers_are_not_stored_as_whole_numbers(tmp_path: Path) -> None:
    """As when magnetic resonance in floats is made of computed tomography in int16."""
    ct = DomainValues(range=ValueRange((-1024, 3071)), dtype="int16")
    mr = DomainValues(range=ValueRange((0, 1)), dtype="float32")
    write_nifti(tmp_path / "x.nii.gz", numbers((7, 5, 3), "int16", -1024, 3071), 1.0, 0.0)
    made = nibabel.load(translated(tmp_path / "x.nii.gz", model(1, a=ct, b=mr)))
    assert made.get_data_dtype() == np.float32
    assert (made.get_fdata().min(), made.get_fdata().max()) == (0, 1)
    assert len(np.unique(made.get_fdata())) > 90
    np.testing.assert_array_equal(made.affine, AFFINE)
    write_dicom(tmp_path / "x.dcm", numbers((7, 5), "int16", -1024, 2047))
    (failure,) = translate_files(
        translator(model(1, a=ct, b=mr)), plan_outputs([str(tmp_path / "x.dcm")], tmp_path / "out").jobs
    )
    assert "--format tif" in str(failure.error)


def test_a_volume_stays_a_volume(tmp_path: Path) -> None:
    write_nifti(tmp_path / "x.nii", numbers((7, 5, 3), "int16"))
    with pytest.raises(OutputError, match="is a stack of slices and becomes one"):
        plan_outputs([str(tmp_path / "x.nii")], tmp_path / "out", format="png")
    with pytest.raises(ImageError, match="3 slices, and slice 3"):
        read_image(tmp_path / "x.nii", frame=3)
    with pytest.raises(OutputError, match="holds one channel"):
        write_image(tmp_path / "y.nii", Image(numbers((7, 5, 3), "int16")), like=tmp_path / "x.nii")


def test_what_the_network_changes_is_changed_in_floats_too(tmp_path: Path) -> None:
    class Negative(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return -images

    values = numbers((7, 5, 1), "float32", -1, 3)
    tifffile.imwrite(tmp_path / "x.tif", values[:, :, 0], metadata=None)
    info = model(1, a=DomainValues(range=ValueRange((-1, 3)), dtype="float32"))
    made = tifffile.imread(translated(tmp_path / "x.tif", info, Negative()))
    np.testing.assert_allclose(made, 2 - values[:, :, 0], atol=1e-6)


# --- which type a result has -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "given", "result"),
    [
        ("", "", "uint16", "uint16"),  # an older model, which recorded nothing
        ("uint8", "uint8", "uint16", "uint16"),
        ("uint16", "uint16", "uint8", "uint8"),
        ("uint16", "uint8", "uint16", "uint8"),
        ("uint16", "uint8", "uint8", "uint8"),
        ("uint8", "int16", "uint8", "int16"),
    ],
)
def test_a_result_has_the_type_of_its_input_unless_the_domains_differ(a: str, b: str, given: str, result: str) -> None:
    made = translator(model(a=DomainValues(dtype=a), b=DomainValues(dtype=b)))
    image = Image(numbers((7, 5, 3), given), np.full((7, 5), np.iinfo(given).max, given))
    after = made.translate_images([image])[0]
    assert after.dtype == result
    assert after.alpha is not None
    assert (after.alpha == np.iinfo(result).max).all()
    assert after.pixels.max() == np.iinfo(result).max


def test_a_range_that_the_input_cannot_hold_is_written_in_the_recorded_type() -> None:
    own = DomainValues(range=TWELVE_BITS, dtype="uint16")
    assert translator(model(1, a=own))(np.full((2, 2), 200, np.uint8)).dtype == np.uint16


def test_each_domain_has_its_own_range() -> None:
    a = DomainValues(range=ValueRange((-1024, 3071)), dtype="int16")
    b = DomainValues(range=ValueRange((0.0, 1.0)), dtype="float32")
    made = translator(model(1, a=a, b=b))(np.array([[-1024, 3071]], np.int16))
    assert made.dtype == np.float32
    assert made.tolist() == [[0, 1]]


# --- model.json ------------------------------------------------------------------------------------


def test_ranges_types_and_the_treatment_of_profiles_are_kept_in_the_model(tmp_path: Path) -> None:
    a, b = DomainValues(range=TWELVE_BITS, dtype="uint16"), DomainValues(range=ValueRange((0.1, 0.7)), dtype="float32")
    info = model(1, a=a, b=b, icc="convert")
    write_model(tmp_path / "model", info, {"AtoB": SMALL.build(1, 1)})
    assert read_model(tmp_path / "model")[0] == info
    card = (tmp_path / "model" / "README.md").read_text()
    assert "0..4095 of uint16" in card
    assert "converted to sRGB" in card


def edited(model_folder: Path, **entries: Any) -> None:
    path = model_folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_model_from_before_ranges_is_read(tmp_path: Path) -> None:
    write_model(tmp_path / "model", model(), {"AtoB": SMALL.build(3, 3)})
    edited(tmp_path / "model", value_range="dtype")
    assert read_model(tmp_path / "model")[0] == model()


@pytest.mark.parametrize(
    "value", ["0..1", {"A": {}}, {"A": {"range": "1..0", "dtype": ""}, "B": {"range": "dtype", "dtype": "complex64"}}]
)
def test_values_that_make_no_sense_are_a_damaged_model(tmp_path: Path, value: Any) -> None:
    write_model(tmp_path / "model", model(), {"AtoB": SMALL.build(3, 3)})
    edited(tmp_path / "model", value_range=value)
    with pytest.raises(ModelError, match="does not describe a model"):
        read_model(tmp_path / "model")


# --- training --------------------------------------------------------------------------------------


def two_domains(root: Path, a: Callable[[Path, int], None], b: Callable[[Path, int], None], count: int = 3) -> Path:
    for folder, write in (("trainA", a), ("trainB", b)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            write(root / folder, number)
    return root


def bands(folder: Path, number: int) -> None:
    array = numbers((40, 40 + number, 13), "uint16", 0, 4095)
    tifffile.imwrite(folder / f"{number}.tif", array, photometric="minisblack", planarconfig="contig", metadata=None)


def heights(folder: Path, number: int) -> None:
    tifffile.imwrite(folder / f"{number}.tif", numbers((40, 40 + number), "float32", -10, 250), metadata=None)


def test_percentiles_are_measured_once_and_kept_as_numbers(tmp_path: Path) -> None:
    two_domains(tmp_path, bands, heights)
    config = DataConfig(root=str(tmp_path), channels_a=13, channels_b=1, range="p0..p100")
    with pytest.raises(ConfigError, match="measured when a run starts"):
        UnpairedDataset(FolderSource(tmp_path / "trainA"), FolderSource(tmp_path / "trainB"), config, 0)
    resolved = open_domains(config).resolved(config)
    assert (resolved.range_a, resolved.range_b) == ("0..4095", "-10..250")
    assert (resolved.dtype_a, resolved.dtype_b) == ("uint16", "float32")
    saved = replace(resolved, range_a="7..8")
    assert open_domains(config).resolved(config, saved).range_a == "7..8"
    assert open_domains(config).resolved(replace(config, range_a="p0..p50"), saved).range_a != "7..8"


def test_data_that_the_settings_do_not_suit_is_found_before_training(tmp_path: Path) -> None:
    two_domains(tmp_path, bands, heights)
    a, b = FolderSource(tmp_path / "trainA"), FolderSource(tmp_path / "trainB")
    with pytest.raises(ConfigError, match=r"0\.tif has 13 channels .* --data\.channels-a"):
        resolved_values(DataConfig(), a, None)
    with pytest.raises(ConfigError, match=r"0\.tif: Images of float32 have no range"):
        resolved_values(DataConfig(channels_b=1), None, b)


def test_13_channels_of_16_bits_become_heights_in_floats_and_back(tmp_path: Path, toy_config: Config) -> None:
    root = two_domains(tmp_path / "data", bands, heights)
    data = replace(
        toy_config.data, root=str(root), channels_a=13, channels_b=1, range_a="0..4095", range_b="p0.5..p99.5"
    )
    # No identity term: heights cannot be put into a generator that takes 13 channels.
    method, schedule = replace(toy_config.objective, identity_weight=0), replace(toy_config.schedule, num_steps=2)
    config = replace(toy_config, data=data, objective=method, schedule=schedule)
    run = train(config, out=tmp_path / "run")
    assert (run.step, run.has_model) == (2, True)
    made = Translator.load(run.path, device="cpu")
    low, high = made.info.values["B"].range.of(np.dtype(np.float32))
    assert -10 <= low < high <= 250
    assert translate_files(made, plan_outputs([str(root / "trainA")], tmp_path / "AtoB").jobs) == []
    result = tifffile.imread(tmp_path / "AtoB" / "0.tif")
    assert (result.dtype, result.shape) == (np.float32, (40, 40))
    assert low <= result.min() < result.max() <= high
    back = plan_outputs([str(tmp_path / "AtoB")], tmp_path / "BtoA").jobs
    assert translate_files(made, back, direction="BtoA") == []
    again = tifffile.imread(tmp_path / "BtoA" / "1.tif")
    assert (again.dtype, again.shape) == (np.uint16, (40, 41, 13))
    assert again.max() <= 4095
    assert train(config, out=tmp_path / "run").finished  # the same command finds its own run again


def test_each_slice_of_a_volume_is_a_training_image(tmp_path: Path) -> None:
    def volume(folder: Path, number: int) -> None:
        write_nifti(folder / f"{number}.nii.gz", numbers((40, 44, number + 1), "int16", -1024, 3071))

    two_domains(tmp_path, volume, volume)
    a, b = FolderSource(tmp_path / "trainA"), FolderSource(tmp_path / "trainB")
    assert [a.name(index) for index in range(len(a))] == [
        "0.nii.gz[0]",
        "1.nii.gz[0]",
        "1.nii.gz[1]",
        "2.nii.gz[0]",
        "2.nii.gz[1]",
        "2.nii.gz[2]",
    ]
    wanted = nibabel.load(tmp_path / "trainA" / "2.nii.gz").get_fdata()[:, :, 1]
    np.testing.assert_array_equal(a[4].pixels[:, :, 0], wanted)
    config = DataConfig(
        root=str(tmp_path),
        pairing="paired",
        channels_a=1,
        channels_b=1,
        range="-1024..3071",
        load_size=36,
        crop_size=32,
    )
    pairs = open_domains(config)
    batch = pairs.dataset(config, 0)[1]
    assert isinstance(pairs.dataset(config, 0), PairedDataset)
    assert batch.a.equal(batch.b)
    assert batch.a.shape == (1, 1, 32, 32)
    assert b.stem(5) == "2[2]"


# --- colour profiles -------------------------------------------------------------------------------


def lab(linear: np.ndarray, to_xyz: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* (white D65) of linear colours n 3, by a matrix to XYZ."""
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def delta_e_2000(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the colour difference CIEDE2000 (Sharma, Wu, Dalal 2005) of colours n 3 in L*a*b*."""
    chroma = (np.hypot(one[:, 1], one[:, 2]) + np.hypot(other[:, 1], other[:, 2])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    (l1, a1, b1), (l2, a2, b2) = (np.array([x[:, 0], x[:, 1] * stretch, x[:, 2]]) for x in (one, other))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    light, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, np.where(c1 * c2 == 0, h1 + h2, (h1 + turn / 2) % 360)
    t = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    t += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.2 * np.cos(np.radians(4 * hue - 63))
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    swing = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + swing * (dc / sc) * (dh / sh))


def matrix(primaries: list[tuple[float, float]]) -> np.ndarray:
    """Return the way from linear colours of these primaries to XYZ, under the white D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


SRGB_XYZ = matrix([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])
SPACES = {
    "adobe rgb": ([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], 563 / 256),
    "display p3": ([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], 2.2),
}


@lru_cache
def profile(space: str) -> bytes:
    primaries, gamma = SPACES[space]
    flat = [coordinate for pair in primaries for coordinate in (*pair, 1.0)]
    return imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290, 1.0), primaries=flat, gamma=gamma)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("space", SPACES)
def test_a_profile_becomes_srgb_within_one_colour_difference(tmp_path: Path, space: str, dtype: str) -> None:
    top, (primaries, gamma) = np.iinfo(dtype).max, SPACES[space]
    colours = np.stack(np.meshgrid(*[np.linspace(0.01, 0.99, 8)] * 3), axis=-1).reshape(-1, 3)  # of sRGB, linear
    others = colours @ (np.linalg.inv(matrix(primaries)) @ SRGB_XYZ).T
    pixels = np.round(others.clip(0, 1) ** (1 / gamma) * top).astype(dtype).reshape(8, 64, 3)
    write_image(tmp_path / "x.png", Image(pixels, icc=profile(space)))
    image = to_srgb(read_image(tmp_path / "x.png"))
    assert image.icc is None
    assert image.dtype == dtype
    wanted = lab((pixels.reshape(-1, 3) / top) ** gamma, matrix(primaries))
    differences = delta_e_2000(wanted, lab(srgb_to_linear(image.pixels.reshape(-1, 3) / top), SRGB_XYZ))
    untouched = delta_e_2000(wanted, lab(srgb_to_linear(pixels.reshape(-1, 3) / top), SRGB_XYZ))
    assert differences.mean() < (0.5 if dtype == "uint8" else 0.1)
    assert differences.max() < 2
    assert untouched.mean() > 1  # what taking the colours as they are would have cost


def test_the_colour_difference_is_the_published_one() -> None:
    one = np.array([[50.0, 2.6772, -79.7751], [50.0, 2.5, 0.0], [2.0776, 0.0795, -1.1350]])
    other = np.array([[50.0, 0.0, -82.7485], [73.0, 25.0, -18.0], [0.9033, -0.0636, -0.5514]])
    np.testing.assert_allclose(delta_e_2000(one, other), [2.0425, 27.1492, 0.9082], atol=5e-5)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_profile_is_dropped_unless_it_is_asked_for(tmp_path: Path, suffix: str) -> None:
    PIL.Image.new("RGB", (8, 8), (200, 30, 40)).save(tmp_path / f"x{suffix}", icc_profile=profile("adobe rgb"))
    for info in (model(), model(icc="convert")):
        with PIL.Image.open(translated(tmp_path / f"x{suffix}", info)) as picture:
            assert not picture.info.get("icc_profile")
        (tmp_path / "out" / f"x{suffix}").unlink()
        with PIL.Image.open(translated(tmp_path / f"x{suffix}", info, keep_icc=True)) as picture:
            assert picture.info["icc_profile"] == profile("adobe rgb")
        (tmp_path / "out" / f"x{suffix}").unlink()


def test_colours_are_converted_as_in_training_or_kept_with_their_profile(tmp_path: Path) -> None:
    pixels = numbers((7, 5, 3), "uint16")
    write_image(tmp_path / "x.png", Image(pixels, icc=profile("display p3")))

    def result(icc: Any, **options: Any) -> np.ndarray:
        target = translated(tmp_path / "x.png", model(icc=icc), **options)
        array = imagecodecs.png_decode(target.read_bytes())
        target.unlink()
        return array

    np.testing.assert_array_equal(result("ignore"), pixels)
    np.testing.assert_array_equal(result("convert"), to_srgb(read_image(tmp_path / "x.png")).pixels)
    np.testing.assert_array_equal(result("convert", keep_icc=True), pixels)
    assert np.abs(result("convert").astype(int) - pixels).mean() > 256


def test_training_converts_profiles_where_it_is_told_to(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        PIL.Image.new("RGB", (8, 8), (200, 30, 40)).save(tmp_path / folder / "x.png", icc_profile=profile("adobe rgb"))
    sources = FolderSource(tmp_path / "a"), FolderSource(tmp_path / "b")
    sizes = {"load_size": 8, "crop_size": 8}
    plain = UnpairedDataset(*sources, DataConfig(**sizes), 0)[1].a
    converted = UnpairedDataset(*sources, DataConfig(**sizes, icc="convert"), 0)[1].a
    assert from_tensor(plain[0]).pixels[0, 0].tolist() == [200, 30, 40]
    assert (
        from_tensor(converted[0]).pixels[0, 0].tolist() == to_srgb(sources[0][0]).pixels[0, 0].tolist() != [200, 30, 40]
    )


def test_a_profile_that_cannot_be_used_or_kept_is_said(tmp_path: Path) -> None:
    image = Image(numbers((4, 4, 3), "uint8"), icc=profile("adobe rgb"))
    with pytest.raises(OutputError, match="cannot keep an ICC profile"):
        write_image(tmp_path / "x.bmp", image)
    for dtype in ("uint8", "uint16"):
        broken = Image(numbers((4, 4, 3), dtype), icc=profile("adobe rgb")[:200])
        with pytest.raises(ImageError, match="colour profile"):
            to_srgb(broken)
    assert to_srgb(Image(numbers((4, 4, 3), "uint8"), icc=b"no profile")).icc is None
    grey = Image(numbers((4, 4, 1), "uint8"), icc=profile("adobe rgb"))  # which is not of its colours
    write_image(tmp_path / "x.png", grey)
    assert read_image(tmp_path / "x.png").icc is None
    np.testing.assert_array_equal(to_srgb(grey).pixels, grey.pixels)


# --- the format matrix -----------------------------------------------------------------------------


def test_inks_become_colours(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "cmyk.jpg", quality=100)  # Pillow stores YCCK
    PIL.Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "cmyk.tif")
    for name in ("cmyk.jpg", "cmyk.tif"):
        image = read_image(tmp_path / name)
        assert read_header(tmp_path / name).channels == 3
        assert np.abs(image.pixels.astype(int) - (0, 255, 255)).max() <= 3


def test_inks_with_a_profile_become_the_colours_that_it_says() -> None:
    inks = PIL.Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    inks.info["icc_profile"] = _ink_profile()
    image = Image.from_pil(inks)
    assert image.icc is None
    assert np.abs(image.pixels.astype(int) - (0, 255, 255)).max() > 20


def _ink_profile() -> bytes:
    """Return a small CMYK profile: every corner of the inks has a colour in L*a*b*, and the rest lies between."""
    corners = [[round(c) for c in _ink_lab(*(index >> shift & 1 for shift in (3, 2, 1, 0)))] for index in range(16)]
    ramp = struct.pack(">2H", 0, 65535)
    table = b"".join(struct.pack(">3H", *corner) for corner in corners)
    a2b = b"mft2" + bytes(4) + struct.pack(">BBBx", 4, 3, 2)
    a2b += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">HH", 2, 2)
    a2b += ramp * 4 + table + ramp * 3
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, offset, body = b"", 128 + 4 + 3 * 12, b""
    for name, data in ((b"desc", text), (b"wtpt", white), (b"A2B0", a2b)):
        data += bytes(-len(data) % 4)
        tags += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def _ink_lab(cyan: int, magenta: int, yellow: int, black: int) -> tuple[float, float, float]:
    """Return the colour of solid inks on paper in the profile's numbers: L* 0..65280, a* and b* around 32768."""
    light = 95 * (1 - 0.45 * cyan) * (1 - 0.5 * magenta) * (1 - 0.1 * yellow) * (1 - 0.85 * black)
    a, b = -35 * cyan + 70 * magenta, -45 * cyan + 85 * yellow
    return light * 652.8, 32768 + a * 256 * (1 - black), 32768 + b * 256 * (1 - black)


def test_a_progressive_jpeg_is_the_picture_of_the_plain_one(tmp_path: Path) -> None:
    picture = resize(Image(numbers((3, 4, 3), "uint8")), (24, 32)).to_pil()
    picture.save(tmp_path / "plain.jpg", quality=90)
    picture.save(tmp_path / "progressive.jpg", quality=90, progressive=True)
    np.testing.assert_array_equal(
        read_image(tmp_path / "progressive.jpg").pixels, read_image(tmp_path / "plain.jpg").pixels
    )


def test_grey_of_16_bits_never_wraps_to_8(tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    write_image(tmp_path / "x.png", Image(ramp))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, ramp)


def test_a_ppm_whose_white_is_not_the_largest_number_is_spread_over_16_bits(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6\n2 1\n4095\n" + np.array([0, 4095, 1, 4095, 0, 2048], ">u2").tobytes())
    assert read_image(tmp_path / "x.ppm").pixels.ravel().tolist() == [0, 65535, 16, 65535, 0, 32776]


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"), [("x.png", "imagecodecs"), ("x.tif", "tifffile"), ("x.dcm", "pydicom"), ("x.nii", "nibabel")]
)
def test_without_the_optional_part_a_file_is_refused_and_never_reduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    path = tmp_path / name
    if name.endswith(".dcm"):
        write_dicom(path, numbers((4, 4), "int16", 0, 9))
    elif name.endswith(".nii"):
        write_nifti(path, numbers((4, 4, 2), "int16"))
    else:
        write_image(path, Image(numbers((4, 4, 3), "uint16")))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unpaired\[sci\]'"):
        read_image(path)
    if name == "x.tif":
        with pytest.raises(MissingExtraError, match=r"Writing TIFF"):
            write_image(path, Image(numbers((4, 4, 3), "uint16")))


def test_values_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    for dtype in ("float64", "uint32", "complex64"):
        tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), dtype), metadata=None)
        write_nifti(tmp_path / "x.nii", np.zeros((4, 4, 2), dtype))
        for name in ("x.tif", "x.nii") if dtype == "complex64" else ("x.tif",):
            with pytest.raises(ImageError, match=rf"{name}: It holds {dtype}; convert it"):
                read_image(tmp_path / name)
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4, 4), np.uint16), photometric="rgb", extrasamples=[1])
    with pytest.raises(ImageError, match="multiplied by their alpha"):
        read_image(tmp_path / "x.tif")
    write_dicom(tmp_path / "x.dcm", np.zeros((4, 4), np.uint16), NumberOfFrames=3)
    with pytest.raises(ImageError, match="cut short: 3 frames"):
        read_image(tmp_path / "x.dcm")


@pytest.mark.parametrize("suffix", [".tif", ".dcm", ".nii", ".nii.gz"])
def test_a_cut_off_or_foreign_file_is_an_image_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, numbers((40, 40, 5), "uint16"), photometric="minisblack", planarconfig="contig")
    elif suffix == ".dcm":
        write_dicom(path, numbers((40, 40), "int16", 0, 9))
    else:
        write_nifti(path, numbers((40, 40, 3), "int16"))
    whole = path.read_bytes()
    for data in (whole[: len(whole) * 2 // 3], whole[:100], b"\0" * 400, b"<html>not found</html>" * 30):
        path.write_bytes(data)
        with pytest.raises(ImageError, match=r"x\.") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_a_tiff_with_a_missing_tile_is_refused_and_not_read_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, numbers((64, 64, 3), "uint16"), photometric="rgb", tile=(16, 16), compression="zlib")
    read_image(path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    with pytest.raises(ImageError, match="tiles are missing"):
        read_image(path)


def peak_of(reading: Callable[[], object]) -> int:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            reading()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(kind: str, path: Path) -> None:
    """Write a small file that claims a picture of gigabytes."""
    if kind in ("nii", "gz"):
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((30000, 30000, 1000))
        header["vox_offset"] = 352
        data = header.binaryblock + bytes(2000)
        path.write_bytes(gzip.compress(data + bytes(2**22)) if kind == "gz" else data)
    elif kind == "offset":
        header = nibabel.Nifti1Header()
        header.set_data_shape((4, 4, 4))
        block = bytearray(header.binaryblock)
        block[108:112] = struct.pack("=f", 2e9)
        path.write_bytes(gzip.compress(bytes(block) + bytes(2**20)))
    elif kind == "dcm":
        write_dicom(path, np.zeros((2, 2), np.uint16), Rows=60000, Columns=60000)
    else:
        sizes = {"tif": (60000, 60000, 3), "channels": (4000, 4000, 60000)}[kind]
        tags = [
            (256, 4, sizes[1]),
            (257, 4, sizes[0]),
            (258, 3, 16),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8),
            (277, 3, sizes[2]),
        ]
        tags += [(278, 4, sizes[0]), (279, 4, 100)]
        entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
        path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(104))


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("nii", ".nii"), ("gz", ".nii.gz"), ("offset", ".nii.gz"), ("dcm", ".dcm"), ("tif", ".tif"), ("channels", ".tif")],
)
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, kind: str, suffix: str) -> None:
    import time

    path = tmp_path / f"bomb{suffix}"
    bomb(kind, path)
    start = time.perf_counter()
    assert peak_of(lambda: read_image(path)) < 64 * 2**20
    assert time.perf_counter() - start < 5


def test_a_tiff_of_many_pages_costs_its_first_one(tmp_path: Path) -> None:
    count = 20_000
    page = [(256, 4), (257, 4), (258, 32), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 64), (339, 3)]
    size = 2 + len(page) * 12 + 4
    with (tmp_path / "x.tif").open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 72) + np.arange(16, dtype="<f4").tobytes())
        for number in range(count):
            following = 72 + (number + 1) * size if number + 1 < count else 0
            file.write(struct.pack("<H", len(page)))
            file.write(b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in page))
            file.write(struct.pack("<I", following))
    import time

    start = time.perf_counter()
    assert read_image(tmp_path / "x.tif").pixels.ravel().tolist() == list(range(16))
    assert time.perf_counter() - start < 0.5


# --- how much is translated at once -----------------------------------------------------------------


def outcome(reading: Callable[[], object]) -> str:
    """Return "read", or the message of our own error; any other exception is the test's."""
    try:
        reading()
    except UnpairedError as error:
        return str(error)
    return "read"


def test_broken_bytes_never_raise_anything_but_our_own_errors(tmp_path: Path) -> None:
    """Of each kind 40 files with a few bytes changed at random, the first ones more often than the others."""
    tifffile.imwrite(tmp_path / "x.tif", numbers((9, 9, 5), "uint16"), photometric="minisblack", planarconfig="contig")
    write_dicom(tmp_path / "x.dcm", numbers((9, 9), "int16", 0, 9))
    write_nifti(tmp_path / "x.nii", numbers((9, 9, 3), "int16"))
    write_image(tmp_path / "x.png", Image(numbers((9, 9, 3), "uint16")))
    outcomes = []
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for seed in range(40):
            rng = np.random.default_rng(seed)
            data = bytearray(whole)
            for _ in range(rng.integers(1, 6)):
                data[int(rng.integers(len(data)) * rng.random())] = rng.integers(256)
            path.write_bytes(data)
            outcomes += [outcome(lambda path=path: read_header(path)), outcome(lambda path=path: read_image(path))]
    assert {result == "read" for result in outcomes} == {True, False}
    assert not any("\n" in result for result in outcomes)


def test_a_picture_too_large_to_translate_is_named_and_the_others_are_made(tmp_path: Path) -> None:
    for name, side in (("large.png", 30), ("small.png", 20)):
        write_image(tmp_path / name, Image(numbers((side, side, 3), "uint8")))
    jobs = plan_outputs([str(tmp_path)], tmp_path / "out").jobs
    failures: list[Failure] = translate_files(translator(model(), max_pixels=500), jobs)
    assert [failure.source.name for failure in failures] == ["large.png"]
    assert "30 x 30 pixels, more than the limit of 500" in str(failures[0].error)
    assert str(failures[0].error).endswith("raise max_pixels.")
    assert "--max-pixels" in advice_of(failures[0].error)
    assert (tmp_path / "out" / "small.png").exists()
    with pytest.raises(ImageError, match=r"30 x 30 pixels are more than the limit of 500 .* GB"):
        translator(model(), max_pixels=500)(numbers((30, 30, 3), "uint8"))


def test_a_batch_that_is_too_large_together_is_translated_one_by_one(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", Image(numbers((20, 20, 3), "uint8")))
    jobs = plan_outputs([str(tmp_path)], tmp_path / "out").jobs
    assert translate_files(translator(model(), max_pixels=500), jobs, batch=3) == []
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_memory_says_how_many_pixels_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from unpaired.translate import pixel_limit as memory

    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4000000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    cpu = torch.device("cpu")
    paper = ResNetGenerator()
    buffers = paper.buffer_bytes
    assert bytes_per_pixel(paper) == pytest.approx(935, rel=0.05)
    assert bytes_per_pixel(ResNetGenerator(antialias=True)) == pytest.approx(2000, rel=0.05)  # 1925 were measured
    assert pixels_that_fit(paper, cpu) == (4_000_000 * 1024 - buffers) // bytes_per_pixel(paper)
    assert pixels_that_fit(UNetGenerator(num_downs=8), cpu) == 4_000_000 * 1024 // 510
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1000000000\n")
    assert pixels_that_fit(paper, cpu) == (10**9 - buffers) // bytes_per_pixel(paper)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "missing")
    assert pixels_that_fit(paper, cpu) is None


def test_a_picture_of_pillow_keeps_its_type_in_memory_too() -> None:
    for array, mode in ((numbers((9, 9), "uint16"), "I;16"), (numbers((9, 9), "float32"), "F")):
        info = model(
            1, a=DomainValues(range=ValueRange((0, 1)) if mode == "F" else ValueRange(), dtype=str(array.dtype))
        )
        made = translator(info)(PIL.Image.fromarray(array))
        assert made.mode == mode
        np.testing.assert_array_equal(np.array(made), array)


def test_every_type_of_pixels_is_an_integer_or_a_float() -> None:
    assert all(dtype.kind in "uif" for dtype in HELD)
