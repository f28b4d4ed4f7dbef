"""Reading and writing image files: choice of the reader, refusals with their reason, atomic writing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unpaired.errors import ImageError, OutputError, UnpairedError
from unpaired.images.contracts import check_header, check_image, refused, writing
from unpaired.images.foreign import foreign_by_content, refusal
from unpaired.images.formats import HEAD_BYTES, MAX_PIXELS, Admit, ImageHeader, Target
from unpaired.images.guards import refuse_overlong
from unpaired.images.image import Image
from unpaired.images.profiles import space_of
from unpaired.images.quiet import quiet
from unpaired.images.refusals import named, refusal_of, refuse_impostors, refuse_special, unknown_format
from unpaired.images.registered import FORMATS, Known, is_volume_name, suffix_of
from unpaired.storage import shown, write_bytes

Refuse = Callable[[int, int], None]
"""Raises for an image of a width and a height."""

_ICC_SPACES = {1: "GRAY", 3: "RGB"}
_MOST_VALUES = 4  # numbers allowed per pixel of the limit: red, green, blue and alpha


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Return the header of an image file without decoding its pixels.

    Raises ImageError if the file is missing, is no image or has a format that is not read; MissingExtraError if it
    needs an optional library.
    """
    path = Path(path)
    with opened(path) as (file, known):
        return header_of(path, file, known)


def header_of(path: Path, file: BinaryIO, known: Known) -> ImageHeader:
    """Return the header of an open file; raises ImageError if a third-party format violates its contract."""
    header = known.format.read_header(path, file)
    if known.origin is not None:
        check_header(known, header)
    return header


def count_slices(path: str | os.PathLike[str]) -> int:
    """Return the number of slices in a file: 1 for a single image, more for a volume or a stack.

    Only files of kinds that can hold a stack are opened. Raises as `read_header` does.
    """
    known = FORMATS.named(path)
    return read_header(path).frames if known is not None and known.stacks else 1


def is_stack(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is read and written slice by slice: a volume, or an image file of several slices.

    False for a file that cannot be read; reading it raises the error.
    """
    if is_volume_name(path):
        return True
    try:
        return count_slices(path) > 1
    except UnpairedError:
        return False


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, frame: int = 0) -> Image:
    """Read an image file upright and in its own type, with transparency as alpha and with its ICC profile.

    frame: the slice of a volume or a stack; of an animation the first frame is read.
    max_pixels: the limit of the size, checked by the header before decoding. Pillow's limit of 179 megapixels applies
    too.

    Raises ImageError, one sentence with the name, the fault and the fix, if the file is no image, truncated or too
    large, if its type cannot be held, or if it has NaN or infinite values that are not declared as no data. Raises
    MissingExtraError if the format needs an optional library.
    """
    path = Path(path)
    with opened(path) as (file, known):
        return image_of(path, file, known, frame, max_pixels)


def read_image_if(path: Path, refuse: Refuse, *, max_pixels: int = MAX_PIXELS, frame: int = 0) -> Image:
    """Do as `read_image`; `refuse` is called with the width and height in the header, and raises before decoding."""
    with opened(path) as (file, known):
        return image_of(path, file, known, frame, max_pixels, refuse)


def image_of(
    path: Path,
    file: BinaryIO,
    known: Known,
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
    refuse: Refuse = lambda width, height: None,
) -> Image:
    """Return the image of a file that is open at its start; raises as `read_image_if` does."""

    def check(width: int, height: int, channels: int) -> None:
        refuse_large(path, max_pixels, width, height, channels)
        refuse(width, height)

    image = _read(path, file, known, frame, check)
    _refuse_non_finite(image)
    return image


def _read(path: Path, file: BinaryIO, known: Known, frame: int, check: Admit) -> Image:
    """Check the size of an open file and decode it. check: called with width, height, channels; raises ImageError."""
    if known.bounded is not None and known.origin is None:
        return known.bounded.read_bounded(path, file, frame, check)
    header = header_of(path, file, known)
    check(header.width, header.height, header.channels + header.has_alpha)
    file.seek(0)
    image = known.format.read(path, file, frame)
    if known.origin is not None:
        check_image(known, header, image)
    return image


def _refuse_non_finite(image: Image) -> None:
    """Raise ImageError if a value is NaN or infinite and not declared as no data."""
    if image.dtype.kind != "f":
        return
    bad = ~np.isfinite(image.interleaved)
    missing = image.missing
    if missing is not None:
        bad[:, :, : image.channels] &= ~missing
    if bad.any():
        row, column, _ = np.argwhere(bad)[0]
        count = int(bad.any(axis=2).sum())
        raise ImageError(
            f"It holds NaN or infinite values in {count:,} of {image.height * image.width:,} pixels (the first in row "
            f"{row}, column {column}); replace them by numbers, or declare them as no data if the format can."
        )


def write_image(
    path: str | os.PathLike[str], image: Image, *, quality: int = 95, like: str | os.PathLike[str] | None = None
) -> None:
    """Write `image` atomically in the format of the suffix and in its own type; of the metadata only the ICC profile.

    quality: 1 to 100, for JPEG and WebP; WebP at 100 is lossless.
    like: the file that the image comes from. A DICOM result takes its scaling and geometry from it, a NIfTI result of
    one slice its position, a WebP result whether it is lossless.

    Raises OutputError if the suffix is unknown, the format cannot hold the image or the folder refuses files;
    MissingExtraError if the format needs an optional library; StorageError if the disk fails or is full. No partial
    file is left behind.
    """
    write_bytes(Path(path), encode_image(path, image, quality=quality, like=like))


def encode_image(
    path: str | os.PathLike[str], image: Image, *, quality: int = 95, like: str | os.PathLike[str] | None = None
) -> bytes:
    """Return the bytes that `write_image` would write; safe to call from several threads.

    Raises as `write_image` does, except for faults of the folder and the disk.
    """
    path, like = Path(path), None if like is None else Path(like)
    known = FORMATS.named(path)
    if known is not None and known.needs_original and like is not None:
        original = FORMATS.named(like)
        if known.volumes or (original is not None and original.kind == known.kind):
            return encode_stack(path, [image], like=like)
    if known is None or suffix_of(path) not in FORMATS.writable:
        suffixes = ", ".join(FORMATS.writable)
        raise OutputError(
            f"Cannot write {shown(path)}: choose a name that ends in {suffixes}; .dcm is written from .dcm input only."
        )
    if image.alpha is not None and not known.alpha:
        raise OutputError(f"{shown(path)} cannot keep transparency; write .png, or use image.over(color) first.")
    image = _with_fitting_profile(path, known, image)
    _refuse_type(path, known, image)
    return _content(known, [image], Target(path=path, quality=quality, like=like))


def write_stack(path: str | os.PathLike[str], images: Sequence[Image], *, like: str | os.PathLike[str]) -> None:
    """Write slices as one file with the format, storage and geometry of `like`: NIfTI, TIFF or DICOM.

    Raises as `write_image` does; OutputError also if the suffix is of another format than `like`.
    """
    write_bytes(Path(path), encode_stack(path, images, like=like))


def encode_stack(path: str | os.PathLike[str], images: Sequence[Image], *, like: str | os.PathLike[str]) -> bytes:
    """Return the bytes that `write_stack` would write."""
    path, like = Path(path), Path(like)
    known, original = FORMATS.named(path), FORMATS.named(like)
    same = known is not None and original is not None and known.kind == original.kind
    if known is None or not same or not known.stacks or not known.writes:
        raise OutputError(f"Cannot write {shown(path)}: the slices of {shown(like)} are written in its own format.")
    if not known.needs_original:
        images = [_with_fitting_profile(path, known, image) for image in images]
    return _content(known, images, Target(path=path, like=like))


def _content(known: Known, images: Sequence[Image], target: Target) -> bytes:
    """Encode images with a format; raises OutputError if a third-party format fails."""
    assert known.writer is not None
    with writing(known, target.path):
        return bytes(known.writer.encode(images, target))


def _refuse_type(path: Path, known: Known, image: Image) -> None:
    """Raise OutputError if the format cannot hold the type or the channels of the image."""
    if known.holds(str(image.dtype), image.channels):
        return
    kind = f"{image.channels} channel{'s' if image.channels > 1 else ''} of {image.dtype}"
    other = ".png or .tif" if image.dtype == np.uint16 and image.channels in (1, 3) else ".tif"
    raise OutputError(f"{shown(path)} cannot keep {kind} without loss; write {other}.")


def _with_fitting_profile(path: Path, known: Known, image: Image) -> Image:
    """Return the image, without its profile if that is for another colour space.

    Raises OutputError for a format that cannot hold a profile.
    """
    if image.icc is None:
        return image
    if space_of(image.icc) != _ICC_SPACES.get(image.channels):
        return replace(image, icc=None)
    if not known.icc:
        raise OutputError(f"{shown(path)} cannot keep an ICC profile; write .png.")
    return image


def refuse_large(path: Path, max_pixels: int, width: int, height: int, channels: int) -> None:
    """Raise ImageError if an image has more pixels than the limit, or more than four values per pixel of the limit."""
    if width * height > max_pixels:
        raise ImageError(
            f"{shown(path)} has {width} x {height} pixels, more than the limit of {max_pixels:,}; scale it down"
            f"{_raise_it(max_pixels)}.",
            setting="max_pixels",
        )
    if width * height * channels > max_pixels * _MOST_VALUES:
        raise ImageError(
            f"{shown(path)} has {width} x {height} pixels of {channels} channels, more than the limit of "
            f"{max_pixels * _MOST_VALUES:,} numbers; cut it up{_raise_it(max_pixels)}.",
            setting="max_pixels",
        )


def _raise_it(max_pixels: int) -> str:
    """Return the advice to raise a limit below the largest one, else ""."""
    return " or raise max_pixels" if max_pixels < MAX_PIXELS else ""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, Known]]:
    """Open a file and yield it, at its start, with its format. Any failure in the block becomes an ImageError that
    names the file."""
    name = shown(path)
    known = None
    try:
        refuse_special(path)
        with path.open("rb") as file, quiet():
            head = file.read(HEAD_BYTES)
            refuse_impostors(path, head)
            known = FORMATS.of_file(path, head)
            if known is None or known.origin is None:  # third-party formats bound their own work
                refuse_overlong(name, head, file)
            _refuse_unread(path, known, head)
            file.seek(0)
            assert known is not None
            yield file, known
    except UnpairedError as error:
        raise named(error, path) from None
    except Exception as error:  # damaged files make parsers fail in every way Python knows
        if known is not None and known.origin is not None and not (isinstance(error, OSError) and error.errno):
            raise refused(known, path, error) from error
        raise refusal_of(error, path) from None


def _refuse_unread(path: Path, known: Known | None, head: bytes) -> None:
    """Raise ImageError for a file of unknown format, or with content of another format than its suffix requires."""
    if known is None:
        raise unknown_format(path)
    if known.by_content or known.content is None or known.content.recognises(head):
        return
    kind = foreign_by_content(path)
    if kind is not None:
        raise ImageError(refusal(path, kind))
