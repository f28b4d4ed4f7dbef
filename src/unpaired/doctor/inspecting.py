"""One look at one file: whether training can read it, what is in it, and the digests by which files are compared."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unpaired.data.minority import alpha_is_a_band
from unpaired.errors import UnpairedError
from unpaired.images import (
    FORMATS,
    MAX_PIXELS,
    Image,
    ImageHeader,
    is_image_name,
    read_header,
    read_image,
    resize,
)
from unpaired.images.foreign import JUNK_NAMES, what_is
from unpaired.images.headers import orientation_in
from unpaired.images.kinds import HEAD_BYTES, kind_of
from unpaired.images.labels import Part, label_parts
from unpaired.images.predicates import file_digest, is_flat, is_grey, over_background
from unpaired.storage import shown

THUMB = 32
"""Side of the thumbnails by which pictures are compared."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look found. `fault` is the code of what keeps the file out of training, "" where it is sound.

    reason: why, for a person. kind: the kind of the content, "" where unknown. The rest is of sound images alone:
    their header, whether they are one colour all over, or grey in content, the least and largest level of more than 8
    bits without no data, whether their alpha looks like a measurement, which parts are maps of classes, EXIF
    orientation, SHA-256 of the file and of the decoded pixels, and a thumbnail `THUMB` x `THUMB` x 3.
    """

    path: Path
    fault: str = ""
    reason: str = ""
    kind: str = ""
    header: ImageHeader | None = None
    flat: bool = False
    grey: bool = False
    levels: tuple[float, float] = (0, 255)
    alpha_is_a_band: bool = False
    labels: frozenset[Part] = frozenset()
    orientation: int = 1
    file_sha256: str = ""
    pixel_sha256: str = ""
    thumb: Pixels | None = None


def look_at(path: Path, background: tuple[int, int, int] = (255, 255, 255)) -> Seen:
    """Return what is found at `path`; never raises for what a file may hold, and never waits for a pipe."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Seen(path=path, fault="not_a_file", reason="a pipe, a socket or a device")
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
            fault, reason = _fault_by_content(path, kind, os.fstat(file.fileno()).st_size)
            if fault:
                return Seen(path=path, fault=fault, reason=reason, kind=kind)
            return _decoded(path, kind, file, background)
    except OSError as error:
        fault = "not_a_file" if path.is_symlink() and not path.exists() else "unreadable"
        reason = "a link that leads nowhere" if fault == "not_a_file" else str(error.strerror or error)
        return Seen(path=path, fault=fault, reason=reason)


def is_junk(path: Path, kind: str = "") -> bool:
    """Return whether a file is what desktops leave behind in folders."""
    return path.name.lower() in JUNK_NAMES or path.name.startswith("._") or kind in ("AppleDouble", "folder settings")


def thumbnail(image: Image, size: tuple[int, int] = (THUMB, THUMB)) -> Pixels:
    """Return an opaque image as 8-bit colour of `size` (h, w), whatever its shape, depth and channels."""
    pixels = resize(image, size).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> max(int(pixels.max()).bit_length() - 8, 0)).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.nan_to_num(pixels.astype(np.float64))
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2))


def _fault_by_content(path: Path, kind: str, num_bytes: int) -> tuple[str, str]:
    """Return the fault that needs no decoder, and the reason; "" for what should be decoded."""
    read = is_image_name(path)
    if is_junk(path, kind):
        return ("junk_image" if read else "junk"), kind or path.name
    if not read:
        foreign = what_is(path)
        if foreign is None:
            return ("passed_over" if kind in FORMATS.content_kinds else "other"), kind or path.suffix
        return ("passed_over" if foreign.in_pictures else "other"), foreign.described
    if num_bytes == 0:
        return "empty", "0 bytes"
    if kind == "Git LFS pointer":
        return "lfs_pointer", f"{num_bytes} bytes of text"
    known = FORMATS.named(path)
    if kind not in FORMATS.content_kinds and (known is None or known.by_content):  # other formats judge themselves
        return "not_an_image", f"its content is {kind}" if kind else "its content is of no known kind"
    return "", ""


def _decoded(path: Path, kind: str, file: BinaryIO, background: tuple[int, int, int]) -> Seen:
    """Decode an image whose first bytes are those of a known format."""
    try:
        header = read_header(path)
        if header.width * header.height > MAX_PIXELS:
            reason = f"{header.width} x {header.height} pixels, more than the limit of {MAX_PIXELS:,}"
            return Seen(path=path, fault="too_large", reason=reason, kind=kind)
        given = read_image(path)
        image = over_background(given, background)
    except UnpairedError as error:
        return Seen(path=path, fault=_fault_of(str(error)), reason=_reason(path, error), kind=kind)
    thumb = thumbnail(image)
    grey = is_grey(image)
    return Seen(
        path=path,
        kind=kind,
        header=header,
        flat=is_flat(image),
        grey=grey,
        levels=(0, 255) if image.pixels.dtype == np.uint8 else _levels(given),
        alpha_is_a_band=alpha_is_a_band(path, given),
        labels=label_parts(image),
        orientation=orientation_in(file, kind),
        file_sha256=file_digest(file),
        pixel_sha256=_pixel_digest(image, grey),
        thumb=thumb,
    )


def _levels(image: Image) -> tuple[float, float]:
    """Return the least and the largest value of an image that counts."""
    values = image.measured
    return (float(values.min()), float(values.max())) if values.size else (0, 0)


def _fault_of(message: str) -> str:
    """Return the code for what `unpaired.images` said of a file whose first bytes are those of an image."""
    words = {
        "more pixels": "too_large",
        "more than the limit": "too_large",
        "holds no picture": "not_an_image",
        "NaN or infinite": "non_finite",
        "no image of a known format": "not_an_image",
        "by another name": "not_an_image",
        "damaged": "damaged",
        "cut short": "damaged",
        "are missing": "damaged",
        "not decoded": "damaged",
        "Cannot open": "unreadable",
    }
    return next((fault for word, fault in words.items() if word in message), "unsupported")


def _reason(path: Path, error: UnpairedError) -> str:
    """Return what an error says is wrong, without the file's name and the remedy, which stand beside it."""
    return str(error).replace(shown(path), "").split(";")[0].strip(": ").rstrip(".")


def _pixel_digest(image: Image, grey: bool) -> str:
    """Return a SHA-256 of the pixels: equal for a picture in two lossless files, in grey with one channel or three."""
    pixels: NDArray[Any] = image.pixels
    if grey and image.channels == 3 and (pixels[:, :, :1] == pixels).all():
        pixels = pixels[:, :, :1]
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.str}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
