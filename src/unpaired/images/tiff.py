"""TIFF beyond what Pillow holds: colours of 16 bits, any number of channels, signed numbers and floats, by tifffile.

The first page is the picture. Channels that the file calls alpha are alpha; premultiplied alpha is refused, as taking
it apart would not give the values back.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffImagePlugin

from unpaired.errors import ImageError
from unpaired.images.extras import extra
from unpaired.images.formats import ImageHeader
from unpaired.images.image import _TURNS, HELD, Image, turned

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF and BigTIFF files begin."""

_UNSIGNED, _STRAIGHT, _PREMULTIPLIED = 1, 2, 1
_ORIENTATION, _ICC, _SAMPLE_FORMAT = 274, 34675, 339
_GREY_OR_RGB = (0, 1, 2)  # of the tag PhotometricInterpretation


def is_beyond_pillow(file: BinaryIO) -> bool:
    """Return whether Pillow would refuse the first picture of a TIFF file, or lose some of it."""
    file.seek(0)
    head = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head + file.read(8) if head[2:4] in (b"+\0", b"\0+") else head)
    file.seek(tags.next)
    tags.load(file)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    formats = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    extras = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    kind = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1)
    samples = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    if set(formats) != {_UNSIGNED} or max(bits) > 16:
        return True
    if max(bits) > 8:
        return samples > 1
    return kind in _GREY_OR_RGB and (samples - len(extras) not in (1, 3) or extras not in ((), (1,), (2,)))


def read_header(file: BinaryIO) -> ImageHeader:
    """Return what the first page says; nothing is decoded."""
    with _opened(file) as tiff:
        page = tiff.pages[0]
        channels, has_alpha, _ = _layout(page)
        height, width = page.imagelength, page.imagewidth
        if _TURNS[_orientation(page)][0]:
            height, width = width, height
        return ImageHeader(width, height, "", channels, has_alpha, page.bitspersample, "TIFF", str(page.dtype))


def read(file: BinaryIO, frame: int = 0) -> Image:
    """Decode the first page, upright."""
    with _opened(file) as tiff:
        page = tiff.pages[0]
        _, has_alpha, last = _layout(page)
        _refuse_missing(page)
        array = page.asarray(maxworkers=1)
        array = array.reshape(page.imagelength, page.imagewidth, -1) if last else array.transpose(1, 2, 0)
        array = np.ascontiguousarray(array, dtype=page.dtype)
        icc = page.tags.valueof(_ICC)
        if has_alpha:
            image = Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]), icc)
        else:
            image = Image(array, icc=icc)
        return turned(image, _orientation(page))


def has_more_to_keep(image: Image, like: Path | None) -> bool:
    """Return whether a result takes something from the file that it comes from."""
    return False


def encode(images: Sequence[Image], icc: bytes | None, like: Path | None = None) -> bytes:
    """Return a TIFF file of an image of any type and number of channels, compressed without loss, without metadata."""
    (image,) = images
    array, encoded = image.interleaved, io.BytesIO()
    colours = 3 if image.channels == 3 else 1
    extras = [0] * (image.channels - colours) + ([_STRAIGHT] if image.alpha is not None else [])
    extra("tifffile", "Writing TIFF of these values").imwrite(
        encoded,
        array if array.shape[2] > 1 else array[:, :, 0],
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if array.shape[2] > 1 else None,
        extrasamples=extras or None,
        compression="adobe_deflate",
        metadata=None,
        software=False,
        iccprofile=icc,
    )
    return encoded.getvalue()


def _opened(file: BinaryIO) -> Any:
    file.seek(0)
    return extra("tifffile", "Reading TIFF of more than 8 bits in colour, or of other channels").TiffFile(file)


def _layout(page: Any) -> tuple[int, bool, bool]:
    """Return the number of channels, whether alpha follows them, and whether they stand last in the array.

    Raises ImageError for what is no single picture, and for types and alphas that cannot be held.
    """
    if page.axes not in ("YX", "YXS", "SYX") or page.photometric not in _GREY_OR_RGB:
        raise ImageError(f"Its pixels are arranged as {page.axes} in {page.photometric.name}; save grey, RGB or bands.")
    if page.dtype is None or np.dtype(page.dtype) not in HELD:
        known = ", ".join(map(str, HELD))
        raise ImageError(f"It holds {page.dtype or 'values of mixed sizes'}; convert it to one of {known}.")
    extras = tuple(page.extrasamples)
    if _PREMULTIPLIED in extras:
        raise ImageError("Its colours are multiplied by their alpha; save it with straight (unassociated) alpha.")
    has_alpha = len(extras) > 0 and extras[-1] == _STRAIGHT
    # Tiles may be larger than the picture, and each is decoded whole.
    if page.is_tiled and page.tilewidth * page.tilelength > 4 * max(page.imagewidth * page.imagelength, 2**20):
        raise ImageError("It claims tiles far larger than the picture and was not decoded; save it anew.")
    return int(page.samplesperpixel) - has_alpha, has_alpha, page.axes != "SYX"


def _refuse_missing(page: Any) -> None:
    """Raise ImageError where strips or tiles are absent, which would be read as zeros."""
    wanted, counts = math.prod(page.chunked), page.databytecounts
    if min(len(counts), len(page.dataoffsets)) < wanted or not all(counts[:wanted]):
        raise ImageError("Some of its strips or tiles are missing; fetch it again or remove it.")
    if page.compression == 1 and sum(counts) < page.nbytes:
        raise ImageError("It is cut short: it holds fewer bytes than its size asks for; fetch it again.")


def _orientation(page: Any) -> int:
    value = page.tags.valueof(_ORIENTATION, 1)
    return int(value) if value in _TURNS else 1
