"""Image files, images in memory, and their conversion to tensors in [-1, 1] and back; no other package does this.

Nothing is reduced unless requested: 8 bits stay 8, 16 stay 16, floats stay floats, and transparency stays beside the
colours. An image that a format cannot keep is refused in one sentence.

`image` is the image in memory, `values` converts it to a tensor, `files` reads and writes it. `formats` has the
Protocol of a file format, `registered` all known formats and `own_formats` those of the package, by Pillow
(`pillow_formats`, `deep`) or by `tiff`, `dicom` and `nifti`.
"""

from __future__ import annotations

from unpaired.images.files import (
    count_slices,
    encode_image,
    is_stack,
    read_header,
    read_image,
    write_image,
    write_stack,
)
from unpaired.images.formats import MAX_PIXELS, Admit, Carried, ImageFormat, ImageHeader, Target, Window, WindowWriter
from unpaired.images.halves import half_of
from unpaired.images.image import HELD, Color, Image, Resampling, resize
from unpaired.images.nodata import bands, flatten, parse_fill, restore
from unpaired.images.registered import FORMATS, is_image_name, is_volume_name, keeps_alpha, lost, suffix_of
from unpaired.images.values import (
    DTYPE,
    Percentiles,
    ValueRange,
    as_dtype,
    from_tensor,
    kept_where,
    parse_range,
    to_srgb,
    to_tensor,
)
from unpaired.images.windows import read_window, writing_windows

__all__ = [
    "DTYPE",
    "FORMATS",
    "HELD",
    "MAX_PIXELS",
    "Admit",
    "Carried",
    "Color",
    "Image",
    "ImageFormat",
    "ImageHeader",
    "Percentiles",
    "Resampling",
    "Target",
    "ValueRange",
    "Window",
    "WindowWriter",
    "as_dtype",
    "bands",
    "count_slices",
    "encode_image",
    "flatten",
    "from_tensor",
    "half_of",
    "is_image_name",
    "is_stack",
    "is_volume_name",
    "keeps_alpha",
    "kept_where",
    "lost",
    "parse_fill",
    "parse_range",
    "read_header",
    "read_image",
    "read_window",
    "resize",
    "restore",
    "suffix_of",
    "to_srgb",
    "to_tensor",
    "write_image",
    "write_stack",
    "writing_windows",
]
