"""DICOM slices: values as the scanner meant them, and results without the patient, by pydicom.

Values are stored numbers x slope + intercept, in Hounsfield units for CT: whole numbers where slope and intercept are,
float32 otherwise. A result is a derived image that says how its values are to be read and how large a pixel is, and
nothing else: no name, date, place, device or identifier of the original.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unpaired.errors import ImageError, OutputError
from unpaired.images.extras import extra
from unpaired.images.formats import ImageHeader
from unpaired.images.image import HELD, Array, Image

_DEFLATED = "1.2.840.10008.1.2.1.99"  # the whole file compressed, so that no header bounds what it becomes
_GREY = ("MONOCHROME1", "MONOCHROME2")
_KEPT = (  # what a picture needs to be shown and measured
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelAspectRatio",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Modality",
)


def read_header(file: BinaryIO) -> ImageHeader:
    """Return what the data set says of its picture; no pixel is read. Raises ImageError for several frames."""
    data = _read(file, pixels=False)
    channels = int(data.get("SamplesPerPixel", 1))
    return ImageHeader(
        int(data.Columns), int(data.Rows), "", channels, False, int(data.BitsStored), "DICOM", str(_dtype(data))
    )


def read(file: BinaryIO, frame: int = 0) -> Image:
    """Decode the picture into the values that its numbers stand for."""
    data = _read(file, pixels=True)
    stored = data.pixel_array
    array = stored[:, :, None] if stored.ndim == 2 else stored
    slope, intercept = _rescale(data)
    dtype = _dtype(data)
    if (slope, intercept) == (1, 0):
        return Image(np.ascontiguousarray(array, dtype=dtype))
    return Image((array * slope + intercept).astype(dtype))


def encode(images: Sequence[Image], like: Path) -> bytes:
    """Return a DICOM file of an image, its values stored as those of the file `like` are, where they fit.

    Where they do not, whole numbers of 16 bits are stored as they are. Raises OutputError for other values, alpha
    and a number of channels that is neither 1 nor 3.
    """
    (image,) = images
    pydicom = extra("pydicom", "Writing DICOM")
    with like.open("rb") as file:
        source = _read(file, pixels=False)
    data = pydicom.Dataset()
    for keyword in _KEPT:
        if keyword in source:
            data[keyword] = source[keyword]
    stored = _stored(image, data)
    data.Rows, data.Columns = image.height, image.width
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW" if stored.dtype.itemsize == 2 else "OB"
    if len(data.PixelData) % 2:
        data.PixelData += b"\0"
    return _as_file(pydicom, data)


def _as_file(pydicom: Any, data: Any) -> bytes:
    """Give a data set the identifiers that a file needs, all of them new, and return its bytes."""
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(data, keyword, pydicom.uid.generate_uid())
    data.PatientName = data.PatientID = ""
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    encoded = io.BytesIO()
    pydicom.dcmwrite(encoded, data, enforce_file_format=True)
    return encoded.getvalue()


def _stored(image: Image, data: Any) -> Array:
    """Return the numbers to store for the values of an image, having set in `data` how they are to be read."""
    if image.alpha is not None or image.channels not in (1, 3):
        raise OutputError("A DICOM file holds grey or RGB without alpha; write .tif with --format tif.")
    slope, intercept = _rescale(data)
    kept = np.dtype(f"{'i' if data.PixelRepresentation else 'u'}{data.BitsAllocated // 8}")
    numbers = np.round((image.pixels.astype(np.float64) - intercept) / slope)
    least = -(1 << (data.BitsStored - 1)) if data.PixelRepresentation else 0
    most = least + (1 << data.BitsStored) - 1
    same_colours = (int(data.get("SamplesPerPixel", 1)) == 3) == (image.channels == 3)
    same_kind = image.dtype == _dtype(data) and same_colours  # as the picture that `data` is from
    if not same_kind or numbers.min() < least or numbers.max() > most:
        if image.dtype.kind == "f" or image.dtype.itemsize > 2:
            raise OutputError(f"These values of {image.dtype} do not fit DICOM's 16 bits; write .tif (--format tif).")
        kept, numbers = image.dtype, image.pixels
        data.BitsAllocated = data.BitsStored = 8 * kept.itemsize
        data.PixelRepresentation = int(kept.kind == "i")
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
            data.pop(keyword, None)
        data.SamplesPerPixel = image.channels
        data.PhotometricInterpretation = "RGB" if image.channels == 3 else "MONOCHROME2"
    if image.channels == 3:
        data.PlanarConfiguration, data.PhotometricInterpretation = 0, "RGB"
    data.HighBit = data.BitsStored - 1
    return numbers.astype(kept.newbyteorder("<"))


def _read(file: BinaryIO, *, pixels: bool) -> Any:
    """Return the data set of one grey or colour picture; raises ImageError for anything else."""
    pydicom = extra("pydicom", "Reading DICOM")
    # Before the library unpacks the whole of it into memory, which no header bounds.
    if str(pydicom.filereader.read_file_meta_info(file.name).get("TransferSyntaxUID", "")) == _DEFLATED:
        raise ImageError("It is a deflated DICOM file, which may unpack to anything; save it uncompressed.")
    file.seek(0)
    data = pydicom.dcmread(file, stop_before_pixels=True) if not pixels else pydicom.dcmread(file)
    if "Rows" not in data or "Columns" not in data or "BitsAllocated" not in data:
        raise ImageError("It holds no picture, as some DICOM files do; remove it.")
    if int(data.get("NumberOfFrames", 1) or 1) > 1:
        raise ImageError(f"It holds {data.NumberOfFrames} frames; save each as a file, or all as a NIfTI volume.")
    kind = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if kind.startswith("PALETTE") or data.BitsAllocated not in (8, 16, 32):
        raise ImageError(f"DICOM in {kind} of {data.BitsAllocated} bits is not understood; convert it to MONOCHROME2.")
    return data


def _rescale(data: Any) -> tuple[float, float]:
    if str(data.get("PhotometricInterpretation", "")) not in _GREY:
        return 1.0, 0.0
    slope = float(data.get("RescaleSlope", 1) or 1)
    return slope, float(data.get("RescaleIntercept", 0) or 0)


def _dtype(data: Any) -> np.dtype[Any]:
    """Return the smallest type that holds every value that the file can hold."""
    slope, intercept = _rescale(data)
    least = -(1 << (data.BitsStored - 1)) if data.PixelRepresentation else 0
    most = least + (1 << data.BitsStored) - 1
    ends = sorted((least * slope + intercept, most * slope + intercept))
    if slope == int(slope) and intercept == int(intercept):
        for dtype in HELD:
            if dtype.kind != "f" and np.iinfo(dtype).min <= ends[0] and ends[1] <= np.iinfo(dtype).max:
                return dtype
    return np.dtype(np.float32)
