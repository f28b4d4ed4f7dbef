"""NIfTI volumes: right values of every type, bounded work per slice, and axes that distinguish orientations."""

from __future__ import annotations

import gzip
import itertools
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.held_out import digests
from unpaired.data.pairs import matched
from unpaired.data.sources import FolderSource
from unpaired.doctor.checkup import check_data
from unpaired.errors import DataError, ImageError
from unpaired.evaluation.test_set import TestSet, open_test_set
from unpaired.images import nifti, read_header, read_image, write_stack
from unpaired.images.nifti import MAX_SLICES, _kept

nibabel = pytest.importorskip("nibabel")

AFFINE = np.diag([0.5, 0.75, 3, 1])


def volume(array: np.ndarray, affine: np.ndarray = AFFINE, kind: Any = None, **fields: Any) -> bytes:
    """Return the bytes of a volume, with these header fields in addition to those of the library."""
    made = (kind or nibabel.Nifti1Image)(array, affine, dtype=array.dtype)
    data = bytearray(made.to_bytes())
    header = made.header.copy()
    header["vox_offset"] = 352 if kind is not nibabel.Nifti2Image else 544
    for name, value in fields.items():
        header[name] = value
    block = header.binaryblock
    return block + bytes(data[len(block) :])


def numbers(dtype: str, shape: tuple[int, ...] = (7, 5, 3), low: float = 0, high: float = 100) -> np.ndarray:
    values = np.random.default_rng(0).uniform(low, high, shape)
    return values.astype(dtype) if dtype.startswith("f") else np.round(values).astype(dtype)


# --- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "held", "low", "high"),
    [
        ("uint8", "uint8", 0, 255),
        ("int8", "int16", -128, 127),
        ("int16", "int16", -32768, 32767),
        ("uint16", "uint16", 0, 65535),
        ("int32", "int32", -(2**31), 2**31 - 1),
        ("uint32", "int32", 0, 2**31 - 1),
        ("int64", "int32", -(2**31), 2**31 - 1),
        ("uint64", "int32", 0, 2**31 - 1),
        ("float32", "float32", -1e6, 1e6),
        ("float64", "float32", 0, 0),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_values_of_every_type_are_exact_and_come_back_in_it(
    tmp_path: Path, stored: str, held: str, low: float, high: float, order: str, suffix: str, version: int
) -> None:
    array = numbers(stored, low=low, high=high)
    array[0, 0, 0], array[0, 1, 0] = low, high
    if stored == "float64":
        array = numbers("float32", low=-1e6, high=1e6).astype("float64")
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    path, target = tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    nibabel.save(kind(array, AFFINE, header, dtype=array.dtype), path)
    assert read_header(path).dtype == held
    images = [read_image(path, frame=k) for k in range(3)]
    assert {image.dtype for image in images} == {np.dtype(held)}
    np.testing.assert_array_equal(np.stack([image.pixels[:, :, 0] for image in images], 2), array)
    write_stack(target, images, like=path)
    after = nibabel.load(target)
    assert after.get_data_dtype() == array.dtype
    np.testing.assert_array_equal(np.asarray(after.dataobj), array)
    np.testing.assert_array_equal(after.affine, AFFINE)


@pytest.mark.parametrize(
    ("dtype", "value", "held"),
    [
        ("uint32", 2**31, "int32"),
        ("int64", -(2**31) - 1, "int32"),
        ("uint64", 2**64 - 1, "int32"),
        ("float64", 0.1, "float32"),
        ("float64", 1e300, "float32"),
        ("float64", 16777217.0, "float32"),
    ],
)
def test_a_value_that_cannot_be_held_is_refused_and_named(tmp_path: Path, dtype: str, value: float, held: str) -> None:
    array = np.zeros((7, 5, 3), dtype)
    array[2, 3, 1] = value
    (tmp_path / "x.nii").write_bytes(volume(array))
    assert read_image(tmp_path / "x.nii", frame=0).pixels.max() == 0
    with pytest.raises(ImageError, match=rf"x\.nii: It holds .* in {dtype}, which {held} cannot hold exactly"):
        read_image(tmp_path / "x.nii", frame=1)


def test_nan_and_infinity_of_float64_are_told_as_such_and_not_as_inexact(tmp_path: Path) -> None:
    array = np.array([[np.nan, np.inf], [-np.inf, 1]])
    (tmp_path / "x.nii").write_bytes(volume(array))
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii", 0).pixels[:, :, 0], array)
    with pytest.raises(ImageError, match="holds NaN or infinite values in 3 of 4 pixels"):
        read_image(tmp_path / "x.nii")


@pytest.mark.parametrize(
    ("slope", "intercept", "wanted"),
    [(0, 10, 7), (np.nan, 10, 7), (np.inf, 10, 7), (1, 0, 7), (1, 10, 17), (0.5, -1, 2.5), (-2, 0, -14)],
)
def test_a_slope_of_zero_or_nan_means_none(tmp_path: Path, slope: float, intercept: float, wanted: float) -> None:
    """As the standard and nibabel have it; other libraries add the intercept to a slope of zero."""
    array = np.full((2, 2, 2), 7, np.int16)
    (tmp_path / "x.nii").write_bytes(volume(array, scl_slope=slope, scl_inter=intercept))
    image = read_image(tmp_path / "x.nii")
    assert image.pixels.ravel().tolist() == [wanted] * 4
    assert image.dtype == ("int16" if wanted == 7 else "float32")
    assert nibabel.load(tmp_path / "x.nii").get_fdata().max() == wanted


def test_scaled_floats_are_computed_in_float64(tmp_path: Path) -> None:
    array = numbers("float32", high=1)
    (tmp_path / "x.nii").write_bytes(volume(array, scl_slope=3.3, scl_inter=1e4))
    wanted = nibabel.load(tmp_path / "x.nii").get_fdata().astype(np.float32)[:, :, 1]
    np.testing.assert_array_equal(read_image(tmp_path / "x.nii", frame=1).pixels[:, :, 0], wanted)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (7, 5, 3, 2), (7, 5, 3, 1, 4), (7, 5, 1, 1, 1, 2, 3)])
def test_axes_beyond_the_third_are_slices_in_the_order_of_the_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = numbers("int16", shape)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / "x.nii.gz")
    header = read_header(tmp_path / "x.nii.gz")
    wanted = array.reshape(7, 5, -1, order="F")
    assert (header.height, header.width, header.frames) == wanted.shape
    assert header.carries == ({"planes", "physical size"} if header.frames > 1 else {"physical size"})
    for frame in range(header.frames):
        image = read_image(tmp_path / "x.nii.gz", frame=frame)
        np.testing.assert_array_equal(image.pixels[:, :, 0], wanted[:, :, frame])


# --- sentences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "single bits"),
        (32, "complex64"),
        (128, r"red, green and blue of 8 bits \(RGB24\)"),
        (1536, "float128"),
        (1792, "complex128"),
        (2304, r"alpha of 8 bits \(RGBA32\)"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_type_that_is_not_read_is_named_and_not_called_damaged(
    tmp_path: Path, code: int, words: str, version: int
) -> None:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    (tmp_path / "x.nii").write_bytes(volume(np.zeros((4, 4, 4, 8), np.uint8), kind=kind, datatype=code))
    with pytest.raises(ImageError, match=rf"x\.nii: It holds .*{words}; convert it to one of uint8"):
        read_header(tmp_path / "x.nii")


def test_files_that_are_not_what_their_name_says_are_told_apart(tmp_path: Path) -> None:
    plain = volume(numbers("int16"))
    for name, data, words in (
        ("a.nii.gz", plain, r"not gzipped, whatever its name says; rename it to \.nii"),
        ("b.nii", gzip.compress(plain), r"is gzipped; rename it to \.nii\.gz"),
        ("c.nii", plain[:344] + b"ni1\0" + plain[348:], r"header of a pair \(\.hdr and \.img\)"),
        ("d.nii", plain[:344] + bytes(4) + plain[348:], "perhaps one of Analyze"),
        ("e.nii", b"x" * 1000, "no NIfTI volume"),
        ("f.nii", plain[:100], "no NIfTI volume"),
        ("g.nii", plain[:-1], "more than the file can hold"),
        ("h.nii.gz", gzip.compress(plain)[:-30], "cut short"),
        ("i.nii.gz", gzip.compress(plain[:-1]), r"209 bytes of values of 210"),
        ("j.nii", volume(numbers("int16"), vox_offset=0), "header of an absurd length"),
        ("k.nii", volume(numbers("int16"), vox_offset=np.nan), "header of an absurd length"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=rf"{name}.*{words}") as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_both_files_of_a_pair_are_told_for_what_they_are(tmp_path: Path, kind: Any) -> None:
    nibabel.save(kind(numbers("int16"), AFFINE), tmp_path / "x.hdr")
    with pytest.raises(ImageError, match=r"x\.hdr is a header of a NIfTI pair .*; convert it to \.nii\.gz"):
        read_image(tmp_path / "x.hdr")
    with pytest.raises(ImageError, match=r"x\.img is a medical image .*; convert it to \.nii\.gz"):
        read_image(tmp_path / "x.img")


@pytest.mark.parametrize("behind", [8, 4])
def test_a_flipped_bit_in_a_gzipped_volume_is_noticed(tmp_path: Path, behind: int) -> None:
    """Wherever the blocks end in which the file is read: `behind` bytes of its sum stand in another one."""

    def packed(rows: int) -> bytes:
        return gzip.compress(volume(numbers("uint8", (rows, 1, 1))), compresslevel=0)

    whole = bytearray(packed(15_000 + 2**14 - len(packed(15_000)) + behind))
    assert len(whole) % 2**14 == behind
    path = tmp_path / "x.nii.gz"
    path.write_bytes(whole)
    read_image(path)
    whole[-100] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


# --- work and memory -------------------------------------------------------------------------------


def test_many_slices_of_a_tiny_file_are_listed_and_read_quickly(tmp_path: Path) -> None:
    data = gzip.compress(volume(np.zeros((2, 2, 20_000), np.uint8)))
    assert len(data) < 300
    (tmp_path / "x.nii.gz").write_bytes(data)
    start = time.process_time()
    source = FolderSource(tmp_path)
    assert len(source) == 20_000
    for index in range(len(source)):
        source[index]
    assert time.process_time() - start < 4


def test_a_slice_of_an_uncompressed_volume_costs_its_own_bytes(tmp_path: Path) -> None:
    with (tmp_path / "x.nii").open("wb") as file:
        file.write(volume(np.zeros((2, 2, 2), np.uint8), dim=[3, 256, 256, 16_000, 1, 1, 1, 1]))
        file.truncate(352 + 256 * 256 * 16_000)  # a gigabyte, of which the disk holds nothing
    start = time.process_time()
    for frame in (0, 7_000, 15_999):
        assert read_image(tmp_path / "x.nii", frame=frame).pixels.shape == (256, 256, 1)
    assert time.process_time() - start < 0.5


def test_too_many_slices_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    with (tmp_path / "x.nii").open("wb") as file:
        file.write(volume(np.zeros((1, 1, 1), np.uint8), kind=nibabel.Nifti2Image, dim=[3, 1, 1, 2**30, 1, 1, 1, 1]))
        file.truncate(2**31)
    with pytest.raises(ImageError, match=f"1,073,741,824 slices, more than the limit of {MAX_SLICES:,}; split it"):
        read_header(tmp_path / "x.nii")
    assert len(FolderSource(tmp_path)) == 1


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    for value in range(5):
        path.unlink(missing_ok=True)
        path.write_bytes(gzip.compress(volume(np.full((2, 2, 2), value, np.uint8))))
        assert read_image(path).pixels.max() == value


def test_unpacked_volumes_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti, "_MOST_KEPT", 10_000)
    monkeypatch.setattr(nifti, "MAX_BYTES", 20_000)
    _kept.clear()
    for name, side in itertools.product("abcdef", (2, 20)):
        path = tmp_path / f"{name}{side}.nii.gz"
        path.write_bytes(gzip.compress(volume(np.zeros((side, side, 20), np.uint8))))
        read_image(path)
        held = [array.nbytes for array in _kept.values()]
        assert sum(held) <= (20_000 if len(held) == 2 else 10_000)
    assert len(held) == 2  # those of a pair


def members(data: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(data[at : at + size]) for at in range(0, len(data), size))


def test_a_volume_in_many_members_with_padding_and_long_headers_is_read(tmp_path: Path) -> None:
    array = numbers("uint8", (20, 20, 5))
    data = volume(array)
    whole = gzip.compress(data)
    named = (
        whole[:3]
        + b"\x0c"
        + whole[4:10]
        + struct.pack("<H", 60_000)
        + bytes(60_000)
        + b"n" * 10**6
        + b"\0"
        + whole[10:]
    )
    empty = gzip.compress(b"") * 1000
    for number, packed in enumerate(
        (members(data, 7), named, empty + whole, whole + bytes(100_000), whole[:0] + members(data, 512) + b"garbage")
    ):
        path = tmp_path / f"{number}.nii.gz"
        path.write_bytes(packed)
        for frame in range(5):
            np.testing.assert_array_equal(read_image(path, frame=frame).pixels[:, :, 0], array[:, :, frame])


def test_too_many_members_are_refused_at_once(tmp_path: Path) -> None:
    packed = gzip.compress(volume(numbers("uint8")))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(b"") * 66_000 + packed)
    start = time.process_time()
    with pytest.raises(ImageError, match="in more than 65,536 pieces"):
        read_image(tmp_path / "x.nii.gz")
    assert time.process_time() - start < 2


def test_no_more_is_unpacked_than_the_volume_says(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(volume(numbers("uint8")))
    data += b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    (tmp_path / "x.nii.gz").write_bytes(data)
    start = time.process_time()
    read_image(tmp_path / "x.nii.gz")
    assert time.process_time() - start < 0.5


# --- axes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), "RAS (axial slices)"),
        (((-1, 0, 0), (0, 1, 0), (0, 0, 1)), "LAS (axial slices)"),
        (((0, 1, 0), (0, 0, 1), (1, 0, 0)), "ASR (sagittal slices)"),
        (((1, 0, 0), (0, 0, -1), (0, 1, 0)), "RIA (coronal slices)"),
        (((0.9, 0.1, 0), (-0.1, 0.9, 0.2), (0, -0.2, 0.9)), "RAS (axial slices)"),
    ],
)
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_axes_say_where_the_array_leads(
    tmp_path: Path, columns: tuple[tuple[float, ...], ...], text: str, form: str
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T * (1, 2, 3)
    made = nibabel.Nifti1Image(numbers("uint8"), None)
    getattr(made, f"set_{form}")(affine, 1)
    nibabel.save(made, tmp_path / "x.nii")
    assert read_header(tmp_path / "x.nii").axes == text


def test_the_sform_is_taken_where_both_are_there(tmp_path: Path) -> None:
    made = nibabel.Nifti1Image(numbers("uint8"), None)
    for qcode, scode, text in ((1, 2, "LAS"), (1, 4, "LAS"), (2, 1, "LAS"), (1, 0, "RAS"), (0, 1, "LAS")):
        made.set_qform(np.eye(4), qcode)
        made.set_sform(np.diag([-1, 1, 1, 1]), scode)
        nibabel.save(made, tmp_path / "x.nii")
        assert read_header(tmp_path / "x.nii").axes == f"{text} (axial slices)"


@pytest.mark.parametrize(
    "fields",
    [
        {"sform_code": 0, "qform_code": 0},
        {"srow_x": np.nan},
        {"srow_x": 0, "srow_y": 0, "srow_z": 0},
        {"sform_code": 0, "qform_code": 1, "quatern_b": 5},
    ],
)
def test_axes_that_are_not_known_are_empty(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "x.nii").write_bytes(volume(numbers("uint8"), **fields))
    assert read_header(tmp_path / "x.nii").axes == ""
    read_image(tmp_path / "x.nii")


LAS, ASR = np.diag([-1, 1, 1, 1]), np.eye(4)[[2, 0, 1, 3]]


def write(path: Path, affine: np.ndarray = AFFINE, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (16, 16, 2), dtype=np.uint8)
    path.write_bytes(volume(array, affine))


def test_pairs_of_volumes_with_other_axes_stop_before_step_one(tmp_path: Path) -> None:
    for number, other in enumerate((AFFINE, LAS, ASR)):
        write(tmp_path / "A" / f"{number}.nii")
        write(tmp_path / "B" / f"{number}.nii", other, seed=1)
    data = DataConfig(a=str(tmp_path / "A"), b=str(tmp_path / "B"), pairing="paired", load_size=16, crop_size=16)
    with pytest.raises(DataError) as caught:
        open_domains(data)
    assert str(caught.value) == (
        f"2 of 3 pairs of volumes differ in their axes, {tmp_path}/A/1.nii with RAS (axial slices) and "
        f"{tmp_path}/B/1.nii with LAS (axial slices) first, so that their slices do not show the same; bring them to "
        "the same axes (nibabel.as_closest_canonical)."
    )
    (finding,) = (one for one in check_data(data, pairing="paired").findings if one.fault.code == "pairs")
    assert "differ in their axes" in finding.items[0].detail


def test_a_test_set_with_truth_of_other_axes_stops(tmp_path: Path) -> None:
    write(tmp_path / "testA" / "x.nii")
    write(tmp_path / "testB" / "x.nii", LAS)
    with pytest.raises(DataError, match="1 of 1 pairs of volumes differ in their axes"):
        open_test_set(tmp_path)
    assert len(open_test_set(tmp_path, truth=False).a) == 2


def test_pairs_of_equal_or_unknown_axes_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "A" / "x.nii", LAS)
    write(tmp_path / "B" / "x.nii", LAS, seed=1)
    write(tmp_path / "A" / "y.nii")
    (tmp_path / "B" / "y.nii").write_bytes(volume(np.zeros((16, 16, 2), np.uint8), sform_code=0, qform_code=0))
    assert len(matched(tmp_path / "A", tmp_path / "B")[0]) == 4


def test_volumes_of_other_axes_are_counted_and_named_where_nothing_is_paired(tmp_path: Path) -> None:
    for domain, affines in (("A", (AFFINE, LAS, AFFINE)), ("B", (AFFINE, AFFINE, ASR))):
        for number, affine in enumerate(affines):
            write(tmp_path / f"train{domain}" / f"{number}.nii", affine, seed=number + 10 * (domain == "B"))
    data = DataConfig(root=str(tmp_path), load_size=16, crop_size=16)
    notes = [note for note in open_domains(data).check(data) if "axes" in note]
    assert notes == [
        f"2 of 6 volumes have other axes than most, {tmp_path}/trainA/1.nii first: LAS (axial slices), where most "
        "are RAS (axial slices); slices are taken as they are stored, so bring them to the same axes "
        "(nibabel.as_closest_canonical) unless that is meant."
    ]
    findings = [one for one in check_data(data).findings if one.fault.code == "axes"]
    assert [(one.place, [(item.paths[0].name, item.detail) for item in one.items]) for one in findings] == [
        ("trainA", [("1.nii", "LAS (axial slices), where most are RAS (axial slices)")]),
        ("trainB", [("2.nii", "ASR (sagittal slices), where most are RAS (axial slices)")]),
    ]


def test_volumes_of_the_same_axes_are_not_mentioned(tmp_path: Path) -> None:
    for domain in "AB":
        write(tmp_path / f"train{domain}" / "x.nii", LAS, seed=ord(domain))
    data = DataConfig(root=str(tmp_path), load_size=16, crop_size=16)
    assert not any("axes" in note for note in open_domains(data).check(data))
    assert "axes" not in {one.fault.code for one in check_data(data).findings}


def test_the_file_of_a_stack_is_hashed_once_for_all_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(volume(np.zeros((2, 2, 50), np.uint8))))
    source = FolderSource(tmp_path)
    calls, real = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: calls.append(given) or real(*given))
    found = digests(source)
    assert found[:2] == [found[0], f"{found[0]}[1]"]
    TestSet(source, source, truth=False).fingerprint()
    assert len(calls) == 3
