"""NIfTI volumes: a stack of slices along the last axis, by nibabel.

A slice is the array [:, :, k] as it is stored: the first axis runs down, the second to the right, nothing is turned.
Values are stored numbers x slope + intercept, float32 where these change anything. A result has the affine, the size
of a voxel, the type and the scaling of its original; descriptions and extensions, which may name people, are left out.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unpaired.errors import ImageError, OutputError
from unpaired.images.extras import extra
from unpaired.images.formats import ImageHeader, suffix_of
from unpaired.images.image import HELD, Array, Image

MAX_BYTES = 2**31
"""Largest volume that is read, in stored bytes: two gigabytes."""

_MOST_DEFLATE = 1032  # bytes that one byte of gzip can become
_PLACE = (
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)
_STARTS = {  # by the length of the header, which comes first: where it says at what byte the values begin
    struct.pack("<i", 348): ("<f", 108),
    struct.pack(">i", 348): (">f", 108),
    struct.pack("<i", 540): ("<q", 168),
    struct.pack(">i", 540): (">q", 168),
}
_MOST_HEADER = 2**20  # where the values may begin: behind the header and its extensions


def read_header(path: Path) -> ImageHeader:
    """Return what the volume says of its slices; no value is read."""
    volume = _opened(path)
    height, width, frames = _shape(volume)
    dtype = _held(volume)
    depth = 8 * volume.get_data_dtype().itemsize
    return ImageHeader(width, height, "", 1, False, depth, "NIFTI", str(dtype), frames)


def read(path: Path, frame: int) -> Image:
    """Decode slice `frame` >= 0. Raises ImageError where the volume has fewer slices."""
    volume = _opened(path)
    shape = _shape(volume)
    if not 0 <= frame < shape[2]:
        raise ImageError(f"It has {shape[2]} slices, and slice {frame} was asked for.")
    if suffix_of(path) == ".nii.gz":  # of which any slice costs all that come before it
        status = path.stat()
        numbers = _unpacked(path, status.st_mtime_ns, status.st_size)
    else:
        numbers = volume.dataobj.get_unscaled()  # a map of the file
    values = numbers.reshape(shape, order="F")[:, :, frame, None]
    slope, intercept = _scaling(volume)
    dtype = _held(volume)
    if (slope, intercept) == (1, 0):
        return Image(np.ascontiguousarray(values, dtype=dtype))
    return Image((values * slope + intercept).astype(dtype))


def encode(images: Sequence[Image], like: Path, *, packed: bool) -> bytes:
    """Return a volume of slices, placed and stored as the one in the file `like`; gzipped where `packed` says so.

    Where its type cannot hold their values, their own type is taken, unscaled. Raises OutputError for slices that are
    not grey.
    """
    source = _opened(like)
    shape = _shape(source)
    if any(image.channels != 1 or image.alpha is not None for image in images):
        raise OutputError("A NIfTI volume holds one channel; translate its slices as .tif to keep more.")
    values = np.stack([image.pixels[:, :, 0] for image in images], axis=2)
    numbers, slope, intercept = _stored(values, source)
    if values.shape == shape:  # axes beyond the third come back
        numbers = numbers.reshape(source.shape, order="F")
    header = type(source).header_class()
    header.set_data_dtype(numbers.dtype)
    header.set_data_shape(numbers.shape)
    for key in _PLACE:
        header[key] = source.header[key]
    volume = type(source)(numbers, None, header)
    volume.header.set_slope_inter(slope, intercept)
    data: bytes = volume.to_bytes()
    return gzip.compress(data, mtime=0) if packed else data


def _stored(values: Array, source: Any) -> tuple[Array, float, float]:
    """Return the numbers to store, with their slope and intercept: the source's where its type holds the values."""
    if values.dtype != _held(source):  # of another domain
        return values, 1.0, 0.0
    slope, intercept = _scaling(source)
    dtype = source.get_data_dtype().newbyteorder("=")
    exact = (values.astype(np.float64) - intercept) / slope
    if dtype.kind == "f":
        return exact.astype(dtype), slope, intercept
    numbers = np.round(exact)
    if numbers.min() < np.iinfo(dtype).min or numbers.max() > np.iinfo(dtype).max:
        return values, 1.0, 0.0
    return numbers.astype(dtype), slope, intercept


def _opened(path: Path) -> Any:
    """Return the volume, unread, after a look at its first bytes that no library takes on trust."""
    nibabel = extra("nibabel", "Reading NIfTI")
    packed = suffix_of(path) == ".nii.gz"
    with gzip.open(path) if packed else path.open("rb") as file:
        head = file.read(176)
    if head[:4] not in _STARTS or len(head) < 176:
        raise ImageError("It is no NIfTI volume; remove it.")
    form, place = _STARTS[head[:4]]
    if not 0 <= struct.unpack_from(form, head, place)[0] <= _MOST_HEADER:
        raise ImageError("It claims a header of an absurd length and was not read; save it anew.")
    volume = nibabel.load(path)
    size = int(np.prod([int(side) for side in volume.shape], dtype=object)) * volume.get_data_dtype().itemsize
    room = path.stat().st_size * (_MOST_DEFLATE if packed else 1)
    if size > room:
        raise ImageError(f"It claims {size:,} bytes of values, more than the file can hold; fetch it again.")
    if size > MAX_BYTES:
        raise ImageError(f"It holds {size:,} bytes of values, more than the limit of {MAX_BYTES:,}; split it.")
    return volume


@lru_cache(maxsize=2)
def _unpacked(path: Path, mtime: int, size: int) -> Array:
    """Return all numbers of a gzipped volume; `mtime` and `size` tell a file from an older one of its name."""
    numbers: Array = _opened(path).dataobj.get_unscaled()
    return numbers


def _shape(volume: Any) -> tuple[int, int, int]:
    """Return rows, columns and slices; axes beyond the third are slices too. Raises ImageError for fewer than two."""
    shape = volume.shape
    if len(shape) < 2 or 0 in shape:
        raise ImageError(f"It has the shape {shape}, in which there is no slice; remove it.")
    return int(shape[0]), int(shape[1]), int(np.prod(shape[2:], dtype=np.int64))


def _scaling(volume: Any) -> tuple[float, float]:
    slope, intercept = volume.dataobj.slope, volume.dataobj.inter
    return float(slope), float(intercept)


def _held(volume: Any) -> np.dtype[Any]:
    """Return the type that its slices have as images. Raises ImageError for one that cannot be held."""
    stored = volume.get_data_dtype().newbyteorder("=")
    if stored not in HELD:
        raise ImageError(f"It holds {stored}; convert it to one of {', '.join(map(str, HELD))}.")
    return stored if _scaling(volume) == (1, 0) else np.dtype(np.float32)
