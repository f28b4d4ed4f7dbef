"""Reading and writing an image in windows, if its format can."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from unpaired.errors import ImageError, OutputError
from unpaired.images.contracts import check_image, writing
from unpaired.images.files import encode_image, header_of, opened, read_image, refuse_large
from unpaired.images.formats import (
    MAX_PIXELS,
    ImageHeader,
    ReadsWindows,
    Target,
    Window,
    WindowWriter,
    WritesWindows,
)
from unpaired.images.image import Array, Image
from unpaired.images.registered import FORMATS
from unpaired.storage import shown, storage_error, write_bytes


def read_window(
    path: str | os.PathLike[str],
    top: int,
    left: int,
    height: int,
    width: int,
    *,
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Return rows top..top+height and columns left..left+width of an image file, upright.

    If the format reads windows, nothing else is decoded, and `max_pixels` limits the window; otherwise the whole image
    is decoded, and `max_pixels` limits the image. Raises ImageError as `read_image` does, and if the window is not
    inside the image.
    """
    path, window = Path(path), Window(top, left, height, width)
    with opened(path) as (file, known):
        header = header_of(path, file, known)
        if min(window) < 0 or 0 in window[2:] or top + height > header.height or left + width > header.width:
            raise ImageError(
                f"The window of {width} x {height} pixels at row {top}, column {left} is not inside its "
                f"{header.width} x {header.height} pixels; choose another one."
            )
        if isinstance(known.format, ReadsWindows):
            refuse_large(path, max_pixels, width, height, header.channels + header.has_alpha)
            file.seek(0)
            image = known.format.read_window(path, file, frame, window)
            check_image(known, replace(header, height=height, width=width), image)
            return image
    whole = read_image(path, max_pixels=max_pixels, frame=frame)
    rows, columns = slice(top, top + height), slice(left, left + width)
    alpha, mask = (None if plane is None else plane[rows, columns] for plane in (whole.alpha, whole.mask))
    return replace(whole, pixels=whole.pixels[rows, columns], alpha=alpha, mask=mask)


@contextmanager
def writing_windows(path: str | os.PathLike[str], header: ImageHeader) -> Iterator[WindowWriter]:
    """Write an image of the size, type and channels of `header`, without alpha, atomically and window by window.

    For a format that does not write windows the whole image is collected in memory first. Raises
    OutputError as `write_image` does, or if the header has alpha or several slices.
    """
    path = Path(path)
    known = FORMATS.named(path)
    if header.has_alpha or header.frames != 1:
        raise OutputError(f"Cannot write {shown(path)} in windows: transparency and stacks are written whole.")
    if known is None or not isinstance(known.format, WritesWindows):
        pieces = _CollectedWindows(header)
        yield pieces
        write_bytes(path, encode_image(path, Image(pieces.pixels)))
        return
    if not known.holds(header.dtype, header.channels):
        raise OutputError(f"{shown(path)} cannot keep {header.channels} channels of {header.dtype}; write .tif.")
    partial_file = path.parent / f".unpaired-{secrets.token_hex(6)}.tmp"
    try:
        with partial_file.open("x+b") as file, writing(known, path):
            writer = known.format.open_windows(file, header, Target(path=path))
            yield writer
            writer.close()
        partial_file.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    finally:
        with suppress(OSError):
            partial_file.unlink(missing_ok=True)


class _CollectedWindows:
    """The windows of an image, collected in memory."""

    def __init__(self, header: ImageHeader) -> None:
        self.pixels: Array = np.zeros((header.height, header.width, header.channels), header.dtype)

    def write(self, top: int, left: int, pixels: Array) -> None:
        """Keep a window."""
        self.pixels[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

    def close(self) -> None:
        """Do nothing."""
