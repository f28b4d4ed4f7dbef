"""Conversion of colours with an ICC profile to sRGB.

lcms converts them, relative colorimetric: 8 bits by the copy in Pillow, 16 bits by the copy in imagecodecs, because
Pillow has no colours of more than 8 bits. Colours outside sRGB are clipped.
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
_DAMAGED = "The colour profile (ICC) cannot be used ({}); remove it, or use the colours as stored."


def space_of(icc: bytes) -> str:
    """Return the colour space that a profile describes: RGB, GRAY, CMYK, Lab, ...; "" if it is no profile."""
    return icc[16:20].decode("ascii", "replace").strip() if icc[36:40] == b"acsp" else ""


def rgb_to_srgb(pixels: Array, icc: bytes) -> Array:
    """Convert colours h w 3, uint8 or uint16, from an RGB profile to sRGB; other types are returned unchanged.

    Raises ImageError for a damaged profile, MissingExtraError for 16 bits without imagecodecs.
    """
    if pixels.dtype == np.uint8:
        picture = PIL.Image.frombytes("RGB", pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
        return np.array(ImageCms.applyTransform(picture, _transform(icc, "RGB")))
    if pixels.dtype == np.uint16:
        codecs = extra("imagecodecs", "Colours of 16 bits with an ICC profile")
        try:
            made: Array = codecs.cms_transform(
                np.ascontiguousarray(pixels), icc, codecs.cms_profile("srgb"), colorspace="rgb", intent=int(_INTENT)
            )
        except Exception as error:  # the library's own class, which is not imported here
            raise ImageError(_DAMAGED.format(" ".join(str(error).split()).rstrip("."))) from None
        return made
    return pixels


def cmyk_to_rgb(picture: PIL.Image.Image, icc: bytes | None) -> Array:
    """Convert CMYK to sRGB colours h w 3, by the profile or, without one, by Pillow's formula."""
    if icc is None or space_of(icc) != "CMYK":
        return np.array(picture.convert("RGB"))
    return np.array(ImageCms.applyTransform(picture, _transform(icc, "CMYK")))


@lru_cache(maxsize=4)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Return the transform from a profile to sRGB; cached, as building it takes longer than a small image."""
    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(io.BytesIO(icc), srgb, mode, "RGB", _INTENT)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ImageError(_DAMAGED.format(" ".join(str(error).split()).rstrip("."))) from None
