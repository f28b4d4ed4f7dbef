"""The contract of third-party formats, checked at each call; a violation raises an error that names the format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unpaired.errors import ImageError, OutputError, UnpairedError
from unpaired.images.formats import ImageHeader
from unpaired.images.image import Image
from unpaired.images.registered import Known
from unpaired.storage import shown


def refused(known: Known, path: Path, error: Exception) -> ImageError:
    """Return the error for a file on which a third-party format failed with an exception other than UnpairedError."""
    return ImageError(
        f"{shown(path)} cannot be read as {shown(known.kind)} by {known.origin} ({_reason(error)}); replace or remove "
        "the file, or correct the format."
    )


@contextmanager
def writing(known: Known, path: Path) -> Iterator[None]:
    """Raise OutputError that names file and format if a third-party format fails in the body."""
    try:
        yield
    except (UnpairedError, OSError):
        raise
    except Exception as error:
        if known.origin is None:
            raise
        raise OutputError(
            f"{shown(path)} cannot be written as {shown(known.kind)} by {known.origin} ({_reason(error)}); write "
            "another format, or correct this one."
        ) from error


def check_header(known: Known, header: Any) -> None:
    """Raise ImageError if the header from a third-party `read_header` does not describe an image of this format."""
    if not isinstance(header, ImageHeader):
        raise ImageError(f"{_blame(known)} returns no ImageHeader from read_header but {_name(header)}; correct it.")
    if header.format != known.kind:
        raise ImageError(f"{_blame(known)} returns a header of the format {shown(header.format)}; correct it.")
    if min(header.width, header.height, header.channels, header.frames) < 1:
        raise ImageError("It holds no picture according to its header; replace or remove it.")


def check_image(known: Known, header: ImageHeader, image: Any) -> None:
    """Raise ImageError if the image from a third-party `read` does not match the header."""
    if not isinstance(image, Image):
        raise ImageError(f"{_blame(known)} returns no Image from read but {_name(image)}; correct it.")
    promised = header.height, header.width, header.channels, header.has_alpha, header.dtype
    found = image.height, image.width, image.channels, image.alpha is not None, str(image.dtype)
    if promised != found:
        raise ImageError(
            f"{_blame(known)} returns an image of {_described(*found)}, but its header declares "
            f"{_described(*promised)}; correct it."
        )


def _described(height: int, width: int, channels: int, alpha: bool, dtype: str) -> str:
    return f"{width} x {height} pixels, {channels} channels{' and alpha' if alpha else ''} of {dtype}"


def _blame(known: Known) -> str:
    return f"the format {shown(known.kind)} of {known.origin}"


def _name(found: object) -> str:
    return type(found).__name__


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {shown(error)}".split()).rstrip(".: ")
