"""NIfTI volumes: a stack of slices along the last axis, their headers parsed by nibabel.

A slice is the array [:, :, k] as stored: the first axis runs down, the second to the right, without reorientation.
Values are stored numbers x slope + intercept, float32 if these change anything; a slope of 0 or NaN means none, as in
the standard. A result has the affine, the size of a voxel, the type and the scaling of its original; descriptions and
extensions, which may name people, are left out. Values are read here: one slice at a time of an uncompressed volume;
a gzipped one is unpacked whole and kept for its other slices.
"""

from __future__ import annotations

import gzip
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unpaired.errors import ImageError, OutputError
from unpaired.images import gzipped
from unpaired.images.extras import extra
from unpaired.images.formats import Carried, ImageHeader
from unpaired.images.image import HELD, Array, Image

MAX_BYTES = 2**31
"""Largest volume that is read, in stored bytes: two gigabytes."""

MAX_SLICES = 2**18
"""Most slices of a volume: three times those of the longest functional scans."""

_MOST_KEPT = 2**28  # bytes of unpacked volumes that are kept, beyond two volumes
_MOST_DEFLATE = 1032  # bytes that one byte of gzip can become
_MOST_HEADER = 2**20  # largest offset of the values, behind the header and its extensions
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
_LENGTHS = {struct.pack(order + "i", length): (order, length) for order in "<>" for length in (348, 540)}
_FIELDS = {348: ("f", 108, 70, 344), 540: ("q", 168, 12, 4)}  # form and place of the first value's byte; type; magic
_NOT_HELD = {
    0: "values of an unknown type",
    1: "single bits",
    32: "complex64",
    128: "red, green and blue of 8 bits (RGB24)",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
    2304: "red, green, blue and alpha of 8 bits (RGBA32)",
}
_HELD_AS = {"int8": "int16", "uint32": "int32", "int64": "int32", "uint64": "int32", "float64": "float32"}
_PLANES = {"L": "sagittal", "R": "sagittal", "A": "coronal", "P": "coronal", "I": "axial", "S": "axial"}
_KNOWN = ", ".join(map(str, HELD))

_Key = tuple[Path, int, int, int, int]


@dataclass(frozen=True)
class _Volume:
    """The parsed header of a volume, without values.

    shape: rows, columns, slices.
    stored: the type of the stored numbers, with their byte order.
    held: the type of its slices as images.
    start: offset of the first number in the unpacked file, in bytes.
    """

    header: Any
    shape: tuple[int, int, int]
    stored: np.dtype[Any]
    held: np.dtype[Any]
    slope: float
    intercept: float
    start: int
    axes: str

    @property
    def num_bytes(self) -> int:
        """Bytes of all stored numbers."""
        height, width, slices = self.shape
        return height * width * slices * self.stored.itemsize


def is_packed(path: Path) -> bool:
    """Return whether a volume is gzipped, by its name."""
    return path.name.lower().endswith(".gz")


def read_header(path: Path) -> ImageHeader:
    """Return the header of the slices; no value is read."""
    volume, _ = _opened(path)
    height, width, frames = volume.shape
    carries: set[Carried] = {"planes"} if frames > 1 else set()
    if _is_measured(volume.header):
        carries.add("physical size")
    return ImageHeader(
        width=width,
        height=height,
        mode="",
        channels=1,
        has_alpha=False,
        depth=8 * volume.stored.itemsize,
        format="NIFTI",
        dtype=volume.held.name,
        frames=frames,
        carries=frozenset(carries),
        axes=volume.axes,
    )


def read(path: Path, frame: int) -> Image:
    """Decode slice `frame` >= 0. Raises ImageError if the volume has fewer slices."""
    volume, key = _opened(path)
    height, width, slices = volume.shape
    if not 0 <= frame < slices:
        raise ImageError(f"It has {slices} slices, and slice {frame} was requested.")
    size = height * width * volume.stored.itemsize
    if is_packed(path):  # a slice costs all those before it
        data = _unpacked(key, volume)[frame * size : (frame + 1) * size]
    else:
        with path.open("rb") as file:
            file.seek(volume.start + frame * size)
            data = np.frombuffer(file.read(size), np.uint8)
        if len(data) < size:
            raise ImageError("It is cut short; fetch it again.")
    numbers = data.view(volume.stored).reshape((height, width), order="F")
    return Image(np.ascontiguousarray(_values(numbers, volume)[:, :, None]))


def encode(images: Sequence[Image], like: Path, *, packed: bool) -> bytes:
    """Return a volume of slices, with the geometry, type and scaling of the file `like`. packed: gzip it.

    If its type cannot hold the values, their own type is stored, unscaled. Raises OutputError for slices that are
    not grey.
    """
    source, _ = _opened(like)
    if any(image.channels != 1 or image.alpha is not None for image in images):
        raise OutputError("A NIfTI volume holds one channel; translate its slices as .tif to keep more.")
    values = np.stack([image.pixels[:, :, 0] for image in images], axis=2)
    numbers, slope, intercept = _stored(values, source)
    if values.shape == source.shape:  # restore the axes beyond the third
        numbers = numbers.reshape(source.header.get_data_shape(), order="F")
    header = type(source.header)()
    header.set_data_dtype(numbers.dtype)
    header.set_data_shape(numbers.shape)
    for key in _PLACE:
        header[key] = source.header[key]
    nibabel = extra("nibabel", "Writing NIfTI")
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    volume = kind(numbers, None, header)
    volume.header.set_slope_inter(slope, intercept)
    data: bytes = volume.to_bytes()
    return gzip.compress(data, mtime=0) if packed else data


def _values(numbers: Array, volume: _Volume) -> Array:
    """Convert stored numbers to the values of an image. Raises ImageError if the image's type cannot hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        if (volume.slope, volume.intercept) != (1, 0):
            return (numbers.astype(np.float64) * volume.slope + volume.intercept).astype(np.float32)
        values = numbers.astype(volume.held)
        if volume.stored.newbyteorder("=") == volume.held:
            return values
        wrong = (values != numbers) & (numbers == numbers)
    if wrong.any():
        value = numbers[np.unravel_index(wrong.argmax(), wrong.shape)]
        raise ImageError(
            f"It holds {value} in {volume.stored.name}, which {volume.held} cannot hold exactly; convert it to one of "
            f"{_KNOWN}."
        )
    return values


def _stored(values: Array, source: _Volume) -> tuple[Array, float, float]:
    """Return the numbers to store, with their slope and intercept: the source's if its type holds the values."""
    if values.dtype != source.held:  # of another domain
        return values, 1.0, 0.0
    slope, intercept = source.slope, source.intercept
    dtype = source.stored.newbyteorder("=")
    exact = (values.astype(np.float64) - intercept) / slope
    if dtype.kind == "f":
        return exact.astype(dtype), slope, intercept
    numbers = np.round(exact)
    if numbers.min() < np.iinfo(dtype).min or numbers.max() > np.iinfo(dtype).max:
        return values, 1.0, 0.0
    return numbers.astype(dtype), slope, intercept


def _opened(path: Path) -> tuple[_Volume, _Key]:
    """Return the volume, and a key that distinguishes the file from an older one of its name."""
    extra("nibabel", "Reading NIfTI")
    status = path.stat()
    key = (path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return _parsed(*key), key


@lru_cache(maxsize=64)
def _parsed(path: Path, device: int, inode: int, mtime: int, size: int) -> _Volume:
    """Parse the header of a file of `size` bytes, after a check of its first bytes."""
    nibabel = extra("nibabel", "Reading NIfTI")
    packed = is_packed(path)
    head = _head(path, packed)
    header = (nibabel.Nifti2Header if len(head) == 540 else nibabel.Nifti1Header)(head)
    stored, scaling = header.get_data_dtype(), header.get_slope_inter()
    slope, intercept = (1.0, 0.0) if None in scaling else map(float, scaling)
    held = np.dtype(_HELD_AS.get(stored.name, stored.name) if (slope, intercept) == (1, 0) else "float32")
    start = header.get_data_offset()
    volume = _Volume(header, _shape(header), stored, held, slope, intercept, start, _axes(header))
    claimed = volume.num_bytes
    if volume.start + claimed > size * (_MOST_DEFLATE if packed else 1):
        raise ImageError(f"It claims {claimed:,} bytes of values, more than the file can hold; fetch it again.")
    if claimed > MAX_BYTES:
        raise ImageError(f"It holds {claimed:,} bytes of values, more than the limit of {MAX_BYTES:,}; split it.")
    return volume


def _head(path: Path, packed: bool) -> bytes:
    """Return the header of a file; raises ImageError for one of another kind, and for values of a type not read."""
    with path.open("rb") as file:
        start = file.read(2)
        if packed and start != gzipped.MAGIC:
            raise ImageError("It is not gzipped although its name ends in .gz; rename it to .nii if it is a volume.")
        if not packed and start == gzipped.MAGIC:
            raise ImageError("It is gzipped; rename it to .nii.gz.")
        head = gzipped.first_bytes(file, 540) if packed else start + file.read(538)
    order, length = _LENGTHS.get(head[:4], ("<", 348))
    if head[:4] not in _LENGTHS or len(head) < length:
        raise ImageError("It is no NIfTI volume; remove it.")
    form, place, type_place, magic = _FIELDS[length]
    if head[magic : magic + 2] == b"ni":
        raise ImageError("It is the header of a pair (.hdr and .img) without the values; save both as one .nii.")
    if head[magic : magic + 2] != b"n+":
        raise ImageError("It is no NIfTI volume, perhaps one of its predecessor Analyze; save it as NIfTI.")
    offset = struct.unpack_from(order + form, head, place)[0]
    if not length <= offset <= _MOST_HEADER:
        raise ImageError("It claims a header of an impossible length and was not read; save it anew.")
    (code,) = struct.unpack_from(order + "h", head, type_place)
    if code in _NOT_HELD:
        raise ImageError(f"It holds {_NOT_HELD[code]}; convert it to one of {_KNOWN}.")
    return head[:length]


_kept: OrderedDict[_Key, Array] = OrderedDict()
_keeping = threading.Lock()


def _unpacked(key: _Key, volume: _Volume) -> Array:
    """Return all numbers of a gzipped volume, as bytes; the last volumes are cached.

    The cache holds two, if together they are no larger than the largest volume, or any number of small ones. Threads
    wait for one another, so that a volume is unpacked once.
    """
    with _keeping:
        if key not in _kept:
            while _kept and not _fits(volume.num_bytes):
                _kept.popitem(last=False)
            with key[0].open("rb") as file:
                _kept[key] = gzipped.unpack(file, volume.start, volume.num_bytes)
        _kept.move_to_end(key)
        return _kept[key]


def _fits(size: int) -> bool:
    total = size + sum(numbers.nbytes for numbers in _kept.values())
    return total <= (MAX_BYTES if len(_kept) < 2 else _MOST_KEPT)


def _shape(header: Any) -> tuple[int, int, int]:
    """Return rows, columns and slices; axes beyond the third are slices too. Raises ImageError for a single axis."""
    shape = tuple(map(int, header.get_data_shape()))
    if len(shape) < 2 or min(shape) < 1:
        raise ImageError(f"It has the shape {shape}, which has no slice; remove it.")
    slices = math.prod(shape[2:])
    if slices > MAX_SLICES:
        raise ImageError(f"It has {slices:,} slices, more than the limit of {MAX_SLICES:,}; split it.")
    return shape[0], shape[1], slices


def _axes(header: Any) -> str:
    """Return the directions of the array's axes (down, right, next slice), as in "RAS (axial slices)".

    By the sform if its code is set, else by the qform, as the standard's own library and nibabel do; "" if neither
    is set or an axis has no direction.
    """
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        return ""
    nibabel = extra("nibabel", "Reading NIfTI")
    try:
        with np.errstate(all="ignore"):
            codes = nibabel.aff2axcodes(header.get_best_affine())
    except (ValueError, nibabel.spatialimages.HeaderDataError):  # no rotation, or NaN
        return ""
    return f"{''.join(codes)} ({_PLANES[codes[2]]} slices)" if None not in codes else ""


def _is_measured(header: Any) -> bool:
    """Return whether the header sets the size or position of a voxel to other values than the defaults."""
    placed = int(header["sform_code"]) or int(header["qform_code"])
    return bool(placed) or any(float(zoom) != 1 for zoom in header["pixdim"][1:4])
