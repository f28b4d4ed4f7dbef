"""DICOM images: values in the scanner's units, and results without patient data, by pydicom and imagecodecs.

Values are stored numbers, inverted if low is white, x slope + intercept, in Hounsfield units for CT: integers if slope
and intercept are, float32 otherwise. Frames are slices. `dicom_header` reads the header of a file, `dicom_frames` finds
its frames, `dicom_codecs` decodes one, `dicom_values` converts numbers to values and back, and `dicom_writing` writes a
result.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.dicom.dicom_codecs import decoded, native
from unpaired.images.dicom.dicom_frames import read_frame
from unpaired.images.dicom.dicom_header import GREY, Picture, described
from unpaired.images.dicom.dicom_values import held, stored_numbers, whole_cells
from unpaired.images.dicom.dicom_writing import encode
from unpaired.images.extras import extra
from unpaired.images.formats import Carried, ImageHeader
from unpaired.images.image import Array, Image

__all__ = ["encode", "read", "read_header"]


def read_header(file: BinaryIO) -> ImageHeader:
    """Return the header of the data set; no pixel is read. Raises ImageError for a file that is not read."""
    picture = described(file)
    layout = picture.layout
    carries: set[Carried] = set()
    if picture.spaced:
        carries.add("physical size")
    if picture.fills:
        carries.add("no-data")
    return ImageHeader(
        layout.columns,
        layout.rows,
        "",
        1 if layout.kind in GREY else 3,
        False,
        layout.bits,
        "DICOM",
        str(picture.dtype),
        picture.frames.count,
        picture.fill(0),
        frozenset(carries),
        picture.axes,
    )


def read(file: BinaryIO, frame: int = 0) -> Image:
    """Decode a frame and convert its numbers to values. Raises ImageError if there are fewer frames."""
    picture = described(file)
    if not 0 <= frame < picture.frames.count:
        raise ImageError(f"It has {picture.frames.count} frames, and frame {frame} was requested.")
    layout, syntax = picture.layout, picture.syntax
    data = read_frame(file, picture.frames, frame, layout, little=syntax.little)
    cells = decoded(data, layout, syntax) if syntax.encapsulated else native(data, layout, syntax.little)
    if layout.floats:
        return _of_floats(cells, picture, frame)
    numbers = stored_numbers(cells, layout, clipped=syntax.lossy)
    if picture.palette is not None:
        return Image(np.ascontiguousarray(picture.palette.of(numbers[:, :, 0])))
    if layout.samples == 3:
        return Image(_rgb(numbers.astype(picture.dtype), picture))
    values = held(picture.scale(frame).values(numbers), picture.dtype)
    fill = picture.fill(frame)
    if picture.padding is not None and fill is not None:
        inside = layout.least <= picture.padding.written <= layout.most
        missing = picture.padding.among(numbers if inside else whole_cells(cells, layout))
        values = np.where(missing, picture.dtype.type(fill), values)
    return Image(np.ascontiguousarray(values), nodata=fill)


def _of_floats(cells: Array, picture: Picture, frame: int) -> Image:
    """Return the image of floats, rescaled if the file has a rescale."""
    scale = picture.scale(frame)
    values = cells.astype(np.float32)
    if (scale.slope, scale.intercept) != (1, 0):
        values = (cells.astype(np.float64) * scale.slope + scale.intercept).astype(np.float32)
    fill = picture.fill(frame)
    if picture.padding is not None and fill is not None:
        values = np.where(picture.padding.among(cells), np.float32(fill), values)
    return Image(np.ascontiguousarray(values), nodata=fill)


def _rgb(array: Array, picture: Picture) -> Array:
    """Return colours as RGB; some codecs have converted YCbCr to RGB already."""
    kind, codec = picture.layout.kind, picture.syntax.codec
    if kind in ("YBR_FULL", "YBR_FULL_422") and codec != "jpeg":
        convert: Any = extra("pydicom.pixels", "Reading DICOM").convert_color_space
        array = convert(array, "YBR_FULL", "RGB")
    return np.ascontiguousarray(array)
