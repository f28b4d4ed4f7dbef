"""The formats that Pillow reads and writes; `deep` handles 16 bits per channel in colour, which Pillow cannot hold."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

# Pillow loads all its parsers if one is missing: load the needed ones here, and no other.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)

from unpaired.errors import ImageError
from unpaired.images import deep
from unpaired.images.formats import Admit, Carried, ImageHeader, Target
from unpaired.images.headers import has_more_frames
from unpaired.images.image import Image, is_deep, orientation_of, turned

_GREY_OR_RGB = (1, 3)
_HEAD = 26  # bytes of a PNG up to its colour type


@dataclass(frozen=True, kw_only=True)
class PillowFormat:
    """A format that Pillow reads. kind: Pillow's name of it; parser: the name of Pillow's plugin.

    starts: signatures of its files; none if another format recognises them. The other fields are those of
    `ImageFormat`.
    """

    kind: str
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...] = ()
    writes: tuple[str, ...] = ()
    alpha: bool = False
    icc: bool = True
    dtypes: tuple[str, ...] = ("uint8",)
    carries: frozenset[Carried] = frozenset()
    by_content: bool = True
    channels: tuple[int, ...] = _GREY_OR_RGB

    def recognises(self, head: bytes) -> bool:
        """Return whether a file begins with a signature of this format."""
        return head.startswith(self.starts)

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return the header of the file."""
        head = file.read(_HEAD)
        with self._opened(file) as picture:
            if picture.format == "PNG" and "exif" not in picture.info:
                _find_late_exif(picture, file)
            width, height = picture.size
            if picture.format != "TIFF" and orientation_of(picture) >= 5:  # Pillow turns a TIFF's size
                width, height = height, width
            grey = picture.mode in ("1", "L", "LA", "La") or is_deep(picture)
            depth = _depth(picture, head)
            # A PNG of 16 bits in grey and alpha has Pillow's mode RGBA: its colour type is 4.
            return ImageHeader(
                width=width,
                height=height,
                mode=picture.mode,
                channels=1 if grey or (picture.format == "PNG" and head[25] == 4) else 3,
                has_alpha=picture.has_transparency_data,
                depth=depth,
                format=picture.format or "",
                dtype="float32" if picture.mode == "F" else "uint16" if depth > 8 else "uint8",
                carries=frozenset({"pages"}) if picture.format == "MPO" else self.carried(file),
            )

    def carried(self, file: BinaryIO) -> frozenset[Carried]:
        """Return the contents beside the image, by the chunks of the file."""
        if self.carries and has_more_frames(file, self.kind):
            return frozenset({"frames"})
        return frozenset()

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return the image, or the first frame of an animation, without a size limit."""
        return self.read_bounded(path, file, frame, lambda width, height, channels: None)

    def read_bounded(self, path: Path, file: BinaryIO, frame: int, admit: Admit) -> Image:
        """Return the image if `admit` accepts its size."""
        head = file.read(_HEAD)
        with self._opened(file) as picture:
            admit(picture.width, picture.height, 1)
            if _depth(picture, head) <= 8 or is_deep(picture):
                return Image.from_pil(picture)
            file.seek(0)
            if picture.format == "PNG":
                if "exif" not in picture.info:
                    _find_late_exif(picture, file)
                    file.seek(0)
                image = deep.decode_png(file.read(), picture.info.get("icc_profile"))
                return turned(image, orientation_of(picture))
            if isinstance(picture, PpmImagePlugin.PpmImageFile) and head[:2] == b"P6":
                _, _, offset, arguments = picture.tile[0]
                assert isinstance(arguments, tuple)
                return deep.decode_ppm(file.read(), offset, picture.size, int(arguments[-1]))
            raise ImageError(
                "More than 8 bits per channel are not supported in this format; convert it to .png or .tif."
            )

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Encode the image with its profile and no other metadata."""
        (image,) = images
        if image.dtype == np.uint16:
            return deep.encode_png(image, image.icc) if self.kind == "PNG" else deep.encode_ppm(image)
        encoded = io.BytesIO()
        profile = {"icc_profile": image.icc} if image.icc else {}
        picture = replace(image, icc=None).to_pil()
        picture.save(encoded, format=self.kind, **self._options(target), **profile)
        return encoded.getvalue()

    def _options(self, target: Target) -> dict[str, Any]:
        """Return the options of Pillow's writer."""
        quality = target.quality
        if self.kind == "JPEG":
            return {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
        if self.kind == "WEBP":
            if target.like is not None and _is_lossless_webp(target.like):
                quality = 100
            return {"quality": quality, "exact": True, "lossless": quality == 100}
        return {}

    def _opened(self, file: BinaryIO) -> PIL.Image.Image:
        return PIL.Image.open(file, formats=("JPEG" if self.kind == "MPO" else self.kind,))


def _is_lossless_webp(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(2**16)
    except OSError:
        return False
    return head[8:12] == b"WEBP" and b"VP8L" in head


def _depth(picture: PIL.Image.Image, head: bytes) -> int:
    """Return the bits per channel of the file, which may exceed those of Pillow's mode."""
    if picture.format == "PNG":
        return head[24]  # IHDR is first: 8 bytes signature, 4 length, 4 name, 4 width, 4 height
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return int(max(picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    if isinstance(picture, PpmImagePlugin.PpmImageFile) and picture.mode != "F":
        arguments = picture.tile[0][3]
        if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
            return arguments[-1].bit_length()  # the largest value that the header declares
    return {"1": 1, "I": 16, "F": 32}.get(picture.mode, 8)


def _find_late_exif(picture: PIL.Image.Image, file: BinaryIO) -> None:
    """Load the EXIF chunk of a PNG that may follow its pixels; only the headers of chunks are read."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4])
        if head[4:] == b"eXIf":
            picture.info["exif"] = b"Exif\0\0" + file.read(length)
            return
        file.seek(length + 4, os.SEEK_CUR)
