"""Images in files: which formats are read, what is refused and why, and writing whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

# Pillow loads every parser it has when it misses one: the wanted ones are loaded here, and no other.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)

from unpaired.errors import ImageError, OutputError
from unpaired.images.image import Image, orientation_of
from unpaired.storage import shown, write_bytes

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Pillow's names of the only parsers a file is given to. MPO, the JPEG of phones, comes in through JPEG."""

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
"""Suffixes, in lower case, that `write_image` understands, with Pillow's name of the format."""

IMAGE_SUFFIXES = frozenset({*WRITABLE, ".jpe", ".jfif", ".mpo", ".gif", ".dib", ".pnm", ".pbm", ".pgm"})
"""Suffixes, in lower case, by which folders are searched for images."""

MAX_PIXELS = 2**27
"""Largest picture that is decoded unless asked otherwise: 134 megapixels, above every camera on sale."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture before a pixel is decoded; the size is the one after EXIF orientation.

    mode and format are Pillow's names; channels counts colours, without alpha; depth is bits a channel.
    """

    width: int
    height: int
    mode: str
    channels: int
    has_alpha: bool
    depth: int
    format: str


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Return the header of an image file without decoding its pixels.

    Raises ImageError for a file that is missing, is no image, or is of a format outside `FORMATS`.
    """
    with _opened(Path(path)) as (picture, depth, file):
        if picture.format == "PNG" and "exif" not in picture.info:
            _find_late_exif(picture, file)
        width, height = picture.size
        if picture.format != "TIFF" and orientation_of(picture) >= 5:  # Pillow has turned a TIFF's size
            width, height = height, width
        grey = picture.mode in ("1", "L", "LA", "La") or _is_deep(picture)
        return ImageHeader(
            width=width,
            height=height,
            mode=picture.mode,
            channels=1 if grey else 3,
            has_alpha=picture.has_transparency_data,
            depth=depth,
            format=picture.format or "",
        )


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read the first frame of an image file, upright, in its own depth, its transparency as alpha.

    Raises ImageError, one sentence with the name, the fault and the remedy: no image, truncated, more than
    `max_pixels` (said by the header, before any pixel is decoded; Pillow's own limit of 179 megapixels holds
    too), or of a depth that Pillow would silently reduce to 8 bits.
    """
    path = Path(path)
    with _opened(path) as (picture, depth, _):
        if picture.width * picture.height > max_pixels:
            raise ImageError(
                f"{shown(path)} has {picture.width} x {picture.height} pixels, more than the limit of "
                f"{max_pixels:,}; scale it down or raise max_pixels."
            )
        if depth > 8 and not _is_deep(picture):
            raise ImageError(
                f"{shown(path)} has {depth} bits a channel, of which only 8 would be read; "
                "convert it to 8 bits or to 16-bit grey, or pip install 'unpaired[sci]'."
            )
        try:
            return Image.from_pil(picture)
        except ImageError as error:
            raise ImageError(f"{shown(path)}: {error}") from None


def write_image(path: str | os.PathLike[str], image: Image, *, quality: int = 95) -> None:
    """Write `image` in the format of the suffix, whole or not at all; no metadata is written.

    quality (1 to 100) is for JPEG and WebP. 16 bits fit PNG, and TIFF in grey without alpha. Raises
    OutputError where the suffix is unknown, the format cannot hold the picture or the place refuses files,
    StorageError where the disk fails or is full; no part of a file is left behind.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise OutputError(f"Cannot write {shown(path)}: choose a name that ends in {', '.join(WRITABLE)}.")
    if image.channels not in (1, 3):
        raise OutputError(f"Cannot write {shown(path)}: images of {image.channels} channels have no format here.")
    if image.alpha is not None and not keeps_alpha(suffix):
        raise OutputError(f"{shown(path)} cannot keep transparency; write .png, or use image.over(color) first.")
    deep = image.dtype == np.uint16
    if deep and WRITABLE[suffix] == "PNG":
        write_bytes(path, _png16(image))
        return
    if deep and (WRITABLE[suffix] != "TIFF" or image.interleaved.shape[2] > 1):
        raise OutputError(f"{shown(path)} cannot keep these 16 bits a channel; write .png.")
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0 if quality >= 90 else 2},
        "WEBP": {"quality": quality, "exact": True},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    encoded = io.BytesIO()
    image.to_pil().save(encoded, format=WRITABLE[suffix], **options.get(WRITABLE[suffix], {}))
    write_bytes(path, encoded.getvalue())


def keeps_alpha(suffix: str) -> bool:
    """Return whether files of this suffix can hold transparency."""
    return WRITABLE.get(suffix.lower()) in ("PNG", "WEBP", "TIFF")


def _png16(image: Image) -> bytes:
    """Encode 16 bits a channel, in grey or colour, with or without alpha; Pillow writes only grey so."""
    array = image.interleaved.astype(">u2")
    rows = array.reshape(image.height, -1).view(np.uint8)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # PNG's filter 2, modulo 256
    data = np.concatenate([np.full((image.height, 1), 2, np.uint8), up], axis=1).tobytes()
    color = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", image.width, image.height, 16, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[PIL.Image.Image, int, BinaryIO]]:
    """Open a file as a Pillow image, with its bits a channel; every failure inside becomes an ImageError."""
    name = shown(path)
    try:
        _refuse_special(path)
        with path.open("rb") as file, _quiet():
            head = file.read(64)
            _refuse_impostors(name, head)
            with PIL.Image.open(file, formats=FORMATS) as picture:
                yield picture, _depth(picture, head), file
    except ImageError:
        raise
    except PIL.UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise ImageError(f"{name} is no image of a known format ({known}), or damaged; remove it.") from None
    except PIL.Image.DecompressionBombError:
        raise ImageError(f"{name} claims more pixels than pictures have and was not decoded; remove it.") from None
    except Exception as error:  # damaged files make parsers fail in every way Python knows
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(f"Cannot open {name}: {error.strerror}; check its name and permissions.") from None
        reason = " ".join(shown(error).split()).rstrip(".") or type(error).__name__
        raise ImageError(f"{name} is damaged or cut short ({reason}); replace or remove it.") from None


def _refuse_special(path: Path) -> None:
    # A pipe or a device would be waited for, perhaps for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ImageError(f"{shown(path)} is not a regular file; give an image file.")


def _refuse_impostors(name: str, head: bytes) -> None:
    if not head:
        raise ImageError(f"{name} is empty (0 bytes); fetch it again or remove it.")
    if head.startswith(b"version https://git-lfs"):
        raise ImageError(f"{name} is a Git LFS pointer, not the image; run `git lfs pull` where it came from.")


def _is_deep(picture: PIL.Image.Image) -> bool:
    """Return whether Pillow holds the picture in one channel of more than 8 bits."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _depth(picture: PIL.Image.Image, head: bytes) -> int:
    """Return the bits a channel that the file holds, at times more than those of Pillow's mode."""
    if picture.format == "PNG":
        return head[24]  # IHDR comes first: 8 bytes signature, 4 length, 4 name, 4 width, 4 height
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return int(max(picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    if isinstance(picture, PpmImagePlugin.PpmImageFile) and picture.mode != "F":
        arguments = picture.tile[0][3]
        if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
            return arguments[-1].bit_length()  # the largest value that the header declares
    return {"1": 1, "I": 16, "F": 32}.get(picture.mode, 8)


def _find_late_exif(picture: PIL.Image.Image, file: BinaryIO) -> None:
    """Give a PNG the EXIF chunk that may stand behind its pixels, walking over the chunks' headers only."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4])
        if head[4:] == b"eXIf":
            picture.info["exif"] = b"Exif\0\0" + file.read(length)
            return
        file.seek(length + 4, os.SEEK_CUR)


_quiet_lock = threading.Lock()
_quiet_filters = contextlib.ExitStack()
_quiet_count = 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd files from the user: what matters is raised.

    Filters belong to the whole process, so that of several threads the first sets them, the last restores.
    """
    global _quiet_count
    with _quiet_lock:
        if _quiet_count == 0:
            _quiet_filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_count += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_count -= 1
            if _quiet_count == 0:
                _quiet_filters.close()
