"""Writing DICOM results: stored as the original if the values fit, with its geometry and without patient data.

A result is a secondary capture, of several frames if the original has several. Only the keywords listed here are
copied; names, dates, places, devices and identifiers are not among them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unpaired.errors import OutputError
from unpaired.images.dicom.dicom_header import GREY, PALETTE, Picture, parsed
from unpaired.images.extras import extra
from unpaired.images.image import Array, Image
from unpaired.images.quiet import quiet

_PLACE = (  # geometry of any image
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Modality",
)
_STACK = ("GridFrameOffsetVector", "FrameTime", "FrameTimeVector")  # further keywords of frames
_VALUES = (  # meaning and display of stored numbers, for a result stored as its original
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
)
_GROUPED_PLACE = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
}
_GROUPED_VALUES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
}


def encode(images: Sequence[Image], like: Path) -> bytes:
    """Return a DICOM file of the frames, with values stored as in the file `like` if all of them fit.

    Otherwise integers are stored directly, in 8 or 16 bits. No data, marked by the images' `nodata`, becomes the
    padding of the original. Raises OutputError for other values, for alpha, and unless there are 1 or 3 channels.
    """
    if any(image.alpha is not None or image.channels not in (1, 3) for image in images):
        raise OutputError("A DICOM file holds grey or RGB without alpha; write .tif with --format tif.")
    pydicom = extra("pydicom", "Writing DICOM")
    with quiet(), like.open("rb") as file:
        source, picture = parsed(file)
        data = pydicom.Dataset()
        _copy(source, data, _PLACE)
        numbers = _as_original(images, picture)
        kept = numbers is not None
        if numbers is None:
            numbers = _as_they_are(images, picture)
            _describe_plain(data, numbers, images, picture)
        else:
            _describe_kept(pydicom, data, source, picture, images, numbers)
        data.Rows, data.Columns, data.SamplesPerPixel = numbers.shape[1:]
        if numbers.shape[3] == 3:
            data.PlanarConfiguration, data.PhotometricInterpretation = 0, "RGB"
        several = len(images) > 1 or "SharedFunctionalGroupsSequence" in source
        if several:
            _describe_frames(pydicom, data, source, len(images), picture.frames.count, kept=kept)
        _put_pixels(data, numbers)
        return _as_file(pydicom, data, numbers, several=several)


def _copy(source: Any, data: Any, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword in source:
            data[keyword] = source[keyword]


def _as_original(images: Sequence[Image], picture: Picture) -> Array | None:
    """Return the numbers to store, n h w c, in the original's layout; None if they do not fit."""
    layout, colours = picture.layout, {image.channels for image in images}
    kinds = {image.dtype for image in images}
    same_kind = kinds == {picture.dtype} or (kinds == {np.dtype(np.int32)} and picture.dtype.kind != "f")
    known_frames = len(picture.scales) == 1 or len(images) == picture.frames.count
    if colours != {layout.samples} or not (same_kind and known_frames) or layout.kind == PALETTE:
        return None
    if layout.allocated == 1:
        return None
    found = [_numbers(image, picture, frame) for frame, image in enumerate(images)]
    numbers = [one for one in found if one is not None]
    if len(numbers) < len(found):
        return None
    kind = "f" if layout.floats else "i" if layout.signed else "u"
    return np.stack(numbers).astype(f"<{kind}{layout.allocated // 8}")


def _numbers(image: Image, picture: Picture, frame: int) -> Array | None:
    """Return the numbers to store for an image, h w c, with the original's padding; None if they do not fit."""
    layout, scale = picture.layout, picture.scale(frame)
    missing = image.missing if picture.padding is not None else None
    present = np.ones(image.pixels.shape, bool) if missing is None else ~missing
    written = picture.padding.written if picture.padding is not None else 0
    numbers = np.full(image.pixels.shape, written, np.float32 if layout.floats else np.int64)
    values = image.pixels[present]
    if not values.size:
        return numbers
    if layout.floats:
        plain = (scale.slope, scale.intercept) == (1, 0)
        numbers[present] = values if plain else (values.astype(np.float64) - scale.intercept) / scale.slope
        return numbers
    stored = scale.numbers(values)
    if stored is None:
        return None
    numbers[present] = stored
    return numbers


def _as_they_are(images: Sequence[Image], picture: Picture) -> Array:
    """Return pixels n h w c in the smallest type that DICOM and the image share; raises OutputError without one."""
    fill = images[0].nodata
    pixels = np.stack([_filled(image, fill) for image in images])
    if pixels.dtype == np.int32 and picture.layout.allocated < 32:
        for dtype in (np.uint16, np.int16):
            if np.iinfo(dtype).min <= pixels.min() and pixels.max() <= np.iinfo(dtype).max:
                return pixels.astype(np.dtype(dtype).newbyteorder("<"))
    if pixels.dtype.kind == "f" or (pixels.dtype == np.int32 and picture.layout.allocated < 32):
        raise OutputError(f"These values of {pixels.dtype} do not fit DICOM's 16 bits; write .tif (--format tif).")
    return pixels.astype(pixels.dtype.newbyteorder("<"))


def _filled(image: Image, fill: float | None) -> Array:
    missing = image.missing
    return image.pixels if missing is None or fill is None else np.where(missing, image.dtype.type(fill), image.pixels)


def _describe_plain(data: Any, numbers: Array, images: Sequence[Image], picture: Picture) -> None:
    """Set the elements for values that are stored directly."""
    data.BitsAllocated = data.BitsStored = 8 * numbers.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(numbers.dtype.kind == "i")
    data.PhotometricInterpretation = "MONOCHROME2"
    fill, ends = images[0].nodata, np.iinfo(numbers.dtype)
    if picture.padding is not None and fill is not None and ends.min <= fill <= ends.max:
        _put_padding(data, fill)


def _describe_kept(
    pydicom: Any, data: Any, source: Any, picture: Picture, images: Sequence[Image], numbers: Array
) -> None:
    """Set the elements for numbers that are stored as in the original."""
    layout, table = picture.layout, picture.scales[0].table
    _copy(source, data, _VALUES)
    data.BitsAllocated, data.PhotometricInterpretation = layout.allocated, layout.kind
    if not layout.floats:
        data.BitsStored, data.HighBit, data.PixelRepresentation = layout.bits, layout.bits - 1, int(layout.signed)
    if layout.kind in GREY and "RescaleSlope" not in data and source.get("DoseGridScaling") is not None:
        data.RescaleSlope, data.RescaleIntercept = source.DoseGridScaling, 0
    if table is not None:
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            data.pop(keyword, None)
        item = pydicom.Dataset()
        item.add_new("LUTDescriptor", "SS" if layout.signed else "US", _descriptor(picture))
        item.ModalityLUTType = str(source.ModalityLUTSequence[0].get("ModalityLUTType") or "US")
        item.add_new("LUTData", "OW", table.entries.astype("<u2").tobytes())
        data.ModalityLUTSequence = [item]
    padding = picture.padding
    if padding is not None:
        declared = all(image.nodata is not None for image in images)
        if declared or not padding.among(numbers).any():  # else values of the result would count as padding
            _put_padding(data, padding.written, floats=layout.floats)


def _descriptor(picture: Picture) -> list[int]:
    table, top = picture.scales[0].table, picture.scales[0].top
    assert table is not None
    count = len(table.entries) % 2**16
    return [count - 2**16 if picture.layout.signed and count >= 2**15 else count, table.first, top.bit_length()]


def _put_padding(data: Any, value: float, *, floats: bool = False) -> None:
    if floats:
        data.FloatPixelPaddingValue = value
    elif -(2**15) <= value < 2**16:
        signed = value < 2**15 and bool(data.PixelRepresentation)
        data.add_new("PixelPaddingValue", "SS" if signed else "US", int(value))


def _describe_frames(pydicom: Any, data: Any, source: Any, count: int, original: int, *, kept: bool) -> None:
    """Set the number of frames and their geometry. kept: numbers are stored as in the original."""
    data.NumberOfFrames = count
    if count == original:
        _copy(source, data, _STACK)
        for keyword in _STACK:
            if keyword in data and "FrameIncrementPointer" not in data:
                data.FrameIncrementPointer = data[keyword].tag
    names = {**_GROUPED_PLACE, **(_GROUPED_VALUES if kept else {})}
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = source.get(keyword)
        if groups and (len(groups) == count or keyword.startswith("Shared")):
            setattr(data, keyword, [_group(pydicom, one, names) for one in groups])


def _group(pydicom: Any, groups: Any, names: dict[str, tuple[str, ...]]) -> Any:
    """Return functional groups with only the listed keywords."""
    made = pydicom.Dataset()
    for name, keywords in names.items():
        if groups.get(name):
            item = pydicom.Dataset()
            _copy(groups[name][0], item, keywords)
            setattr(made, name, [item])
    return made


def _put_pixels(data: Any, numbers: Array) -> None:
    stored = numbers.tobytes()
    if numbers.dtype.kind == "f":
        data.FloatPixelData = stored
        return
    data.PixelData = stored + b"\0" * (len(stored) % 2)
    data["PixelData"].VR = "OB" if numbers.dtype.itemsize == 1 else "OW"


def _as_file(pydicom: Any, data: Any, numbers: Array, *, several: bool) -> bytes:
    """Set the class and new identifiers of a data set, and return the bytes of its file."""
    uid = pydicom.uid
    data.ImageType, data.ConversionType = ["DERIVED", "SECONDARY"], "WSD"
    data.SOPClassUID = uid.SecondaryCaptureImageStorage
    if numbers.dtype.kind == "f":  # the only class for floats
        data.SOPClassUID = uid.ParametricMapStorage
    elif several and numbers.shape[3] == 3:
        data.SOPClassUID = uid.MultiFrameTrueColorSecondaryCaptureImageStorage
    elif several and numbers.dtype.itemsize == 1:
        data.SOPClassUID = uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    elif several:
        data.SOPClassUID = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(data, keyword, uid.generate_uid())
    data.PatientName = data.PatientID = ""
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    encoded = io.BytesIO()
    pydicom.dcmwrite(encoded, data, enforce_file_format=True)
    return encoded.getvalue()
