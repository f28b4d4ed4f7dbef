"""A picture in memory, and its way to a tensor in [-1, 1] and back.

Whole numbers become [-1, 1] by x / (max / 2) - 1 and come back by rounding, so that a picture which a network
leaves alone leaves as it came, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.errors import ConfigError, ImageError, NonFiniteError

Array = np.ndarray[Any, np.dtype[Any]]

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

_GREY_MODES = ("1", "L", "LA", "La")
_COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
_LUMA = (0.299, 0.587, 0.114)  # Rec. ITU-R BT.601
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
    """A picture: pixels h w c and alpha h w (or None), both uint8 or both uint16.

    c is 1 (grey) or 3 (red, green, blue) for every file of the core. Alpha is straight, not premultiplied:
    0 is transparent, the type's largest value opaque. Raises ImageError where the arrays do not fit.
    """

    pixels: Array
    alpha: Array | None = None

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.dtype not in (np.uint8, np.uint16) or len(shape) != 3 or 0 in shape:
            raise ImageError(f"An image is an array h w c of uint8 or uint16, not {shape} of {self.dtype}.")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (shape[:2], self.dtype):
            raise ImageError(f"Alpha must be {shape[:2]} of {self.dtype} here, not {self.alpha.shape}.")

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
        """The type of pixels and alpha: uint8 or uint16."""
        return self.pixels.dtype

    @property
    def interleaved(self) -> Array:
        """The pixels h w c with alpha, where there is one, as one more channel."""
        if self.alpha is None:
            return self.pixels
        return np.concatenate([self.pixels, self.alpha[:, :, None]], axis=2)

    @classmethod
    def from_pil(cls, picture: PIL.Image.Image) -> Image:
        """Take over a Pillow image of any mode that fits 8 or 16 bits a channel, turned as its EXIF says.

        Palettes, CMYK and YCbCr become RGB, 1-bit becomes grey, every kind of transparency becomes alpha.
        Raises ImageError for Lab, for floating point and for numbers beyond 16 bits.
        """
        picture.load()  # formats that hold the orientation behind the pixels know it from here on
        deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        image = _from_grey16(picture) if deep else _from_8bit(picture)
        return _turned(image, orientation_of(picture))

    def to_pil(self) -> PIL.Image.Image:
        """Return a Pillow image of mode L, LA, RGB, RGBA or I;16.

        Raises ImageError for what Pillow cannot hold: 16 bits in colour or with alpha, other channel counts.
        """
        modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"} if self.dtype == np.uint8 else {1: "I;16"}
        array = self.interleaved
        if array.shape[2] not in modes or self.channels not in (1, 3):
            kind = f"{self.channels} channels{' and alpha' if self.alpha is not None else ''} of {self.dtype}"
            raise ImageError(f"Pillow cannot hold {kind}; take the arrays themselves, or 8 bits.")
        # frombytes, as fromarray guesses the mode from the shape and not from the count of channels.
        data = np.ascontiguousarray(array).tobytes()
        return PIL.Image.frombytes(modes[array.shape[2]], (self.width, self.height), data)

    def over(self, background: Color) -> Image:
        """Return the picture laid over `background`, without alpha.

        A grey picture stays grey over a grey background and becomes RGB over a coloured one.
        """
        if self.alpha is None:
            return self
        top = int(np.iinfo(self.dtype).max)
        color = np.array(background, np.uint64) * (top // 255)
        if self.channels == 1 and len(set(background)) == 1:
            color = color[:1]
        opaque = self.alpha[:, :, None].astype(np.uint64)
        mixed = (self.pixels * opaque + color * (top - opaque) + top // 2) // top
        return Image(mixed.astype(self.dtype))


def to_tensor(image: Image, channels: int) -> Tensor:
    """Return `image` as float32 c h w in [-1, 1]: 0 becomes -1, the type's largest value 1.

    Grey becomes RGB by repeating it, RGB becomes grey by the luma of Rec. 601. Raises ConfigError for any
    other change of channels, ImageError for an image with alpha: lay it over a colour first.
    """
    if image.alpha is not None:
        raise ImageError("A transparent image has no colours of its own; use image.over((r, g, b)) first.")
    # A copy, as torch takes no arrays that are read-only or run backwards.
    array = np.array(image.pixels.transpose(2, 0, 1), order="C")
    # Through int32 where 16 bits are held: torch knows uint16 as storage only.
    tensor = torch.from_numpy(array if image.dtype == np.uint8 else array.astype(np.int32)).float()
    tensor = tensor.div_(np.iinfo(image.dtype).max / 2).sub_(1.0)
    if channels == image.channels:
        return tensor
    if image.channels == 1 and channels == 3:
        return tensor.repeat(3, 1, 1)
    if image.channels == 3 and channels == 1:
        return (tensor * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True)
    raise ConfigError(
        f"An image of {image.channels} channels cannot be made one of {channels}; only 1 and 3 have a rule."
    )


def from_tensor(tensor: Tensor, *, dtype: Any = np.uint8, alpha: Array | None = None) -> Image:
    """Return a float tensor c h w in [-1, 1] as an image of `dtype` (uint8 or uint16): clamped, rounded.

    The inverse of `to_tensor`, bit for bit. Raises NonFiniteError where the tensor holds NaN.
    """
    values = tensor.detach().to("cpu", torch.float32)
    if bool(values.isnan().any()):
        raise NonFiniteError("The image made is not a number (NaN) in places; the model diverged or is damaged.")
    values = values.clamp(-1, 1).add_(1.0).mul_(np.iinfo(dtype).max / 2).round_()
    return Image(np.ascontiguousarray(values.permute(1, 2, 0).numpy()).astype(dtype), alpha)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Return `image` at `size` (h, w), bicubic with antialiasing; the aspect ratio is the caller's affair.

    8 bits differ from Pillow's bicubic by 1 at most. Alpha weighs the colours, so that what is hidden under
    transparent pixels does not bleed into visible ones.
    """
    if size == (image.height, image.width):
        return image
    if image.alpha is None and image.dtype == np.uint8:
        return Image(_bicubic(torch.from_numpy(np.array(image.pixels, order="C")), size).numpy())
    top = float(np.iinfo(image.dtype).max)
    if image.alpha is None:
        values = _bicubic(torch.from_numpy(image.pixels.astype(np.float32)), size)
        return Image(values.clamp(0, top).round().numpy().astype(image.dtype))
    share = image.alpha[:, :, None] / top
    values = _bicubic(torch.from_numpy(np.concatenate([image.pixels * share, share], axis=2)), size)
    opaque = values[:, :, -1].clamp(0, 1)
    # By the share before it is clamped: it overshoots at edges together with the colours.
    colors = (values[:, :, :-1] / values[:, :, -1:].clamp(min=0.5 / top)).clamp(0, top)
    alpha = (opaque * top).round().numpy().astype(image.dtype)
    return Image(colors.round().numpy().astype(image.dtype), alpha)


def orientation_of(picture: PIL.Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none, or where the EXIF is broken."""
    try:
        # The base class's method, as that of PNG decodes every pixel to look for EXIF behind them.
        value = PIL.Image.Image.getexif(picture).get(_ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF fails in many ways, and the picture itself may be sound
        return 1
    return value if value in _TURNS else 1


def _bicubic(values: Tensor, size: tuple[int, int]) -> Tensor:
    nchw = values.permute(2, 0, 1)[None]
    resized = F.interpolate(nchw, size, mode="bicubic", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).contiguous()


def _from_8bit(picture: PIL.Image.Image) -> Image:
    grey = picture.mode in _GREY_MODES
    if not grey and picture.mode not in _COLOR_MODES:
        raise ImageError(f"Images of mode {picture.mode} are not understood; convert it to RGB.")
    if not picture.has_transparency_data:
        array = np.array(picture.convert("L" if grey else "RGB"))
        return Image(array[:, :, None] if grey else array)
    array = np.array(picture.convert("LA" if grey else "RGBA"))
    return Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]))


def _from_grey16(picture: PIL.Image.Image) -> Image:
    values = np.array(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ImageError("Numbers beyond 16 bits need an optional part: pip install 'unpaired[sci]'.")
    level = picture.info.get("transparency")  # one grey level of a PNG may be declared transparent
    alpha = None if level is None else np.where(values == level, 0, 65535).astype(np.uint16)
    return Image(values.astype(np.uint16)[:, :, None], alpha)


def _turned(image: Image, orientation: int) -> Image:
    swap, rows, columns = _TURNS[orientation]

    def turn(array: Array) -> Array:
        array = array.swapaxes(0, 1) if swap else array
        return np.ascontiguousarray(array[:: -1 if rows else 1, :: -1 if columns else 1])

    return Image(turn(image.pixels), None if image.alpha is None else turn(image.alpha))
