"""DICOM transfer syntaxes: the supported ones, and the decoding of one frame to its stored numbers.

The header of every stream is compared with the data set before decoding, so that no decoder allocates more than the
data set claims. Syntaxes that are not listed here are refused by name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np

from unpaired.errors import ImageError
from unpaired.images.extras import extra
from unpaired.images.guards import refuse_overlong
from unpaired.images.image import Array
from unpaired.images.jpeg2000 import greedy
from unpaired.images.streams import stream_size

Codec = Literal["native", "deflate", "rle", "jpeg", "jpeg-lossless", "jpeg-ls", "jpeg2000"]


@dataclass(frozen=True)
class Syntax:
    """A supported transfer syntax. Encapsulated frames are stored in fragments, each frame by itself."""

    name: str
    codec: Codec = "native"
    encapsulated: bool = True
    implicit: bool = False
    little: bool = True
    deflated: bool = False
    lossy: bool = False


_BASE = "1.2.840.10008.1.2"
DEFLATED = f"{_BASE}.1.99"
"""The syntax that compresses the whole data set."""

SYNTAXES: dict[str, Syntax] = {
    _BASE: Syntax("Implicit VR Little Endian", encapsulated=False, implicit=True),
    f"{_BASE}.1": Syntax("Explicit VR Little Endian", encapsulated=False),
    f"{_BASE}.2": Syntax("Explicit VR Big Endian", encapsulated=False, little=False),
    DEFLATED: Syntax("Deflated Explicit VR Little Endian", encapsulated=False, deflated=True),
    f"{_BASE}.1.98": Syntax("Encapsulated Uncompressed"),
    f"{_BASE}.8.1": Syntax("Deflated Image Frame", "deflate"),
    f"{_BASE}.5": Syntax("RLE Lossless", "rle"),
    f"{_BASE}.4.50": Syntax("JPEG Baseline, 8 bits", "jpeg", lossy=True),
    f"{_BASE}.4.51": Syntax("JPEG Extended, 12 bits", "jpeg", lossy=True),
    f"{_BASE}.4.57": Syntax("JPEG Lossless, any predictor", "jpeg-lossless"),
    f"{_BASE}.4.70": Syntax("JPEG Lossless, first predictor", "jpeg-lossless"),
    f"{_BASE}.4.80": Syntax("JPEG-LS Lossless", "jpeg-ls"),
    f"{_BASE}.4.81": Syntax("JPEG-LS Near-lossless", "jpeg-ls", lossy=True),
    f"{_BASE}.4.90": Syntax("JPEG 2000 Lossless", "jpeg2000"),
    f"{_BASE}.4.91": Syntax("JPEG 2000", "jpeg2000", lossy=True),
    f"{_BASE}.4.201": Syntax("HTJ2K Lossless", "jpeg2000"),
    f"{_BASE}.4.202": Syntax("HTJ2K Lossless, RPCL", "jpeg2000"),
    f"{_BASE}.4.203": Syntax("HTJ2K", "jpeg2000", lossy=True),
}
"""The transfer syntaxes that are read, by their UID."""

_VIDEO = range(100, 109)  # MPEG-2, H.264 and HEVC below 1.2.840.10008.1.2.4
_ELSEWHERE = {94, 95, 204, 205}  # JPIP
_SEVERAL = {92, 93}  # JPEG 2000 part 2
_RETIRED = range(52, 67)
_JPEG_XL = {110, 111, 112}  # frames in it may be larger than the size in its header


def refusal(uid: str, name: str) -> str:
    """Return the error message for an unsupported transfer syntax. name: in the standard, "" if it has none."""
    kind = name or uid[:64]
    last = int(uid.rpartition(".")[2]) if uid.startswith(f"{_BASE}.4.") and uid.rpartition(".")[2].isdigit() else 0
    if last in _VIDEO or uid.startswith(f"{_BASE}.7."):
        return f"It holds a video ({kind}); save its frames as images."
    if last in _ELSEWHERE:
        return f"Its pixels lie on a server ({kind}); fetch them, then save it with its pixels."
    if last in _SEVERAL:
        return f"Its frames are compressed together ({kind}); save it uncompressed or in lossless JPEG 2000."
    if last in _JPEG_XL:
        kind = "JPEG XL"
    retired = " (retired)" if last in _RETIRED and "Retired" not in kind else ""
    return f"Its transfer syntax {kind}{retired} is not read; save it uncompressed (Explicit VR Little Endian)."


@dataclass(frozen=True)
class Layout:
    """The storage of the numbers of a frame: columns, rows, samples per pixel, bits and their position.

    allocated: bits of a cell; the number has the `bits` up to bit `high`.
    planar: the samples are in separate planes.
    kind: the data set's PhotometricInterpretation.
    floats: the cells are float32.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    bits: int
    high: int
    signed: bool
    planar: bool
    kind: str
    floats: bool = False
    packed: bool = False  # OW of 8 bits in big endian: the bytes of each pair are swapped

    @property
    def subsampled(self) -> bool:
        """Whether two pixels share their colour, as in uncompressed frames of this kind."""
        return self.kind == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        samples = 2 if self.subsampled and self.samples == 3 else self.samples
        return self.rows * self.columns * samples * self.allocated

    @property
    def least(self) -> int:
        """The lowest number that can be stored."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        """The highest number that can be stored."""
        return self.least + (1 << self.bits) - 1

    @property
    def cell(self) -> np.dtype[Any]:
        """The unsigned type of a cell."""
        return np.dtype(f"u{max(self.allocated // 8, 1)}")


def decoded(data: bytes, layout: Layout, syntax: Syntax) -> Array:
    """Decode an encapsulated frame to its cells h w c, colours as stored or RGB.

    Raises ImageError if the stream claims another size than the data set, or is cut short; MissingExtraError without
    imagecodecs.
    """
    if syntax.codec == "native":
        return native(data, layout, syntax.little)
    if syntax.codec == "deflate":
        inflated = zlib.decompressobj(-15).decompress(data, (layout.frame_bits + 7) // 8 + 1)
        return native(inflated, layout, syntax.little)
    if syntax.codec == "rle":
        return _rle(data, layout)
    bits = _checked_bits(data, layout, syntax)
    array = _DECODERS[syntax.codec](data, layout, extra("imagecodecs", f"Reading DICOM in {syntax.name}"))
    array = array[:, :, None] if array.ndim == 2 else array
    wanted = (layout.rows, layout.columns, layout.samples)
    if array.shape != wanted:
        raise ImageError(f"A frame decodes to {array.shape}, not the {wanted} of its header; fetch it again.")
    return _aligned(array, layout, syntax, bits) if bits <= layout.bits else array


def _aligned(array: Array, layout: Layout, syntax: Syntax, bits: int) -> Array:
    """Shift the numbers of a stream, with their sign, to the bits of the cells."""
    if array.dtype.kind == "i" and not layout.signed:
        raise ImageError("A frame's numbers have a sign, although its header declares unsigned ones; save it anew.")
    numbers = array.astype(np.int64)
    if layout.signed and syntax.codec == "jpeg2000" and array.dtype.kind == "u":  # a common fault of writers
        numbers -= (numbers >> (bits - 1)) << bits
    return numbers << (layout.high + 1 - layout.bits)


def native(data: bytes, layout: Layout, little: bool) -> Array:
    """Return the cells of an uncompressed frame, h w c; raises ImageError if it is cut short."""
    if 8 * len(data) < layout.frame_bits:
        raise ImageError("It is cut short: it holds fewer bytes than its size asks for; fetch it again.")
    shape = (layout.rows, layout.columns, layout.samples)
    if layout.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=layout.frame_bits, bitorder="little")
        return bits.reshape(shape)
    kind = "f4" if layout.floats else layout.cell.str[1:]
    flat = np.frombuffer(data, ("<" if little else ">") + kind, layout.frame_bits // layout.allocated)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    if layout.samples == 3 and layout.subsampled:
        pairs = flat.reshape(layout.rows, layout.columns // 2, 4)  # Y1 Y2 Cb Cr
        luma = pairs[:, :, :2].reshape(layout.rows, layout.columns, 1)
        return np.concatenate([luma, np.repeat(pairs[:, :, 2:], 2, axis=1)], axis=2)
    if layout.planar:
        return flat.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return flat.reshape(shape)


def _checked_bits(data: bytes, layout: Layout, syntax: Syntax) -> int:
    """Return the bits of the stream without decoding; raises ImageError unless it claims the size of the data set."""
    claim = stream_size(data)
    if claim is None:
        raise ImageError(f"A frame is no stream of {syntax.name}, which its header promises; fetch it again.")
    if claim.kind != syntax.codec and not {claim.kind, syntax.codec} <= {"jpeg", "jpeg-lossless"}:
        raise ImageError(f"A frame is {claim.kind}, not {syntax.name} as its header declares; save it anew.")
    wanted = (layout.columns, layout.rows, layout.samples)
    if (claim.width, claim.height, claim.channels) != wanted or claim.bits > max(layout.allocated, 8):
        raise ImageError(
            f"A frame claims {claim.width} x {claim.height} pixels of {claim.channels} channels and {claim.bits} bits, "
            f"its header {layout.columns} x {layout.rows} of {layout.samples} and {layout.allocated}; fetch it again."
        )
    refuse_overlong("A frame", data[:132], BytesIO(data))
    reason = greedy(data) if claim.kind == "jpeg2000" else ""
    if reason:
        raise ImageError(f"A frame {reason}, unlike any real image, and was not decoded; save it anew.")
    return claim.bits


def _rle(data: bytes, layout: Layout) -> Array:
    """Decode PackBits segments: one for each byte of a cell, the highest first, sample by sample (PS3.5 annex G)."""
    width = layout.allocated // 8
    segments, pixels = layout.samples * width, layout.rows * layout.columns
    if len(data) < 64 or layout.allocated % 8:
        raise ImageError("A frame is too short for RLE; fetch it again.")
    count, *starts = np.frombuffer(data, "<u4", 16).tolist()
    if count != segments:
        raise ImageError(f"A frame has {count} RLE segments, its header asks for {segments}; fetch it again.")
    unpack = extra("imagecodecs", "Reading DICOM in RLE").packbits_decode
    planes = np.empty((layout.samples, width, pixels), np.uint8)
    for index, (start, end) in enumerate(zip(starts[:count], [*starts[1:count], len(data)], strict=True)):
        plane = unpack(data[start:end])  # at most 64 bytes per input byte
        if len(plane) < pixels:
            raise ImageError("It is cut short: an RLE segment holds too few bytes; fetch it again.")
        planes[index // width, index % width] = np.frombuffer(plane, np.uint8, pixels)
    cells = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">u{width}")
    array = cells.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return array.view(">f4") if layout.floats else array


def _jpeg(data: bytes, layout: Layout, codecs: Any) -> Array:
    """Decode a JPEG of 8 or 12 bits and convert YCbCr to RGB."""
    refuse_cut(data)
    if layout.samples == 3 and _is_ycbcr(data, layout.kind):
        return np.asarray(codecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="RGB"))
    return _components(data, layout, codecs)


def _jpeg_lossless(data: bytes, layout: Layout, codecs: Any) -> Array:
    """Decode a lossless JPEG, with colours as stored."""
    refuse_cut(data)
    return _components(data, layout, codecs)


def _components(data: bytes, layout: Layout, codecs: Any) -> Array:
    """Return the components of a JPEG as stored."""
    space = "RGB" if layout.samples == 3 else "GRAYSCALE"  # input and output space are equal: no conversion
    return np.asarray(codecs.jpeg8_decode(data, colorspace=space, outcolorspace=space))


def refuse_cut(data: bytes) -> None:
    """Raise ImageError for a JPEG without an end marker: decoders fill its missing part with arbitrary values."""
    # In the pixels FF is followed by a zero bit or a restart marker: an end marker behind their start is the image's.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ImageError("It is cut short: a frame's JPEG has no end; fetch it again.")


def _is_ycbcr(data: bytes, kind: str) -> bool:
    """Return whether a JPEG of three components holds YCbCr, by its own header, else by the data set."""
    head = data[: data.find(b"\xff\xda") + 1]
    adobe = head.find(b"Adobe\0")
    if adobe >= 2 and int.from_bytes(head[adobe - 2 : adobe]) >= 14:
        return head[adobe + 11] == 1
    return b"JFIF\0" in head[:32] or kind != "RGB"


def _jpeg_ls(data: bytes, layout: Layout, codecs: Any) -> Array:
    refuse_cut(data)
    return np.asarray(codecs.jpegls_decode(data))


def _jpeg2000(data: bytes, layout: Layout, codecs: Any) -> Array:
    """Decode JPEG 2000, and HTJ2K, which the same library reads."""
    return np.asarray(codecs.jpeg2k_decode(data, numthreads=1))


_DECODERS: dict[str, Callable[[bytes, Layout, Any], Array]] = {
    "jpeg": _jpeg,
    "jpeg-lossless": _jpeg_lossless,
    "jpeg-ls": _jpeg_ls,
    "jpeg2000": _jpeg2000,
}
