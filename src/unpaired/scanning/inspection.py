"""The inspection of one file: it is decoded once and described by the facts that training and the doctor use."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unpaired.errors import UnpairedError
from unpaired.images import Image, ImageHeader
from unpaired.images.files import header_of, image_of, opened
from unpaired.images.headers import orientation_in
from unpaired.images.kinds import HEAD_BYTES, kind_of
from unpaired.images.labels import Part, label_parts
from unpaired.scanning.file_faults import fault_by_content, fault_by_error, fault_by_size
from unpaired.scanning.predicates import alpha_is_a_band, file_digest, is_flat, is_grey, over_background
from unpaired.scanning.thumbnails import Pixels, thumbnail

Background = tuple[int, int, int]
"""Red, green and blue in 0..255 under transparent images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspected:
    """The facts about one file, or about one image in it.

    The first group is of files that cannot be used, the second of every decoded image, the third of `inspect_file`
    alone: it costs about as much again as decoding.
    """

    path: Path
    fault: str = ""
    """Code of the fault that keeps the file out of training; "" for a sound file."""
    reason: str = ""
    """Why the file has the fault, as a phrase."""

    height: int = 0
    width: int = 0
    channels: int = 0
    """Number of colour channels, without alpha."""
    dtype: str = ""
    has_alpha: bool = False
    flat: bool = False
    """Whether the image is one colour all over."""
    grey: bool = False
    """Whether the image has no colour: one channel, or three equal ones."""
    alpha_is_a_band: bool = False
    """Whether the alpha of a TIFF looks like a measurement."""

    kind: str = ""
    """Kind of the content by the first bytes of the file; "" if unknown."""
    header: ImageHeader | None = None
    levels: tuple[float, float] = (0, 255)
    """Least and largest value, without no data, of an image of more than 8 bits."""
    labels: frozenset[Part] = frozenset()
    """Parts that are label maps."""
    orientation: int = 1
    """EXIF orientation in 1..8."""
    file_sha256: str = ""
    pixel_sha256: str = ""
    """Digest of the decoded pixels: equal for one picture in two lossless files."""
    thumb: Pixels | None = None
    """Thumbnail `THUMB` x `THUMB` x 3."""


def inspect_image(path: Path, read: Callable[[], Image], background: Background) -> Inspected:
    """Decode one image and return the facts that training uses: no digest, no thumbnail.

    read: returns the image, which may be a slice or a half of the file `path`. Raises as `read` does.
    """
    image = read()
    return _described(path, image, over_background(image, background))


def inspect_file(path: Path, background: Background = (255, 255, 255)) -> Inspected:
    """Open and decode one file and return all facts; never raises for its content and never blocks on a pipe."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Inspected(path=path, fault="not_a_file", reason="a pipe, a socket or a device")
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
            fault, reason = fault_by_content(path, kind, os.fstat(file.fileno()).st_size)
            if fault:
                return Inspected(path=path, fault=fault, reason=reason, kind=kind)
            return _decoded(path, kind, file, background)
    except OSError as error:
        fault = "not_a_file" if path.is_symlink() and not path.exists() else "unreadable"
        reason = "a link that leads nowhere" if fault == "not_a_file" else str(error.strerror or error)
        return Inspected(path=path, fault=fault, reason=reason)


def _decoded(path: Path, kind: str, file: BinaryIO, background: Background) -> Inspected:
    """Decode an image whose first bytes are those of a known format; file: opened, for its bytes alone."""
    try:
        header, image = _header_and_image(path)
        if image is None:
            fault, reason = fault_by_size(header)
            return Inspected(path=path, fault=fault, reason=reason, kind=kind)
        opaque = over_background(image, background)
    except UnpairedError as error:
        fault, reason = fault_by_error(path, error)
        return Inspected(path=path, fault=fault, reason=reason, kind=kind)
    described = _described(path, image, opaque)
    return replace(
        described,
        kind=kind,
        header=header,
        levels=(0, 255) if opaque.dtype == np.uint8 else _levels(image),
        labels=label_parts(opaque),
        orientation=orientation_in(file, kind),
        file_sha256=file_digest(file),
        pixel_sha256=_pixel_digest(opaque, described.grey),
        thumb=thumbnail(opaque),
    )


def _header_and_image(path: Path) -> tuple[ImageHeader, Image | None]:
    """Return the header and the image of a file that is opened once; None for an image of too many pixels."""
    with opened(path) as (file, known):
        header = header_of(path, file, known)
        if fault_by_size(header)[0]:
            return header, None
        file.seek(0)
        return header, image_of(path, file, known)


def _described(path: Path, image: Image, opaque: Image) -> Inspected:
    """Return the facts of a decoded image; opaque: the same one over its background."""
    return Inspected(
        path=path,
        height=image.height,
        width=image.width,
        channels=image.channels,
        dtype=str(image.dtype),
        has_alpha=image.alpha is not None,
        flat=is_flat(opaque),
        grey=is_grey(opaque),
        alpha_is_a_band=alpha_is_a_band(path, image),
    )


def _levels(image: Image) -> tuple[float, float]:
    """Return the least and the largest value of an image, without no data; zeros if it has no data only."""
    values = image.measured
    return (float(values.min()), float(values.max())) if values.size else (0, 0)


def _pixel_digest(image: Image, grey: bool) -> str:
    """Return a SHA-256 of the pixels: equal for an image in two lossless files, for grey in one channel or three."""
    pixels: NDArray[Any] = image.pixels
    if grey and image.channels == 3 and (pixels[:, :, :1] == pixels).all():
        pixels = pixels[:, :, :1]
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.str}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
