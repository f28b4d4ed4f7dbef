"""An image format of your own: arrays in NumPy's .npy files, (height, width) or (height, width, channels).

Values are taken as they are: uint8, uint16, int16, int32 and float32 keep their type, float64 becomes float32, and any
other type is refused. Files with Python objects are never read.

From Python, `import format_npy` registers the format: from then on every function reads and writes .npy.

From the command line:

    unpaired train DATA --recipe format_npy.py:paper --data.channels-a 1 --data.channels-b 1 --range=-1000..2000
    unpaired translate RUN scans/*.npy --recipe format_npy.py

As an installed package, without --recipe, by an entry point whose name is the kind:

    [project.entry-points."unpaired.formats"]
    npy = "my_package.format_npy:NPY"

To make another format: rename `kind` and `suffixes`, write `read_header` and `read`, and keep of the rest what applies.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from unpaired.errors import ImageError
from unpaired.images import FORMATS, HELD, Image, ImageHeader, Target, Window
from unpaired.recipes import paper  # noqa: F401 - for --recipe format_npy.py:paper


class NpyFormat:
    """Arrays (h, w) or (h, w, c) in .npy files, without alpha or metadata."""

    kind = "npy"  # the name of the format, in messages and headers
    suffixes = (".npy",)  # in lower case; folders are searched by them
    carries = frozenset[str]()  # files hold nothing beside the picture, so none is opened to find out

    def recognises(self, head: bytes) -> bool:
        """Optional: know a file by its first bytes, so that one named .png is read, and a PNG named .npy refused."""
        return head.startswith(b"\x93NUMPY")

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return size and type without reading a value; what is too large is refused by them."""
        (height, width, channels), stored, _ = _described(file)
        return ImageHeader(
            width=width,
            height=height,
            mode="",
            channels=channels,
            has_alpha=False,
            depth=8 * stored.itemsize,
            format=self.kind,
            dtype=str(_held(stored)),
        )

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return all values; `frame` is 0, as the header has no others."""
        (height, width, _), _, _ = _described(file)
        file.seek(0)
        return self.read_window(path, file, frame, Window(0, 0, height, width))

    def read_window(self, path: Path, file: BinaryIO, frame: int, window: Window) -> Image:
        """Optional: return a part without reading the rest."""
        shape, stored, fortran = _described(file)
        values = np.memmap(file, stored, "r", file.tell(), shape, order="F" if fortran else "C")
        top, left, height, width = window
        return Image(np.array(values[top : top + height, left : left + width], _held(stored), order="C"))

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Optional: write an image. Without `stacks` it is one; without `alpha` and `icc` it has neither."""
        content, pixels = io.BytesIO(), images[0].pixels
        np.save(content, pixels[:, :, 0] if images[0].channels == 1 else pixels, allow_pickle=False)
        return content.getvalue()


def _described(file: BinaryIO) -> tuple[tuple[int, int, int], np.dtype[Any], bool]:
    """Return shape (h, w, c), stored type and whether columns come first; the file then stands at its values."""
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, stored = read(file)
    if _held(stored) not in HELD:  # Python objects among others, which would be code
        raise ImageError(f"It holds {stored}, which no image has; save it as one of {', '.join(map(str, HELD))}.")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ImageError(f"It holds an array of shape {shape}; save h w or h w c.")
    return (shape[0], shape[1], shape[2] if len(shape) == 3 else 1), stored, fortran


def _held(stored: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if stored.kind == "f" and stored.itemsize == 8 else stored.newbyteorder("=")


NPY = NpyFormat()
FORMATS.register(NPY)  # an installed package leaves this out: its entry point registers NPY
