"""The only place that knows files, arrays, and tensors in [-1, 1], and how one becomes another.

Nothing is reduced without being asked: 8 bits stay 8, 16 stay 16, floats stay floats, transparency stays beside the
colours, and what cannot be kept is refused in one sentence. `image` is the picture in memory, `values` its way to a
tensor, `formats` the kinds of files, `files` reads and writes them; `tiff`, `dicom`, `nifti` and `deep` do so for what
Pillow does not hold.
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
from unpaired.images.formats import (
    FORMATS,
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    STACKS,
    VOLUMES,
    WRITABLE,
    Carried,
    ImageHeader,
    is_image_name,
    keeps_alpha,
    lost,
    suffix_of,
)
from unpaired.images.halves import half_of
from unpaired.images.image import HELD, Color, Image, Resampling, resize
from unpaired.images.nodata import bands, flatten, parse_fill, restore
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

__all__ = [
    "DTYPE",
    "FORMATS",
    "HELD",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "STACKS",
    "VOLUMES",
    "WRITABLE",
    "Carried",
    "Color",
    "Image",
    "ImageHeader",
    "Percentiles",
    "Resampling",
    "ValueRange",
    "as_dtype",
    "bands",
    "count_slices",
    "encode_image",
    "flatten",
    "from_tensor",
    "half_of",
    "is_image_name",
    "is_stack",
    "keeps_alpha",
    "kept_where",
    "lost",
    "parse_fill",
    "parse_range",
    "read_header",
    "read_image",
    "resize",
    "restore",
    "suffix_of",
    "to_srgb",
    "to_tensor",
    "write_image",
    "write_stack",
]
