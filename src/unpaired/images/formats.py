"""The kinds of image files: which are read, which are written, and what a file says of itself before it is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Carried = Literal[
    "pages", "frames", "planes", "georeference", "pyramid", "physical size", "no-data", "band descriptions"
]
"""What a file can hold beside one picture: pages of other sizes (masks, thumbnails), frames of an animation, the
names of z, c and t axes, a place on the map, smaller copies, the size of a pixel, a no-data value, names of bands."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Pillow's names of the only parsers it may give a file to. MPO, the JPEG of phones, comes in through JPEG."""

VOLUMES = (".nii", ".nii.gz")
"""Suffixes of files that hold a stack of images, its slices."""

DICOM = ".dcm"
"""The suffix by which DICOM files are known."""

STACKS = (".tif", ".tiff", DICOM, *VOLUMES)
"""Suffixes of files that can hold a stack of images: each of its slices is an image."""

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
}
"""Suffixes, in lower case, that any image may be written under, with Pillow's name of the format."""

_KEEPERS: dict[str, tuple[Carried, ...]] = {
    "TIFF": ("planes", "georeference", "physical size", "no-data"),
    "DICOM": ("planes", "physical size", "no-data"),
    "NIFTI": ("planes", "georeference", "physical size", "no-data"),
}
_READ_ONLY = (".jpe", ".jfif", ".mpo", ".gif", ".dib", ".pnm", ".pbm", ".pgm")

IMAGE_SUFFIXES = frozenset({*WRITABLE, *VOLUMES, DICOM, *_READ_ONLY})
"""Suffixes, in lower case, by which folders are searched for images."""

MAX_PIXELS = 2**27
"""Largest picture that is decoded unless asked otherwise: 134 megapixels, above every camera on sale."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture before a pixel is decoded; the size is the one after EXIF orientation.

    mode is Pillow's name, or "" where another library reads the file; channels counts colours, without alpha; depth
    is bits a channel; dtype is the type of the `Image` that it becomes; frames counts the slices of a stack or a
    volume. nodata is the value that stands for no data, None if none is declared; carries names what else the file
    holds, of which `lost` says what a result cannot keep. axes places the slices of a volume in space, "" if unknown:
    volumes of equal text have the same orientation.
    """

    width: int
    height: int
    mode: str
    channels: int
    has_alpha: bool
    depth: int
    format: str
    dtype: str = "uint8"
    frames: int = 1
    nodata: float | None = None
    carries: frozenset[Carried] = frozenset()
    axes: str = ""


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file in lower case; that of x.nii.gz is .nii.gz."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one that folders are searched for, by its suffix."""
    return suffix_of(path) in IMAGE_SUFFIXES


def lost(header: ImageHeader, suffix: str) -> frozenset[Carried]:
    """Return what a file carries that a result with this suffix cannot keep.

    A result of another format keeps nothing of it: what a place on the map or a no-data value means is the format's.
    """
    formats = {**WRITABLE, DICOM: "DICOM", **dict.fromkeys(VOLUMES, "NIFTI")}
    same = formats.get(suffix.lower()) == header.format
    return header.carries - frozenset(_KEEPERS.get(header.format, ()) if same else ())


def keeps_alpha(suffix: str) -> bool:
    """Return whether files of this suffix can hold transparency."""
    return WRITABLE.get(suffix.lower()) in ("PNG", "WEBP", "TIFF")
