"""The only place that knows files, arrays, and tensors in [-1, 1], and how one becomes another.

Nothing is reduced without being asked: 8 bits stay 8, 16 stay 16, transparency stays beside the colours, and
what cannot be kept is refused in one sentence. `image` is the picture in memory, `files` reads and writes.
"""

from __future__ import annotations

from unpaired.images.files import (
    FORMATS,
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    WRITABLE,
    ImageHeader,
    keeps_alpha,
    read_header,
    read_image,
    write_image,
)
from unpaired.images.image import Color, Image, from_tensor, resize, to_tensor

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "WRITABLE",
    "Color",
    "Image",
    "ImageHeader",
    "from_tensor",
    "keeps_alpha",
    "read_header",
    "read_image",
    "resize",
    "to_tensor",
    "write_image",
]
