"""Image files, images in memory, and their conversion to tensors in [-1, 1] and back; no other package does this.

Nothing is reduced unless requested: 8 bits stay 8, 16 stay 16, floats stay floats, and transparency stays beside the
colours. An image that a format cannot keep is refused in one sentence.

`image` is the image in memory, `values` converts it to a tensor, `files` reads and writes it. `formats` has the
Protocol of a file format, `registered` all known formats and `own_formats` those of the package, by Pillow
(`pillow_formats`, `deep`) or by `tiff`, `dicom` and `nifti`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        MAX_PIXELS,
        Admit,
        Carried,
        ImageFormat,
        ImageHeader,
        Target,
        Window,
        WindowWriter,
    )
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

# Imported when first used: settings of images need no file format.
_HOMES = {
    "Admit": "unpaired.images.formats",
    "Carried": "unpaired.images.formats",
    "Color": "unpaired.images.image",
    "DTYPE": "unpaired.images.values",
    "FORMATS": "unpaired.images.registered",
    "HELD": "unpaired.images.image",
    "Image": "unpaired.images.image",
    "ImageFormat": "unpaired.images.formats",
    "ImageHeader": "unpaired.images.formats",
    "MAX_PIXELS": "unpaired.images.formats",
    "Percentiles": "unpaired.images.values",
    "Resampling": "unpaired.images.image",
    "Target": "unpaired.images.formats",
    "ValueRange": "unpaired.images.values",
    "Window": "unpaired.images.formats",
    "WindowWriter": "unpaired.images.formats",
    "as_dtype": "unpaired.images.values",
    "bands": "unpaired.images.nodata",
    "count_slices": "unpaired.images.files",
    "encode_image": "unpaired.images.files",
    "flatten": "unpaired.images.nodata",
    "from_tensor": "unpaired.images.values",
    "half_of": "unpaired.images.halves",
    "is_image_name": "unpaired.images.registered",
    "is_stack": "unpaired.images.files",
    "is_volume_name": "unpaired.images.registered",
    "keeps_alpha": "unpaired.images.registered",
    "kept_where": "unpaired.images.values",
    "lost": "unpaired.images.registered",
    "parse_fill": "unpaired.images.nodata",
    "parse_range": "unpaired.images.values",
    "read_header": "unpaired.images.files",
    "read_image": "unpaired.images.files",
    "read_window": "unpaired.images.windows",
    "resize": "unpaired.images.image",
    "restore": "unpaired.images.nodata",
    "suffix_of": "unpaired.images.registered",
    "to_srgb": "unpaired.images.values",
    "to_tensor": "unpaired.images.values",
    "write_image": "unpaired.images.files",
    "write_stack": "unpaired.images.files",
    "writing_windows": "unpaired.images.windows",
}

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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module 'unpaired.images' has no attribute {name!r}; it has {', '.join(__all__)}")
