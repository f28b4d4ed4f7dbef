"""ICC profiles: colours that a file gives in a space of its own, as sRGB.

The conversion is lcms's, relative colorimetric: 8 bits by the one in Pillow, 16 bits by the one in imagecodecs, as
Pillow has no colours of more than 8 bits. What sRGB cannot show is clipped.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageCms

from unpaired.errors import ImageError
from unpaired.images.extras import extra

Array = np.ndarray[Any, np.dtype[Any]]

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_DAMAGED = "The colour profile (ICC) cannot be used ({}); remove it, or read the colours as they are."


def space_of(icc: bytes) -> str:
    """Return the colour space that a profile describes: RGB, GRAY, CMYK, Lab, ...; "" where it is no profile."""
    return icc[16:20].decode("ascii", "replace").strip() if icc[36:40] == b"acsp" else ""


def rgb_to_srgb(pixels: Array, icc: bytes) -> Array:
    """Return colours h w 3, uint8 or uint16, of an RGB profile in sRGB; other types are returned as they are.

    Raises ImageError for a damaged profile, MissingExtraError where 16 bits need the optional part.
    """
    if pixels.dtype == np.uint8:
        picture = PIL.Image.frombytes("RGB", pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
        return np.array(ImageCms.applyTransform(picture, _transform(icc, "RGB")))
    if pixels.dtype == np.uint16:
        codecs = extra("imagecodecs", "Colours of 16 bits in a profile of their own")
        try:
            made: Array = codecs.cms_transform(
                np.ascontiguousarray(pixels), icc, codecs.cms_profile("srgb"), colorspace="rgb", intent=int(_INTENT)
            )
        except Exception as error:  # the library's own class, which is not worth an import
            raise ImageError(_DAMAGED.format(" ".join(str(error).split()).rstrip("."))) from None
        return made
    return pixels


def cmyk_to_rgb(picture: PIL.Image.Image, icc: bytes | None) -> Array:
    """Return amounts of ink as sRGB colours h w 3: by their profile, and without one by Pillow's plain formula."""
    if icc is None or space_of(icc) != "CMYK":
        return np.array(picture.convert("RGB"))
    return np.array(ImageCms.applyTransform(picture, _transform(icc, "CMYK")))


@lru_cache(maxsize=4)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Return the way from a profile to sRGB; building one takes longer than a small picture."""
    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(io.BytesIO(icc), srgb, mode, "RGB", _INTENT)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ImageError(_DAMAGED.format(" ".join(str(error).split()).rstrip("."))) from None
