"""DICOM: the right value from every kind of file, the stored numbers back, and nothing let through.

The table of transfer syntaxes in docs/values.md is made of the cases below; `python tests/test_dicom.py --write` writes
it anew.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from unpaired.errors import ImageError, MissingExtraError, OutputError
from unpaired.images import Image, lost, read_header, read_image, write_image, write_stack
from unpaired.images.dicom.dicom_codecs import SYNTAXES, refuse_cut
from unpaired.images.jpeg2000 import MAX_LAYERS

DOCS = Path(__file__).parent.parent / "docs" / "values.md"
BASE = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE = BASE, f"{BASE}.1", f"{BASE}.1.99", f"{BASE}.2", f"{BASE}.5"

y, x = np.mgrid[:40, :50]
DISC = np.where(np.hypot(y - 20, x - 25) < 14, 3000, 500).astype(np.uint16)
WAVES = np.round(2047.5 + 2000 * np.sin(x / 7) * np.cos(y / 5)).astype(np.uint16)


# --- writing files -----------------------------------------------------------------------------------


def data_set(array: np.ndarray, **tags: Any) -> Dataset:
    """Return a data set of a picture h w, of colours h w 3, or of NumberOfFrames frames."""
    data = Dataset()
    frames = int(tags.get("NumberOfFrames", 0))
    shape = array.shape[1:] if frames else array.shape
    data.PatientName, data.PatientID, data.StudyDate, data.Modality = "Doe^Jane", "4711", "20260101", "OT"
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
    data.Rows, data.Columns = shape[:2]
    data.SamplesPerPixel = 3 if len(shape) == 3 else 1
    data.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * array.dtype.itemsize
    data.PixelRepresentation = int(array.dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.HighBit = tags.get("HighBit", data.BitsStored - 1)
    return data


def save(path: Path, data: Dataset, pixels: bytes, syntax: str = EXPLICIT, *, vr: str = "OW") -> Path:
    """Write a data set with the bytes of its pixels; those of frames in fragments are encapsulated already."""
    data.PixelData = pixels + b"\0" * (len(pixels) % 2)
    data["PixelData"].VR = vr
    data["PixelData"].is_undefined_length = syntax in SYNTAXES and SYNTAXES[syntax].encapsulated
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    encoded = io.BytesIO()
    known = syntax in pydicom.uid.UID_dictionary and syntax != DEFLATED
    stands_in = syntax if known else RLE if data["PixelData"].is_undefined_length else EXPLICIT
    data.file_meta.TransferSyntaxUID = UID(stands_in)
    pydicom.dcmwrite(encoded, data, enforce_file_format=True)
    path.write_bytes(encoded.getvalue() if known else with_syntax(encoded.getvalue(), syntax))
    return path


def with_syntax(whole: bytes, syntax: str) -> bytes:
    """Return a file as one of another transfer syntax, which the writer does not know."""
    length = int.from_bytes(whole[140:144], "little")
    meta, body = whole[144 : 144 + length], whole[144 + length :]
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    place = meta.index(b"\x02\0\x10\0UI") + 6
    end = place + 2 + int.from_bytes(meta[place : place + 2], "little")
    meta = meta[:place] + len(value).to_bytes(2, "little") + value + meta[end:]
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return whole[:140] + len(meta).to_bytes(4, "little") + meta + body


def write(path: Path, array: np.ndarray, syntax: str = EXPLICIT, **tags: Any) -> Path:
    """Write an uncompressed picture."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    return save(path, data_set(array, **tags), pixels, syntax, vr="OB" if array.dtype.itemsize == 1 else "OW")


def stored(path: Path) -> np.ndarray:
    """Return the stored numbers of a file that stands uncompressed, by pydicom alone."""
    return pydicom.dcmread(path).pixel_array


def again(path: Path) -> Path:
    """Write the values of a file as the result of a network that changes nothing, and return the result."""
    target = path.with_name(f"result-{path.name}")
    count = read_header(path).frames
    if count == 1:
        write_image(target, read_image(path), like=path)
    else:
        write_stack(target, [read_image(path, frame=k) for k in range(count)], like=path)
    return target


# --- transfer syntaxes -------------------------------------------------------------------------------

RGB = np.stack([np.sin(x / 9 + c) * np.cos(y / (7 + c)) * 127 + 128 for c in range(3)], axis=2).astype(np.uint8)
PICTURES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "8 bits": (RGB[:, :, 0].copy(), {}),
    "12 bits": (WAVES, {"BitsStored": 12}),
    "16 bits": (WAVES * 16 + (x % 16).astype(np.uint16), {}),
    "signed 16 bits": (WAVES.astype(np.int16) * 16 - 32000, {}),
    "32 bits": (WAVES.astype(np.int32) * 2**19, {}),
    "RGB": (RGB, {}),
}
NATIVE = ("8 bits", "12 bits", "16 bits", "signed 16 bits", "32 bits", "RGB")
LOSSLESS = ("8 bits", "12 bits", "16 bits", "signed 16 bits", "RGB")


class Case(NamedTuple):
    """A transfer syntax, the pictures that it is tried with, how they are packed, and how far a value may be off."""

    uid: str
    pictures: tuple[str, ...]
    pack: Callable[[np.ndarray, int], bytes] | None = None
    within: int = 0


def bits_of(array: np.ndarray) -> np.ndarray:
    """Return numbers with a sign as codecs without signs hold them."""
    return array.view(f"u{array.dtype.itemsize}")


def jpeg(array: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(array, level=100, bitspersample=bits, subsampling="444"))


def jpeg_lossless(predictor: int) -> Callable[[np.ndarray, int], bytes]:
    def pack(array: np.ndarray, bits: int) -> bytes:
        space = {"colorspace": "RGB", "outcolorspace": "RGB"} if array.ndim == 3 else {}
        options = {"lossless": True, "predictor": predictor, "bitspersample": bits}
        return bytes(imagecodecs.jpeg8_encode(bits_of(array), **options, **space))

    return pack


def jpeg_ls(level: int) -> Callable[[np.ndarray, int], bytes]:
    return lambda array, bits: bytes(imagecodecs.jpegls_encode(bits_of(array), level=level))


def jpeg2000(level: int) -> Callable[[np.ndarray, int], bytes]:
    return lambda array, bits: bytes(
        imagecodecs.jpeg2k_encode(array, level=level, reversible=level == 0, codecformat="j2k", bitspersample=bits)
    )


def htj2k(reversible: bool) -> Callable[[np.ndarray, int], bytes]:
    return lambda array, bits: bytes(
        imagecodecs.htj2k_encode(array, None if reversible else 0.0005, reversible=reversible)
    )


def deflate(array: np.ndarray, bits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(array.tobytes()) + packer.flush()


def rle(array: np.ndarray, bits: int) -> bytes:
    samples = array[:, :, None] if array.ndim == 2 else array
    planes = [
        bytes(imagecodecs.packbits_encode(np.ascontiguousarray(samples[:, :, c]).view("u1").reshape(-1, width)[:, b]))
        for c in range(samples.shape[2])
        for width in (samples.dtype.itemsize,)
        for b in reversed(range(width))
    ]
    planes = [plane + b"\0" * (len(plane) % 2) for plane in planes]
    starts = np.zeros(16, "<u4")
    starts[0], starts[1 : len(planes) + 1] = len(planes), 64 + np.cumsum([0, *map(len, planes[:-1])])
    return starts.tobytes() + b"".join(planes)


CASES = [
    Case(IMPLICIT, NATIVE),
    Case(EXPLICIT, NATIVE),
    Case(BIG_ENDIAN, NATIVE),
    Case(DEFLATED, NATIVE),
    Case(f"{BASE}.1.98", NATIVE, lambda array, bits: array.tobytes()),
    Case(f"{BASE}.8.1", NATIVE, deflate),
    Case(RLE, NATIVE, rle),
    Case(f"{BASE}.4.50", ("8 bits", "RGB"), jpeg, 4),
    Case(f"{BASE}.4.51", ("8 bits", "12 bits"), jpeg, 2),
    Case(f"{BASE}.4.57", LOSSLESS, jpeg_lossless(5)),
    Case(f"{BASE}.4.70", LOSSLESS, jpeg_lossless(1)),
    Case(f"{BASE}.4.80", LOSSLESS, jpeg_ls(0)),
    Case(f"{BASE}.4.81", ("8 bits", "12 bits", "16 bits", "RGB"), jpeg_ls(2), 2),
    Case(f"{BASE}.4.90", LOSSLESS, jpeg2000(0)),
    Case(f"{BASE}.4.91", ("8 bits", "12 bits", "RGB"), jpeg2000(80), 8),
    Case(f"{BASE}.4.201", LOSSLESS, htj2k(True)),
    Case(f"{BASE}.4.202", LOSSLESS, htj2k(True)),
    Case(f"{BASE}.4.203", ("8 bits", "RGB"), htj2k(False), 3),
]
REFUSED = {
    f"{BASE}.4.100": ("MPEG-2", "a video"),
    f"{BASE}.4.102": ("MPEG-4 AVC/H.264", "a video"),
    f"{BASE}.4.107": ("HEVC/H.265", "a video"),
    f"{BASE}.7.1": ("SMPTE ST 2110", "a video"),
    f"{BASE}.4.94": ("JPIP Referenced", "on a server"),
    f"{BASE}.4.205": ("JPIP HTJ2K Referenced Deflate", "on a server"),
    f"{BASE}.4.92": ("JPEG 2000 Part 2 Multi-component", "compressed together"),
    f"{BASE}.4.110": ("JPEG XL", "JPEG XL is not read"),
    f"{BASE}.4.53": ("JPEG, retired processes", "not read"),
    "1.2.840.113619.5.2": ("private syntaxes", "not read"),
}


def packed(path: Path, case: Case, name: str) -> Path:
    """Write a picture in the transfer syntax of a case."""
    array, tags = PICTURES[name]
    if case.pack is None:
        return write(path, array, case.uid, **tags)
    data = data_set(array, **tags)
    fragments = encapsulate([case.pack(array, int(data.BitsStored))])
    return save(path, data, fragments, case.uid, vr="OB")


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in CASES for name in case.pictures])
def test_every_transfer_syntax_gives_the_stored_numbers(tmp_path: Path, case: Case, name: str) -> None:
    array = PICTURES[name][0]
    path = packed(tmp_path / "x.dcm", case, name)
    image, header = read_image(path), read_header(path)
    assert (header.height, header.width, header.channels) == (*array.shape[:2], image.channels)
    assert str(image.dtype) == header.dtype == str(array.dtype)
    difference = np.abs(image.pixels.squeeze(-1 if array.ndim == 2 else ()).astype(int) - array)
    assert difference.max() <= case.within, "numbers differ"


def test_every_transfer_syntax_that_is_read_is_tried() -> None:
    assert {case.uid for case in CASES} == set(SYNTAXES)


@pytest.mark.parametrize("uid", REFUSED)
def test_other_transfer_syntaxes_are_refused_for_what_they_are(tmp_path: Path, uid: str) -> None:
    path = save(tmp_path / "x.dcm", data_set(DISC), DISC.tobytes(), EXPLICIT)
    path.write_bytes(with_syntax(path.read_bytes(), uid))
    for reading in (read_header, read_image):
        with pytest.raises(ImageError, match=REFUSED[uid][1]) as caught:
            reading(path)
        assert "damaged" not in str(caught.value)


def table() -> str:
    """Return the table of transfer syntaxes for the docs, made of the cases."""
    rows = ["| transfer syntax | UID | tried with | numbers |", "|---|---|---|---|"]
    for uid, pictures, _, within in CASES:
        result = "bit for bit" if within == 0 else f"lossy; within {within} of the original"
        rows.append(f"| {SYNTAXES[uid].name} | {uid} | {', '.join(pictures)} | {result} |")
    rows += [f"| {name} | {uid} | | refused: {reason} |" for uid, (name, reason) in REFUSED.items()]
    return "\n".join(rows)


def test_the_table_in_the_docs_is_what_these_tests_run() -> None:
    text = DOCS.read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- dicom:begin -->\n")
    found, mark, _ = rest.partition("\n<!-- dicom:end -->")
    assert mark
    assert found.strip() == table(), "python tests/test_dicom.py --write"


def test_a_baseline_jpeg_is_what_other_decoders_make_of_it(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(RGB, level=80))
    path = save(
        tmp_path / "x.dcm",
        data_set(RGB, PhotometricInterpretation="YBR_FULL_422"),
        encapsulate([stream]),
        f"{BASE}.4.50",
        vr="OB",
    )
    np.testing.assert_array_equal(read_image(path).pixels, np.asarray(PIL.Image.open(io.BytesIO(stream))))


@pytest.mark.parametrize("marked", [True, False])
def test_a_jpeg_in_rgb_is_not_taken_for_ycbcr(tmp_path: Path, marked: bool) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(RGB, level=100, colorspace="RGB", outcolorspace="RGB", subsampling="444"))
    if not marked:  # libjpeg marks it; others leave it to the data set
        place = stream.index(b"\xff\xee")
        stream = stream[:place] + stream[place + 16 :]
    path = save(tmp_path / "x.dcm", data_set(RGB), encapsulate([stream]), f"{BASE}.4.50", vr="OB")
    assert np.abs(read_image(path).pixels.astype(int) - RGB).max() <= 3


def test_colours_in_ybr_become_rgb(tmp_path: Path) -> None:
    red = np.full((4, 6, 3), (76, 85, 255), np.uint8)  # Y, Cb, Cr of pure red
    path = write(tmp_path / "full.dcm", red, PhotometricInterpretation="YBR_FULL")
    assert np.abs(read_image(path).pixels.astype(int) - (255, 0, 0)).max() <= 1
    data = data_set(red, PhotometricInterpretation="YBR_FULL_422")
    path = save(tmp_path / "422.dcm", data, bytes((76, 76, 85, 255)) * 12)
    assert np.abs(read_image(path).pixels.astype(int) - (255, 0, 0)).max() <= 1
    path = save(tmp_path / "planes.dcm", data_set(RGB, PlanarConfiguration=1), RGB.transpose(2, 0, 1).tobytes())
    np.testing.assert_array_equal(read_image(path).pixels, RGB)
    written = pydicom.dcmread(again(path))
    assert written.PhotometricInterpretation == "RGB"
    np.testing.assert_array_equal(written.pixel_array, RGB)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_a_preamble_are_read(tmp_path: Path, syntax: str, meta: bool) -> None:
    whole = write(tmp_path / "x.dcm", WAVES, syntax, BitsStored=12).read_bytes()
    length = int.from_bytes(whole[140:144], "little")
    (tmp_path / "x.dcm").write_bytes(whole[132:] if meta else whole[144 + length :])
    np.testing.assert_array_equal(read_image(tmp_path / "x.dcm").pixels[:, :, 0], WAVES)


def test_big_endian_words_of_two_bytes_are_taken_apart(tmp_path: Path) -> None:
    array = np.arange(15, dtype=np.uint8).reshape(3, 5)
    frames = np.stack([array, array + 100])  # the second begins in the middle of a word
    data = data_set(frames, NumberOfFrames=2)
    path = save(tmp_path / "x.dcm", data, frames.tobytes(), BIG_ENDIAN, vr="OW")
    swapped = np.frombuffer(frames.tobytes(), "<u2").byteswap().tobytes()
    path.write_bytes(path.read_bytes().replace(frames.tobytes(), swapped))
    for number in range(2):
        np.testing.assert_array_equal(read_image(path, frame=number).pixels[:, :, 0], frames[number])


# --- bits in their cells -----------------------------------------------------------------------------


def test_bits_beyond_the_picture_are_left_out(tmp_path: Path) -> None:
    overlay = ((x + y) % 16).astype(np.uint16) << 12
    path = write(tmp_path / "high.dcm", WAVES | overlay, BitsStored=12)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], WAVES)
    path = write(tmp_path / "low.dcm", WAVES << 4 | overlay >> 12, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], WAVES)
    after = pydicom.dcmread(again(path))
    assert (after.BitsStored, after.HighBit) == (12, 11)
    np.testing.assert_array_equal(after.pixel_array, WAVES)


def test_signs_come_from_the_stored_bits(tmp_path: Path) -> None:
    signed = WAVES.astype(np.int16) - 2048
    path = write(tmp_path / "x.dcm", (signed & 0xFFF).astype(np.int16), BitsStored=12)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], signed)
    stream = bytes(
        imagecodecs.jpeg2k_encode((signed & 0xFFF).astype(np.uint16), level=0, codecformat="j2k", bitspersample=12)
    )
    data = data_set(signed, BitsStored=16)  # a stream without signs of fewer bits, as some writers make
    path = save(tmp_path / "y.dcm", data, encapsulate([stream]), f"{BASE}.4.90", vr="OB")
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], signed)


def test_single_bits_are_read_across_bytes(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 2, (3, 5, 7), np.uint8)
    data = data_set(frames, NumberOfFrames=3, BitsAllocated=1, BitsStored=1)
    path = save(tmp_path / "x.dcm", data, np.packbits(frames.ravel(), bitorder="little").tobytes())
    for number in range(3):
        np.testing.assert_array_equal(read_image(path, frame=number).pixels[:, :, 0], frames[number])


# --- polarity ----------------------------------------------------------------------------------------

POLARITIES = {
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
    "INVERSE": {"PresentationLUTShape": "INVERSE"},
    "both": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
}


@pytest.mark.parametrize("tags", POLARITIES.values(), ids=POLARITIES)
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -100}])
@pytest.mark.parametrize("signed", [False, True])
def test_low_is_black_whatever_the_file_calls_it(
    tmp_path: Path, tags: dict[str, str], rescale: dict[str, int], signed: bool
) -> None:
    numbers = DISC.astype(np.int16) - 2048 if signed else DISC
    least, most = (-2048, 2047) if signed else (0, 4095)
    path = write(tmp_path / "x.dcm", (least + most - numbers).astype(numbers.dtype), BitsStored=12, **tags, **rescale)
    image = read_image(path)
    expected = numbers.astype(int) * rescale.get("RescaleSlope", 1) + rescale.get("RescaleIntercept", 0)
    np.testing.assert_array_equal(image.pixels[:, :, 0], expected)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, stored(path))
    for keyword, value in (tags | rescale).items():
        assert after.get(keyword) == value
    np.testing.assert_array_equal(read_image(again(path)).pixels, image.pixels)


def test_hounsfield_units_keep_their_meaning_however_they_are_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.dcm",
        DISC,
        BitsStored=12,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        RescaleType="HU",
        PhotometricInterpretation="MONOCHROME1",
    )
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], DISC.astype(int) - 1024)
    np.testing.assert_array_equal(stored(again(path)), DISC)


# --- rescale and tables ------------------------------------------------------------------------------


def groups(**transformation: Any) -> Dataset:
    """Return functional groups with a rescale."""
    group, item = Dataset(), Dataset()
    for keyword, value in transformation.items():
        setattr(item, keyword, value)
    group.PixelValueTransformationSequence = [item]
    return group


def test_the_rescale_of_enhanced_ct_stands_in_the_shared_groups(tmp_path: Path) -> None:
    shared = groups(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    path = write(
        tmp_path / "x.dcm",
        np.stack([WAVES, DISC]),
        NumberOfFrames=2,
        BitsStored=12,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[Dataset(), Dataset()],
    )
    for frame, numbers in enumerate((WAVES, DISC)):
        np.testing.assert_array_equal(read_image(path, frame=frame).pixels[:, :, 0], numbers.astype(int) - 1024)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, stored(path))
    kept = after.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    assert (kept.RescaleIntercept, kept.RescaleType) == (-1024, "HU")


@pytest.mark.parametrize("slopes", [(1, 3), (0.5, 0.125)])
def test_each_frame_of_enhanced_mr_has_a_slope_of_its_own(tmp_path: Path, slopes: tuple[float, float]) -> None:
    each = [groups(RescaleSlope=slope, RescaleIntercept=number) for number, slope in enumerate(slopes)]
    path = write(
        tmp_path / "x.dcm",
        np.stack([WAVES, DISC]),
        NumberOfFrames=2,
        BitsStored=12,
        PerFrameFunctionalGroupsSequence=each,
    )
    for number, (slope, array) in enumerate(zip(slopes, (WAVES, DISC), strict=True)):
        image = read_image(path, frame=number)
        assert str(image.dtype) == read_header(path).dtype == ("uint16" if slopes[0] == 1 else "float32")
        np.testing.assert_array_equal(image.pixels[:, :, 0], array * slope + number)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, stored(path))
    found = [one.PixelValueTransformationSequence[0].RescaleSlope for one in after.PerFrameFunctionalGroupsSequence]
    assert tuple(found) == slopes


def test_float_slopes_round_once(tmp_path: Path) -> None:
    array = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    path = write(tmp_path / "x.dcm", array, RescaleSlope=0.0012207, RescaleIntercept=-3.3)
    expected = (array.astype(np.float64) * 0.0012207 - 3.3).astype(np.float32)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], expected)
    np.testing.assert_array_equal(stored(again(path)), array)


def test_a_dose_is_scaled_to_gray(tmp_path: Path) -> None:
    array = WAVES.astype(np.uint32) * 1000
    path = write(tmp_path / "x.dcm", array, DoseGridScaling="0.000015")
    expected = (array.astype(np.float64) * 0.000015).astype(np.float32)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], expected)
    np.testing.assert_array_equal(read_image(again(path)).pixels[:, :, 0], expected)


@pytest.mark.parametrize("slope", [0, "nan"])
def test_a_slope_that_leaves_nothing_is_refused(tmp_path: Path, slope: Any) -> None:
    path = write(tmp_path / "x.dcm", DISC, RescaleSlope="0.00")
    path.write_bytes(path.read_bytes().replace(b"0.00", f"{slope:<4}".encode()))
    with pytest.raises(ImageError, match="slope"):
        read_header(path)


def modality_table(entries: np.ndarray, first: int = 0, bits: int = 16, *, words: bool = True) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 2**16, first, bits])
    item.ModalityLUTType = "OD"
    item.add_new("LUTData", "OW" if words else "US", entries.astype("<u2").tobytes() if words else entries.tolist())
    return item


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_a_modality_table_is_applied_and_inverted(tmp_path: Path, words: bool, turned: bool) -> None:
    entries = np.sqrt(np.arange(4096) * 1000000).astype(np.uint16)  # no two alike
    path = write(
        tmp_path / "x.dcm",
        WAVES,
        BitsStored=12,
        ModalityLUTSequence=[modality_table(entries, words=words)],
        PhotometricInterpretation="MONOCHROME1" if turned else "MONOCHROME2",
    )
    expected = 65535 - entries[WAVES] if turned else entries[WAVES]
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], expected)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, WAVES)
    assert after.ModalityLUTSequence[0].LUTDescriptor == [4096, 0, 16]
    np.testing.assert_array_equal(read_image(again(path)).pixels[:, :, 0], expected)


def test_numbers_beyond_a_table_take_its_ends(tmp_path: Path) -> None:
    numbers = np.array([[-300, -100, -99, 0, 99, 200]], np.int16)
    entries = np.arange(200) * 5 + 7  # of -100 to 99
    path = write(tmp_path / "x.dcm", numbers, ModalityLUTSequence=[modality_table(entries, -100, 10)])
    assert read_image(path).pixels.ravel().tolist() == [7, 7, 12, 507, 1002, 1002]
    whole = np.arange(-(2**15), 2**15, dtype=np.int16).reshape(256, 256)
    path = write(tmp_path / "y.dcm", whole, ModalityLUTSequence=[modality_table(np.arange(2**16), -(2**15))])
    np.testing.assert_array_equal(read_image(path).pixels.ravel(), np.arange(2**16))
    np.testing.assert_array_equal(stored(again(path)), whole)


def test_values_that_a_table_cannot_give_back_are_stored_plainly(tmp_path: Path) -> None:
    twice = np.arange(4096) // 2
    path = write(tmp_path / "x.dcm", WAVES, BitsStored=12, ModalityLUTSequence=[modality_table(twice, bits=12)])
    result = again(path)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], WAVES // 2)
    np.testing.assert_array_equal(read_image(result).pixels[:, :, 0], WAVES // 2)
    assert "ModalityLUTSequence" not in pydicom.dcmread(result)


def test_a_result_between_the_steps_of_a_slope_is_stored_plainly(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", DISC, BitsStored=12, RescaleSlope=4, RescaleIntercept=0)
    image = read_image(path)
    made = Image(image.pixels + image.dtype.type(1))
    write_image(tmp_path / "y.dcm", made, like=path)
    np.testing.assert_array_equal(read_image(tmp_path / "y.dcm").pixels, made.pixels)


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_read_as_rgb(tmp_path: Path, bits: int) -> None:
    colours = np.random.default_rng(1).integers(0, 2**bits, (3, 4096), np.uint16)
    data = data_set(WAVES, BitsStored=12, PhotometricInterpretation="PALETTE COLOR")
    for name, entries in zip(("Red", "Green", "Blue"), colours, strict=True):
        data.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4096, 0, bits])
        packed_entries = entries.astype("<u2" if bits == 16 else "u1").tobytes()
        data.add_new(f"{name}PaletteColorLookupTableData", "OW", packed_entries)
    path = save(tmp_path / "x.dcm", data, WAVES.tobytes())
    image, header = read_image(path), read_header(path)
    assert (header.channels, header.dtype) == (3, f"uint{bits}") == (image.channels, str(image.dtype))
    np.testing.assert_array_equal(image.pixels, colours.T[WAVES])
    np.testing.assert_array_equal(read_image(again(path)).pixels, image.pixels)


# --- 32 bits and floats ------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [0, 1])
def test_numbers_of_32_bits_are_exact_or_refused(tmp_path: Path, intercept: int) -> None:
    array = np.where(x % 2, 16777217, 16777219).astype(np.uint32)
    path = write(tmp_path / "x.dcm", array, RescaleSlope=1, RescaleIntercept=intercept)
    image = read_image(path)
    assert str(image.dtype) == read_header(path).dtype == "int32"
    np.testing.assert_array_equal(image.pixels[:, :, 0], array.astype(int) + intercept)
    np.testing.assert_array_equal(stored(again(path)), array)
    signed = np.full((4, 4), 2**31 - 1, np.int32)
    path = write(tmp_path / "y.dcm", signed, RescaleSlope=1, RescaleIntercept=intercept)
    if intercept:
        with pytest.raises(ImageError, match=r"2,147,483,648, beyond what is read"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], signed)
    path = write(tmp_path / "z.dcm", np.full((4, 4), 2**32 - 1, np.uint32))
    with pytest.raises(ImageError, match=r"4,294,967,295, beyond what is read"):
        read_image(path)


def float_file(path: Path, array: np.ndarray, **tags: Any) -> Path:
    data = data_set(array.view(np.int32), PixelRepresentation=0)
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        del data[keyword]
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.FloatPixelData = array.tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_parametric_maps_are_floats_and_stay_so(tmp_path: Path) -> None:
    array = (WAVES * 1e-3 - 1.7).astype(np.float32)
    array[0, :5] = -9999
    path = float_file(tmp_path / "x.dcm", array, FloatPixelPaddingValue=-9999.0)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[:, :, 0], array)
    assert (read_header(path).dtype, image.nodata) == ("float32", -9999)
    after = pydicom.dcmread(again(path))
    assert (after.FloatPixelData, after.FloatPixelPaddingValue) == (array.tobytes(), -9999)
    with pytest.raises(ImageError, match="inverted"):
        read_header(float_file(tmp_path / "y.dcm", array, PhotometricInterpretation="MONOCHROME1"))


def test_float64_is_refused_by_name(tmp_path: Path) -> None:
    path = float_file(tmp_path / "x.dcm", WAVES.astype(np.float32))
    path.write_bytes(path.read_bytes().replace(b"\xe0\x7f\x08\0OF", b"\xe0\x7f\x09\0OD"))
    with pytest.raises(ImageError, match=r"DoubleFloatPixelData.*float32|float64.*DoubleFloatPixelData"):
        read_image(path)


# --- padding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [{}, {"PhotometricInterpretation": "MONOCHROME1"}])
def test_padding_is_no_data_in_the_values_of_the_picture(tmp_path: Path, tags: dict[str, str]) -> None:
    array = WAVES.astype(np.int16)
    array[:3] = -2000
    path = write(tmp_path / "x.dcm", array, PixelPaddingValue=-2000, RescaleSlope=1, RescaleIntercept=-1024, **tags)
    image, header = read_image(path), read_header(path)
    expected = 1999 - 1024 if tags else -2000 - 1024
    assert image.nodata == header.nodata == expected
    assert image.missing is not None
    np.testing.assert_array_equal(image.missing[:, :, 0], array == -2000)
    assert "no-data" in header.carries
    assert "no-data" not in lost(header, ".dcm")
    assert "no-data" in lost(header, ".tif")
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, array)
    assert after.PixelPaddingValue == -2000


def test_padding_beyond_the_stored_bits_is_no_measurement(tmp_path: Path) -> None:
    array = WAVES.copy()
    array[:3] = 63536  # whose lower 12 bits are 2096, which is a measurement too
    path = write(
        tmp_path / "x.dcm", array, BitsStored=12, PixelPaddingValue=63536, RescaleSlope=1, RescaleIntercept=-1024
    )
    image = read_image(path)
    assert (str(image.dtype), image.nodata) == ("int16", -32768)
    assert image.missing is not None
    np.testing.assert_array_equal(image.missing[:, :, 0], array == 63536)
    np.testing.assert_array_equal(image.pixels[3:, :, 0], array[3:].astype(int) - 1024)
    after = pydicom.dcmread(again(path))
    assert after.PixelData == array.tobytes()
    assert after.PixelPaddingValue == 63536


def test_a_range_of_padding_becomes_one_value(tmp_path: Path) -> None:
    array = WAVES.copy()
    array[:3], array[3:5] = 0, 12
    path = write(tmp_path / "x.dcm", array, BitsStored=12, PixelPaddingValue=0, PixelPaddingRangeLimit=20)
    image = read_image(path)
    assert image.missing is not None
    np.testing.assert_array_equal(image.missing[:, :, 0], array <= 20)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, np.where(array <= 20, 0, array))
    assert (after.PixelPaddingValue, "PixelPaddingRangeLimit" in after) == (0, False)


def test_padding_before_a_table_is_not_its_first_entry(tmp_path: Path) -> None:
    numbers = np.array([[-2000, 0, 1, 2]], np.int16)
    table_of = modality_table(np.array([100, 200, 300]), 0, 12)
    path = write(tmp_path / "x.dcm", numbers, PixelPaddingValue=-2000, ModalityLUTSequence=[table_of])
    image = read_image(path)
    assert image.missing is not None
    assert image.missing.ravel().tolist() == [True, False, False, False]
    assert image.pixels.ravel().tolist()[1:] == [100, 200, 300]
    np.testing.assert_array_equal(stored(again(path)), numbers)


def test_a_result_without_no_data_is_not_declared_to_have_some(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", WAVES, BitsStored=12, PixelPaddingValue=0)
    write_image(tmp_path / "y.dcm", Image(np.zeros((4, 4, 1), np.uint16)), like=path)
    assert "PixelPaddingValue" not in pydicom.dcmread(tmp_path / "y.dcm")


# --- frames ------------------------------------------------------------------------------------------


def enhanced(count: int) -> dict[str, Any]:
    """Return the tags of frames that lie one above the other, with the rest that scanners write."""
    shared, spacing, plane = Dataset(), Dataset(), Dataset()
    spacing.PixelSpacing, spacing.SliceThickness, plane.ImageOrientationPatient = [0.5, 0.6], 2, [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [spacing], [plane]
    frames = []
    for number in range(count):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, content.FrameAcquisitionDateTime = [0, 0, 2 * number], "20260101120000"
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        frames.append(group)
    return {
        "NumberOfFrames": count,
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
    }


def test_frames_are_slices_and_come_back_as_one_file_without_the_patient(tmp_path: Path) -> None:
    array = np.stack([WAVES, DISC, WAVES // 2])
    path = write(tmp_path / "x.dcm", array, BitsStored=12, **enhanced(3))
    header = read_header(path)
    assert (header.frames, header.axes, header.carries) == (3, "LPH", {"physical size"})
    result = again(path)
    after = pydicom.dcmread(result)
    np.testing.assert_array_equal(after.pixel_array, array)
    assert "Multi-frame Grayscale Word" in after.SOPClassUID.name
    shared = after.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.5, 0.6]
    places = [one.PlanePositionSequence[0].ImagePositionPatient[2] for one in after.PerFrameFunctionalGroupsSequence]
    assert places == [0, 2, 4]
    assert read_header(result).axes == "LPH"
    for secret in (b"Doe", b"4711", b"20260101"):
        assert secret in path.read_bytes()
        assert secret not in result.read_bytes()
    with pytest.raises(ImageError, match="has 3 frames"):
        read_image(path, frame=3)


@pytest.mark.parametrize("kind", ["8 bits", "RGB"])
def test_frames_of_bytes_and_colours_take_their_own_class(tmp_path: Path, kind: str) -> None:
    frames = np.stack([PICTURES[kind][0], PICTURES[kind][0] // 2])
    path = write(tmp_path / "x.dcm", frames, NumberOfFrames=2, FrameTime=40)
    after = pydicom.dcmread(again(path))
    np.testing.assert_array_equal(after.pixel_array, frames)
    assert ("Byte" if kind == "8 bits" else "True Color") in after.SOPClassUID.name
    assert (after.FrameTime, after.FrameIncrementPointer) == (40, 0x00181063)


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("offsets", [True, False])
def test_frames_in_fragments_are_told_apart(tmp_path: Path, fragments: int, offsets: bool) -> None:
    frames = [WAVES, DISC, WAVES // 3]
    streams = [jpeg_ls(0)(frame, 16) for frame in frames]
    whole = encapsulate(streams, fragments_per_frame=fragments, has_bot=offsets)
    data = data_set(np.stack(frames), NumberOfFrames=3, BitsStored=12)
    path = save(tmp_path / "x.dcm", data, whole, f"{BASE}.4.80", vr="OB")
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(read_image(path, frame=number).pixels[:, :, 0], frame)


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED, RLE])
def test_a_frame_of_many_costs_that_frame(tmp_path: Path, syntax: str) -> None:
    count = 2000
    frames = np.random.default_rng(0).integers(0, 4096, (count, 8, 8), np.uint16)
    data = data_set(frames, BitsStored=12, NumberOfFrames=count)
    pixels = encapsulate([rle(frame, 16) for frame in frames]) if syntax == RLE else frames.tobytes()
    path = save(tmp_path / "x.dcm", data, pixels, syntax, vr="OB" if syntax == RLE else "OW")
    read_header(path)
    start = time.process_time()
    for number in range(count):
        assert (read_image(path, frame=number).pixels[:, :, 0] == frames[number]).all()
    assert time.process_time() - start < 8  # 0.3 ms a frame; 2000 openings of all of them take minutes


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", WAVES, BitsStored=12)
    read_image(path)
    write(path, DISC, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1000)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], DISC.astype(int) - 1000)


def test_an_int32_result_is_stored_as_the_original_where_it_fits(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", WAVES, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024)
    image = read_image(path)
    write_image(tmp_path / "y.dcm", Image(image.pixels.astype(np.int32)), like=path)
    np.testing.assert_array_equal(stored(tmp_path / "y.dcm"), WAVES)
    write_image(tmp_path / "z.dcm", Image(np.full((4, 4, 1), 30000, np.int32)), like=path)
    assert read_image(tmp_path / "z.dcm").pixels.max() == 30000
    with pytest.raises(OutputError, match="16 bits"):
        write_image(tmp_path / "w.dcm", Image(np.full((4, 4, 1), 70000, np.int32)), like=path)


# --- other objects and damaged files -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("1.2.840.10008.1.3.10", "Media Storage Directory"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RT Structure Set"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG Waveform"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
    ],
)
def test_a_file_without_a_picture_is_told_by_its_kind(tmp_path: Path, uid: str, kind: str) -> None:
    data = data_set(DISC, SOPClassUID=uid)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"):
        del data[keyword]
    path = save(tmp_path / "x.dcm", data, b"")
    with pytest.raises(ImageError, match=f"holds no picture.*{kind}"):
        read_header(path)


def test_a_slide_in_tiles_is_not_taken_for_a_stack(tmp_path: Path) -> None:
    frames = np.stack([RGB, RGB])
    path = write(tmp_path / "x.dcm", frames, NumberOfFrames=2, TotalPixelMatrixColumns=100, TotalPixelMatrixRows=40)
    with pytest.raises(ImageError, match="slide in 2 tiles"):
        read_header(path)


@pytest.mark.parametrize("uid", [case.uid for case in CASES if case.pack and "JPEG-LS" not in SYNTAXES[case.uid].name])
def test_a_frame_that_is_cut_short_is_never_filled_up(tmp_path: Path, uid: str) -> None:
    case = next(case for case in CASES if case.uid == uid)
    array, tags = PICTURES[case.pictures[0]]
    stream = case.pack(array, 8) if case.pack else b""
    path = save(tmp_path / "x.dcm", data_set(array, **tags), encapsulate([stream[: len(stream) // 2]]), uid, vr="OB")
    with pytest.raises(ImageError, match=r"x\.dcm"):
        read_image(path)


def test_a_jpeg_without_an_end_is_cut_short() -> None:
    refuse_cut(b"\xff\xda pixels \xff\xd9")
    with pytest.raises(ImageError, match="cut short"):
        refuse_cut(b"\xff\xda pixels")


@pytest.mark.parametrize("count", [2, 10**6, 2**31 - 1, -1])
@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED, f"{BASE}.4.80"])
def test_a_lie_about_the_count_of_frames_is_found_in_the_header(tmp_path: Path, syntax: str, count: int) -> None:
    data = data_set(DISC, BitsStored=12)
    data.NumberOfFrames = count
    pixels = encapsulate([jpeg_ls(0)(DISC, 16)]) if SYNTAXES[syntax].encapsulated else DISC.tobytes()
    path = save(tmp_path / "x.dcm", data, pixels, syntax)
    if syntax == DEFLATED and count == 2:  # which is only known when it is unpacked
        with pytest.raises(ImageError, match="cut short"):
            read_image(path, frame=1)
        return
    start = time.process_time()
    with pytest.raises(ImageError, match="frames"):
        read_header(path)
    assert time.process_time() - start < 1


def claims(syntax: str, width: int, height: int) -> bytes:
    """Return a sound stream of 48 x 48 pixels whose own header is then made to claim another size."""
    array = np.zeros((48, 48), np.uint16)
    if syntax.endswith((".4.90", ".4.201")):
        stream = bytearray(imagecodecs.jpeg2k_encode(array, level=0, codecformat="j2k"))
        stream[8:16] = width.to_bytes(4) + height.to_bytes(4)
        return bytes(stream)
    pack = {".4.50": jpeg, ".4.70": jpeg_lossless(1), ".4.80": jpeg_ls(0)}[syntax.removeprefix(BASE)]
    small = syntax.endswith(".50")
    stream = bytearray(pack(array.astype(np.uint8) if small else array, 8 if small else 16))
    marker = next(
        place
        for place in range(2, len(stream))
        if stream[place : place + 2] in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7")
    )
    stream[marker + 5 : marker + 9] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(stream)


STREAMS = [f"{BASE}.4.{number}" for number in (50, 70, 80, 90, 201)]


@pytest.mark.parametrize("syntax", STREAMS)
def test_a_stream_that_claims_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*arguments: Any, **options: Any) -> None:
        raise AssertionError("decoded")

    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode", "htj2k_decode"):
        monkeypatch.setattr(imagecodecs, name, decode)
    data = data_set(np.zeros((48, 48), np.uint8 if syntax.endswith(".50") else np.uint16))
    path = save(tmp_path / "x.dcm", data, encapsulate([claims(syntax, 3000, 2000)]), syntax, vr="OB")
    with pytest.raises(ImageError, match="claims 3000 x 2000 pixels"):
        read_image(path)


def changed_jpeg2000(size: int, change: str) -> bytes:
    """Return a sound stream of one grey whose headers then cut it into somewhat more parts than the limit."""
    grey = np.zeros((size, size + 1), np.uint16)
    stream = bytearray(imagecodecs.jpeg2k_encode(grey, level=0, codecformat="j2k"))
    coding = stream.index(b"\xff\x52")
    if change == "tiles":
        stream[24:32] = b"\0\0\0\4" * 2
    elif change == "layers":
        stream[coding + 6 : coding + 8] = (MAX_LAYERS + 1).to_bytes(2)
    elif change == "blocks":
        stream[coding + 10 : coding + 12] = b"\0\0"
    else:
        levels = stream[coding + 9]
        stream[coding + 4] |= 1
        stream[coding + 2 : coding + 4] = (12 + levels + 1).to_bytes(2)
        stream[coding + 14 : coding + 14] = b"\x22" * (levels + 1)
    return bytes(stream)


CUT = ("tiles", "layers", "blocks", "precincts")


@pytest.mark.parametrize("change", CUT)
def test_a_stream_cut_into_far_too_many_parts_is_not_decoded(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", None)
    data = data_set(np.zeros((80, 81), np.uint16))
    path = save(tmp_path / "x.dcm", data, encapsulate([changed_jpeg2000(80, change)]), f"{BASE}.4.90", vr="OB")
    with pytest.raises(ImageError, match=r"is cut into|claims 1,025 layers"):
        read_image(path)


MEASURE = """
import json, resource, sys
from unpaired.errors import ImageError
from unpaired.images import read_header, read_image
from unpaired.images.extras import extra
for name in ("pydicom", "pydicom.pixels", "imagecodecs"): extra(name, "test")
read_image(sys.argv[1])
before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
for path in sys.argv[2:]:
    try:
        read_image(path)
        said.append("read")
    except ImageError as error:
        said.append(str(error))
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, said]))
"""


def test_small_files_that_claim_much_take_no_memory(tmp_path: Path) -> None:
    sound = packed(tmp_path / "sound.dcm", Case(f"{BASE}.4.80", LOSSLESS, jpeg_ls(0)), "12 bits")
    files = []
    for syntax in STREAMS:
        data = data_set(np.zeros((48, 48), np.uint8 if syntax.endswith(".50") else np.uint16))
        files.append(save(tmp_path / f"{syntax}.dcm", data, encapsulate([claims(syntax, 3000, 3000)]), syntax))
    small = np.zeros((48, 48), np.uint16)
    files.append(write(tmp_path / "native.dcm", small, Rows=11000, Columns=12000))
    data = data_set(small, Rows=11000, Columns=12000)
    files.append(save(tmp_path / "rle.dcm", data, encapsulate([rle(small, 16)]), RLE))
    data = data_set(small, Rows=11000, Columns=12000)
    files.append(save(tmp_path / "frame.dcm", data, encapsulate([deflate(small, 16)]), f"{BASE}.8.1"))
    data = data_set(small)
    data.add_new(0x00091001, "OB", bytes(2**27))
    files.append(save(tmp_path / "deflated.dcm", data, small.tobytes(), DEFLATED))
    assert all(file.stat().st_size < 200_000 for file in files)
    command = [sys.executable, "-c", MEASURE, str(sound), *map(str, files)]
    grown, said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "read" not in said
    assert "unpacks to more" in said[-1]
    assert grown * 1024 < 64 * 2**20


def test_a_fragment_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    stream = jpeg_ls(0)(DISC, 16)
    path = save(tmp_path / "x.dcm", data_set(DISC), encapsulate([stream]), f"{BASE}.4.80", vr="OB")
    whole = bytearray(path.read_bytes())
    place = whole.index(b"\xfe\xff\x00\xe0", whole.index(b"\xfe\xff\x00\xe0") + 4) + 4
    whole[place : place + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(ImageError, match="between its fragments"):
        read_header(path)


def test_another_codec_than_the_header_promises_is_named(tmp_path: Path) -> None:
    stream = jpeg2000(0)(DISC, 16)
    path = save(tmp_path / "x.dcm", data_set(DISC), encapsulate([stream]), f"{BASE}.4.80", vr="OB")
    with pytest.raises(ImageError, match="jpeg2000, not JPEG-LS Lossless"):
        read_image(path)


@pytest.mark.parametrize("uid", [case.uid for case in CASES])
def test_without_the_codecs_a_file_asks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    case = next(case for case in CASES if case.uid == uid)
    path = packed(tmp_path / "x.dcm", case, case.pictures[0])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert read_header(path).format == "DICOM"
    if SYNTAXES[uid].codec in ("native", "deflate"):
        assert read_image(path).height == 40
    else:
        with pytest.raises(MissingExtraError, match=r"Reading DICOM in .*pip install 'unpaired\[sci\]'"):
            read_image(path)


def test_broken_bytes_never_raise_anything_but_our_own_errors(tmp_path: Path) -> None:
    """Of each kind 30 files with a few bytes changed at random."""
    path, outcomes = tmp_path / "x.dcm", set()
    for case in CASES:
        whole = packed(tmp_path / "sound.dcm", case, case.pictures[0]).read_bytes()
        for seed in range(30):
            rng, data = np.random.default_rng(seed), bytearray(whole)
            for _ in range(rng.integers(1, 6)):
                data[int(rng.integers(len(data)))] = rng.integers(256)
            path.write_bytes(data)
            try:
                read_header(path)
                outcomes.add(type(read_image(path)).__name__)
            except ImageError as error:
                outcomes.add("one line" if str(error).isprintable() and len(str(error)) < 400 else str(error))
    assert outcomes == {"Image", "one line"}


def write_table() -> None:
    """Put the table into the docs."""
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- dicom:begin -->\n", "\n<!-- dicom:end -->"
    before, rest = text.split(begin)
    DOCS.write_text(f"{before}{begin}{table()}{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_dicom.py --write")
    write_table()
