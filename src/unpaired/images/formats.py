"""The kinds of image files: which are read, which are written, and what a file says of itself before it is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Pillow's names of the only parsers it may give a file to. MPO, the JPEG of phones, comes in through JPEG."""

VOLUMES = (".nii", ".nii.gz")
"""Suffixes of files that hold a stack of images, its slices."""

DICOM = ".dcm"
"""The suffix by which DICOM files are known."""

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

_READ_ONLY = (".jpe", ".jfif", ".mpo", ".gif", ".dib", ".pnm", ".pbm", ".pgm")

IMAGE_SUFFIXES = frozenset({*WRITABLE, *VOLUMES, DICOM, *_READ_ONLY})
"""Suffixes, in lower case, by which folders are searched for images."""

MAX_PIXELS = 2**27
"""Largest picture that is decoded unless asked otherwise: 134 megapixels, above every camera on sale."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture before a pixel is decoded; the size is the one after EXIF orientation.

    mode is Pillow's name, or "" where another library reads the file; channels counts colours, without alpha; depth
    is bits a channel; dtype is the type of the `Image` that it becomes; frames counts the slices of a volume.
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


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file in lower case; that of x.nii.gz is .nii.gz."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one that folders are searched for, by its suffix."""
    return suffix_of(path) in IMAGE_SUFFIXES


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a stack of images, by its suffix."""
    return suffix_of(path) in VOLUMES


def keeps_alpha(suffix: str) -> bool:
    """Return whether files of this suffix can hold transparency."""
    return WRITABLE.get(suffix.lower()) in ("PNG", "WEBP", "TIFF")
