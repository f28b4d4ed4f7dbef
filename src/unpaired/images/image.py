"""An image in memory, in the type of its values; compositing over a colour, resizing, EXIF orientation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import PIL.Image
import PIL.ImageFile
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.errors import ImageError
from unpaired.images.profiles import cmyk_to_rgb

Array = np.ndarray[Any, np.dtype[Any]]

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

Resampling = Literal["bicubic", "nearest"]
"""Interpolation: bicubic for photographs, nearest for label maps, whose numbers must not be mixed."""

HELD = tuple(np.dtype(name) for name in ("uint8", "uint16", "int16", "int32", "float32"))
"""The types of values that an image can have; files are read and written in them."""

_PILLOW_MODES = {
    "uint8": {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"},
    "uint16": {1: "I;16"},
    "int32": {1: "I"},
    "float32": {1: "F"},
}
_GREY_MODES = ("1", "L", "LA", "La")
_COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
_LARGEST = 3.4028234663852886e38  # of float32
_HUGE = _LARGEST / 16  # bicubic overshoots by less than that
_ORIENTATION_TAG = 0x0112
# EXIF orientation: (swap rows and columns first, then reverse rows, then reverse columns).
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, eq=False)
class Image:
    """An image: pixels h w c with optional alpha h w, both of one type of `HELD`.

    pixels: c is 1 (grey), 3 (red, green, blue) or any other number of channels without a colour.
    alpha: straight, not premultiplied. 0 is transparent, the type's largest value (1.0 of a float) opaque.
    icc: the ICC profile of the colours, None without one.
    nodata: the no-data value that the file declares (may be NaN), None without one.
    mask: h w bool, pixels that the file marks as no data whatever their values.

    Raises ImageError if the arrays do not fit.
    """

    pixels: Array
    alpha: Array | None = None
    icc: bytes | None = None
    nodata: float | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.dtype not in HELD or len(shape) != 3 or 0 in shape:
            known = ", ".join(map(str, HELD))
            raise ImageError(f"An image is an array h w c of {known}, not {shape} of {self.dtype}; convert it.")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (shape[:2], self.dtype):
            raise ImageError(f"Alpha must be {shape[:2]} of {self.dtype} here, not {self.alpha.shape}.")
        if self.mask is not None and (self.mask.shape, self.mask.dtype.kind) != (shape[:2], "b"):
            raise ImageError(f"A mask must be {shape[:2]} of bool here, not {self.mask.shape} of {self.mask.dtype}.")

    def __repr__(self) -> str:
        parts = [f"{self.height} x {self.width}", f"{self.channels} channel{'s' * (self.channels != 1)}"]
        parts += [name for name in ("alpha", "icc", "nodata", "mask") if getattr(self, name) is not None]
        return f"Image({', '.join(parts)}, {self.dtype})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the image in the format of the suffix; raises the errors of `unpaired.images.write_image`."""
        from unpaired.images.files import write_image

        write_image(path, self)

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Number of colour channels, without alpha."""
        return int(self.pixels.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of pixels and alpha, one of `HELD`."""
        return self.pixels.dtype

    @property
    def interleaved(self) -> Array:
        """The pixels h w c with alpha, if there is one, as one more channel."""
        if self.alpha is None:
            return self.pixels
        return np.concatenate([self.pixels, self.alpha[:, :, None]], axis=2)

    @property
    def missing(self) -> Array | None:
        """Return which values are no data, bool h w c; None if there are none.

        In red, green, blue a pixel is missing if all three of its values are: one of them may well be 0 or 255.
        """
        hidden = None
        if self.mask is not None and self.mask.any():
            hidden = np.broadcast_to(self.mask[:, :, None], self.pixels.shape)
        declared = self._declared()
        if hidden is None or declared is None:
            return declared if hidden is None else hidden
        return hidden | declared

    def _declared(self) -> Array | None:
        if self.nodata is None:
            return None
        if math.isnan(self.nodata):
            found = np.isnan(self.pixels)
        else:
            with np.errstate(over="ignore"):  # a value that the type does not hold occurs nowhere
                value = np.float64(self.nodata).astype(self.dtype if self.dtype.kind == "f" else np.float64)
            found = self.pixels == value
        if self.channels == 3 and self.dtype.kind == "u":
            found = np.broadcast_to(found.all(axis=2, keepdims=True), self.pixels.shape)
        return found if found.any() else None

    @property
    def measured(self) -> Array:
        """Return the n measured values: without no data and without those under full transparency."""
        missing = self.missing
        if missing is None and self.alpha is None:
            return self.pixels.ravel()
        counts = np.ones(self.pixels.shape, bool) if missing is None else ~missing
        if self.alpha is not None:
            counts &= self.alpha[:, :, None] > 0
        return self.pixels[counts]

    def filled(self, value: float) -> Image:
        """Return the image with no data replaced by `value`, rounded and clamped to the type."""
        missing = self.missing
        if missing is None:
            return self if self.nodata is None and self.mask is None else replace(self, nodata=None, mask=None)
        fill = _rounded(np.array(value, np.float64), self.dtype)
        return replace(self, pixels=np.where(missing, fill, self.pixels), nodata=None, mask=None)

    @classmethod
    def from_pil(cls, picture: PIL.Image.Image) -> Image:
        """Convert a Pillow image and apply its EXIF orientation.

        Palettes, CMYK and YCbCr become RGB, 1-bit becomes grey, every kind of transparency becomes alpha, I becomes
        uint16 if its values fit and int32 else, F float32. Raises ImageError for Lab and other modes.
        """
        level = _transparent_level(picture)
        picture.load()  # some formats store the orientation behind the pixels
        image = _from_deep_grey(picture) if is_deep(picture) else _from_8bit(picture, level)
        return turned(image, orientation_of(picture))

    def to_pil(self) -> PIL.Image.Image:
        """Return a Pillow image of mode L, LA, RGB, RGBA, I;16, I or F.

        Raises ImageError for images that Pillow cannot hold: 16 bits in colour or with alpha, other channel counts.
        """
        modes = _PILLOW_MODES.get(str(self.dtype), {})
        array = self.interleaved
        if array.shape[2] not in modes or self.channels not in (1, 3):
            kind = f"{self.channels} channels{' and alpha' if self.alpha is not None else ''} of {self.dtype}"
            raise ImageError(f"Pillow cannot hold {kind}; take the arrays themselves, or 8 bits.")
        # frombytes, because fromarray guesses the mode from the shape and not from the number of channels.
        data = np.ascontiguousarray(array).tobytes()
        picture = PIL.Image.frombytes(modes[array.shape[2]], (self.width, self.height), data)
        if self.icc is not None:
            picture.info["icc_profile"] = self.icc
        return picture

    def over(self, background: Color, span: tuple[float, float] | None = None) -> Image:
        """Return the image composited over `background`, without alpha.

        span: the values of black and white, by default those of the type (0 and 1 for a float).

        A grey image stays grey over a grey background and becomes RGB over a coloured one. Raises ImageError for a
        coloured background if the channels are not colours.
        """
        if self.alpha is None:
            return self
        low, high = span or span_of(self.dtype)
        color = low + np.array(background, np.float64) * ((high - low) / 255)
        if len(set(background)) == 1:
            color = color[:1]
        elif self.channels not in (1, 3):
            raise ImageError(f"{self.channels} channels have no colours to lay over {background}; use a grey one.")
        top = opaque(self.dtype)
        share = self.alpha[:, :, None].astype(np.float64)
        mixed = (self.pixels * share + color * (top - share)) / top
        return replace(self, pixels=_rounded(mixed, self.dtype), alpha=None)


def opaque(dtype: np.dtype[Any]) -> float:
    """Return the alpha of an opaque pixel: the largest value of an integer type, 1.0 of a float."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def span_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the lowest and the highest value of an integer type; 0 and 1 for a float."""
    return (0.0, 1.0) if dtype.kind == "f" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))


def resize(image: Image, size: tuple[int, int], how: Resampling = "bicubic") -> Image:
    """Resize `image` to `size` (h, w), ignoring its aspect ratio.

    how: bicubic is antialiased; 8 bits differ from Pillow's bicubic by 1 at most. nearest takes the value below the
    centre of each new pixel, as Pillow and torch's nearest-exact do (but for their rounding), and creates no new
    values: for label maps.

    Alpha weights the colours, so that colours of transparent pixels do not bleed into visible ones.
    """
    if size == (image.height, image.width):
        return image
    if how == "nearest":
        return _nearest(image, size)
    if image.mask is not None:
        mask = _nearest(replace(image, pixels=image.mask[:, :, None].astype(np.uint8), alpha=None, mask=None), size)
        return replace(resize(replace(image, mask=None), size), mask=mask.pixels[:, :, 0] > 0)
    if image.alpha is None and image.dtype == np.uint8:
        pixels = _bicubic(torch.from_numpy(np.array(image.pixels, order="C")), size).numpy()
        return replace(image, pixels=pixels)
    # float32 holds every value of the other types, but not the overshoot beside its own largest ones.
    huge = image.dtype.kind == "f" and bool(np.abs(image.pixels).max() > _HUGE)
    wide = np.float64 if huge or image.dtype == np.int32 else np.float32
    if image.alpha is None:
        values = _bicubic(torch.from_numpy(image.pixels.astype(wide)), size)
        return replace(image, pixels=_rounded(values.numpy(), image.dtype))
    top = opaque(image.dtype)
    share = image.alpha[:, :, None] / top
    values = _bicubic(torch.from_numpy(np.concatenate([image.pixels * share, share], axis=2)), size)
    # Divided by the share before clamping: it overshoots at edges together with the colours.
    colors = values[:, :, :-1] / values[:, :, -1:].clamp(min=0.5 / max(top, 255.0))
    alpha = _rounded((values[:, :, -1].clamp(0, 1) * top).numpy(), image.dtype)
    return replace(image, pixels=_rounded(colors.numpy(), image.dtype), alpha=alpha)


def turned(image: Image, orientation: int) -> Image:
    """Return an image stored in an EXIF orientation, 1 to 8, upright."""
    swap, rows, columns = _TURNS[orientation]

    def turn(array: Array) -> Array:
        array = array.swapaxes(0, 1) if swap else array
        return np.ascontiguousarray(array[:: -1 if rows else 1, :: -1 if columns else 1])

    return _each(image, turn)


def orientation_of(picture: PIL.Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or the EXIF is damaged."""
    try:
        # The base class's method: that of PNG decodes every pixel to find EXIF behind them.
        value = PIL.Image.Image.getexif(picture).get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF fails in many ways, and the image itself may be sound
        return 1
    return value if value in _TURNS else 1


def _nearest(image: Image, size: tuple[int, int]) -> Image:
    # Integer arithmetic: a centre on the edge of two pixels takes the later one, whatever the size.
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, (image.height, image.width), strict=True)
    )

    def picked(array: Array) -> Array:
        return np.ascontiguousarray(array[rows][:, columns])

    return _each(image, picked)


def _each(image: Image, change: Callable[[Array], Array]) -> Image:
    """Apply `change` to pixels, alpha and mask of an image."""
    alpha, mask = (None if plane is None else change(plane) for plane in (image.alpha, image.mask))
    return replace(image, pixels=change(image.pixels), alpha=alpha, mask=mask)


def _bicubic(values: Tensor, size: tuple[int, int]) -> Tensor:
    nchw = values.permute(2, 0, 1)[None]
    resized = F.interpolate(nchw, size, mode="bicubic", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).contiguous()


def is_deep(picture: PIL.Image.Image) -> bool:
    """Return whether Pillow holds the picture in one channel of more than 8 bits."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _transparent_level(picture: PIL.Image.Image) -> Array | None:
    """Return the grey level or colour, 8 bits per channel, that a Pillow image declares transparent; None without one.

    Call it before the pixels are loaded: for a PNG of 2 or 4 bits Pillow scales the levels to 0..255, but not this one.
    Its bits beyond those of a level are ignored, as the PNG specification requires.
    """
    level = picture.info.get("transparency")
    if picture.mode not in ("1", "L", "RGB") or not isinstance(level, int | tuple):
        return None
    tiles = picture.tile if isinstance(picture, PIL.ImageFile.ImageFile) and picture.format == "PNG" else []
    raw = tiles[0].args if tiles else None
    most = {"L;2": 3, "L;4": 15}.get(raw if isinstance(raw, str) else "", 255)
    return (np.atleast_1d(np.array(level)) & most) * (255 // most)


def _from_8bit(picture: PIL.Image.Image, level: Array | None) -> Image:
    grey = picture.mode in _GREY_MODES
    if not grey and picture.mode not in _COLOR_MODES:
        raise ImageError(f"Images of mode {picture.mode} are not supported; convert it to RGB.")
    icc = picture.info.get("icc_profile")
    if picture.mode == "CMYK":  # ink amounts are colours only with a profile
        return Image(cmyk_to_rgb(picture, icc))
    if level is not None or not picture.has_transparency_data:
        array = np.array(_in_mode(picture, "L" if grey else "RGB"))
        pixels = array[:, :, None] if grey else array
        alpha = None if level is None else np.where((pixels == level).all(axis=2), 0, 255).astype(np.uint8)
        return Image(pixels, alpha, icc)
    array = np.array(_in_mode(picture, "LA" if grey else "RGBA"))
    return Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]), icc)


def _in_mode(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Convert a Pillow image to a mode, without a copy if it already has it."""
    return picture if picture.mode == mode else picture.convert(mode)


def _from_deep_grey(picture: PIL.Image.Image) -> Image:
    icc, values = picture.info.get("icc_profile"), np.array(picture)
    if picture.mode == "F":
        return Image(values[:, :, None], icc=icc)
    if values.min() < 0 or values.max() > 65535:
        return Image(values.astype(np.int32)[:, :, None], icc=icc)
    level = picture.info.get("transparency")  # one grey level of a PNG may be declared transparent
    alpha = None if level is None else np.where(values == level, 0, 65535).astype(np.uint16)
    return Image(values.astype(np.uint16)[:, :, None], alpha, icc)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return real numbers as `dtype`: rounded and clamped for an integer type."""
    if dtype.kind == "f":
        return values.clip(-_LARGEST, _LARGEST).astype(dtype) if values.dtype == np.float64 else values.astype(dtype)
    return np.clip(np.round(values), *span_of(dtype)).astype(dtype)
