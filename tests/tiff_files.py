"""TIFF files for tests: of every compression and depth that is read, and crafted ones that no library writes."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import tifffile

from unpaired.images import count_slices, read_image, write_image, write_stack

Array = np.ndarray[Any, np.dtype[Any]]

SHAPES: dict[str, tuple[str, int]] = {
    "1 bit": ("u1", 1),
    "2-7 bits": ("u1", 1),
    "8 grey": ("u1", 1),
    "8 colour": ("u1", 3),
    "8 in 5 bands": ("u1", 5),
    "9-15 bits": ("u2", 1),
    "16 grey": ("u2", 1),
    "16 colour": ("u2", 3),
    "int8": ("i1", 1),
    "int16": ("i2", 1),
    "int32": ("i4", 1),
    "float16": ("f2", 1),
    "float32": ("f4", 1),
}
"""Columns of the table: type and samples."""

_JPEG = (33007, 34892)
BITS = {"1 bit": (1,), "2-7 bits": (2, 3, 4, 5, 6, 7), "9-15 bits": (9, 10, 11, 12, 13, 14, 15)}

Tags = dict[int, tuple[str, Any]]
"""Kind ("H", "I", "s", "d", "R", "B") and values of each tag."""

Maker = Callable[[Path, Array, int], None]
"""Writes samples of a number of bits to a file; raises where the codec has no such samples."""


def samples(column: str, bits: int | None = None, size: tuple[int, int] = (48, 64)) -> Array:
    """Return a smooth picture h w s in whole numbers that any type holds, with no two bands alike."""
    dtype, bands = SHAPES[column]
    y, x = np.mgrid[: size[0], : size[1]]
    most = 2 ** (bits or (8 * np.dtype(dtype).itemsize)) - 1
    top = min(most, 120 if dtype == "i1" else 2000)
    planes = [(x * (band + 2) + y * 3) % (top + 1) for band in range(bands)]
    array = np.stack(planes, axis=2).astype(dtype)
    return array if dtype[0] == "u" else (array - array.dtype.type(60)).astype(dtype)


def written(compression: int | str, tile: tuple[int, int] | None = (16, 16), **options: Any) -> Maker:
    """Return what writes a file by tifffile."""

    def write(path: Path, array: Array, bits: int) -> None:
        bands = array.shape[2]
        partly = bits % 8 != 0
        tifffile.imwrite(
            path,
            array if bands > 1 else array[:, :, 0],
            photometric="rgb" if bands == 3 else "minisblack",
            planarconfig="contig" if bands > 1 else None,
            extrasamples=[0] * (bands - 1) if bands > 3 else None,
            compression=compression,
            tile=None if partly else tile,
            bitspersample=bits if partly else None,
            metadata=None,
            **options,
        )

    return write


def embedded(compression: int, encode: Callable[[Array], bytes], photometric: int | None = None, **more: Any) -> Maker:
    """Return what writes a file of one strip that holds a stream of a codec."""

    def write(path: Path, array: Array, bits: int) -> None:
        height, width, bands = array.shape
        kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
        data = encode(array if bands > 1 else np.ascontiguousarray(array[:, :, 0]))
        color = photometric if photometric is not None else 2 if bands == 3 else 1
        tags = plain_tags(width, height, bits, bands, compression, color, kind) | more.get("tags", {})
        path.write_bytes(tiff([(tags, [data])]))

    return write


def by_pillow(compression: str) -> Maker:
    def write(path: Path, array: Array, bits: int) -> None:
        assert array.dtype == np.uint8
        assert array.shape[2] == 1
        assert bits == 1
        PIL.Image.fromarray(array[:, :, 0] * 255).convert("1", dither=PIL.Image.Dither.NONE).save(
            path, compression=compression
        )

    return write


def packed(array: Array, bits: int) -> bytes:
    """Return rows of samples, each begun at a whole byte, the first sample in the highest bits."""
    rows = array.reshape(array.shape[0], -1).astype(np.uint32)
    every = ((rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
    return np.packbits(every.reshape(len(rows), -1), axis=1).tobytes()


def plain_tags(
    width: int, height: int, bits: int = 8, bands: int = 1, compression: int = 1, photometric: int = 1, kind: int = 1
) -> Tags:
    """Return the tags of a page in one strip."""
    found: dict[int, tuple[str, Sequence[Any]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * bands),
    }
    found |= {259: ("H", [compression]), 262: ("H", [photometric]), 277: ("H", [bands]), 278: ("I", [height])}
    if bands > 3 or (bands == 2 and photometric < 2):
        found[338] = ("H", [0] * (bands - (3 if photometric == 2 else 1)))
    return found | {339: ("H", [kind] * bands)}


_KINDS = {"H": 3, "I": 4, "s": 2, "d": 12, "R": 5, "B": 7}


def tiff(
    pages: Sequence[tuple[Tags, Sequence[bytes]]],
    order: str = "<",
    *,
    big: bool = False,
    places: dict[int, int] | None = None,
) -> bytes:
    """Return a TIFF of pages (tags, strips); an empty strip has neither place nor length.

    The strips' places are put in the tags 273 or 324 and 279 or 325. places: offsets by the strip's number that are
    written instead of the true ones, in every page.
    """
    head = b"II" if order == "<" else b"MM"
    word, size, count, entry = ("Q", 8, "Q", 20) if big else ("I", 4, "H", 12)
    out = io.BytesIO()
    out.write(head + struct.pack(order + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,))))
    link = out.tell()
    out.write(bytes(size))
    for tags, strips in pages:
        offsets = []
        for number, strip in enumerate(strips):
            offsets.append((places or {}).get(number, out.tell() if strip else 0))
            out.write(strip)
        tiled = 322 in tags
        values = dict(tags)
        values.setdefault(324 if tiled else 273, ("I", offsets))
        values.setdefault(325 if tiled else 279, ("I", [len(strip) for strip in strips]))
        blocks = {}
        for tag, (kind, numbers) in sorted(values.items()):
            body = bytes(numbers) if kind in "sB" else struct.pack(order + f"{len(numbers)}{kind}", *numbers)
            blocks[tag] = (_KINDS[kind], len(numbers), body)
        here = out.seek(0, 2)
        behind = here + struct.calcsize(order + count) + entry * len(blocks) + size
        entries = tail = b""
        for tag, (number, length, body) in blocks.items():
            field = body.ljust(size, b"\0") if len(body) <= size else struct.pack(order + word, behind + len(tail))
            tail += body if len(body) > size else b""
            entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, number, length) + field
        out.write(struct.pack(order + count, len(blocks)) + entries + bytes(size) + tail)
        out.seek(link)
        out.write(struct.pack(order + word, here))
        link = here + struct.calcsize(order + count) + len(entries)
        out.seek(0, 2)
    return out.getvalue()


def _ycbcr(array: Array) -> bytes:
    """Return JPEG 2000 whose three components are YCbCr by BT.601, as Aperio's older slides have them."""
    r, g, b = (array[:, :, band].astype(np.float64) for band in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    parts = np.stack([y, (b - y) * 0.564 + 128, (r - y) * 0.713 + 128], axis=2)
    return bytes(
        imagecodecs.jpeg2k_encode(np.round(parts).clip(0, 255).astype(np.uint8), mct=False, codecformat="J2K", level=0)
    )


def _whole(array: Array) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(array, codecformat="J2K", reversible=True, level=0))


def _only(maker: Maker, *columns: str) -> Maker:
    """Return a maker for some columns alone: others would be no sound files."""

    def write(path: Path, array: Array, bits: int) -> None:
        assert any((array.dtype, array.shape[2]) == (np.dtype(SHAPES[one][0]), SHAPES[one][1]) for one in columns)
        assert bits in BITS.get(columns[0], (bits,))
        assert (bits % 8 == 0) == (columns[0] not in BITS)
        maker(path, array, bits)

    return write


def plain(order: str = "<", *, big: bool = False, compression: int = 1, pack: Callable[[bytes], Any] = bytes) -> Maker:
    """Return what writes one strip of numbers; tifffile packs those of odd bits wrongly in the order of Motorola."""

    def write(path: Path, array: Array, bits: int) -> None:
        height, width, bands = array.shape
        ordered = np.dtype(array.dtype).newbyteorder("<" if order == "<" else ">")
        body = packed(array, bits) if bits % 8 else array.astype(ordered).tobytes()
        kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
        tags = plain_tags(width, height, bits, bands, compression, 2 if bands == 3 else 1, kind)
        path.write_bytes(tiff([(tags, [bytes(pack(body))])], order, big=big))

    return write


def _jpeg8(array: Array) -> bytes:
    return bytes(imagecodecs.jpeg_encode(array, level=100))


def _jpeg12(array: Array) -> bytes:
    return bytes(imagecodecs.jpeg_encode(array, level=100, bitspersample=12))


_LERC_DEFLATE = {"compression": "lerc", "compressionargs": {"compression": "deflate"}}
_LERC_ZSTD = {"compression": "lerc", "compressionargs": {"compression": "zstd"}}
_8, _16 = ("8 grey", "8 colour"), ("16 grey", "16 colour")
_JXL = ("8 grey", "8 colour", "16 grey", "16 colour", "float16", "float32")

MAKERS: dict[str, tuple[Maker, ...]] = {
    "none": (written("none"), *(plain(order, big=big) for order in "<>" for big in (False, True))),
    "LZW": (
        written("lzw"),
        written("lzw", tile=None, predictor=True),
        plain(">", compression=5, pack=imagecodecs.lzw_encode),
    ),
    "deflate (8, 32946, 50013)": (
        written("zlib"),
        written("zlib", predictor=True),
        written("zlib", predictor=True, byteorder=">"),
        written(32946, tile=None),
        *(plain(">", compression=one, pack=zlib.compress) for one in (8, 32946, 50013)),
    ),
    "PackBits": (written("packbits"), plain(compression=32773, pack=imagecodecs.packbits_encode)),
    "LZMA": (
        written("lzma"),
        written("lzma", predictor=True),
        plain(">", compression=34925, pack=lzma.compress),
    ),
    "ZSTD (50000, 34926)": (
        written("zstd"),
        written("zstd", predictor=True, byteorder=">"),
        *(plain(compression=one, pack=imagecodecs.zstd_encode) for one in (50000, 34926)),
    ),
    "CCITT RLE, G3, G4": (by_pillow("tiff_ccitt"), by_pillow("group3"), by_pillow("group4")),
    "JPEG (7, 33007, 34892)": (
        _only(written("jpeg", compressionargs={"level": 100}, subsampling=(1, 1)), "8 colour"),
        _only(written("jpeg", compressionargs={"level": 100}), "8 grey"),
        *(
            _only(embedded(one, lambda array: bytes(imagecodecs.jpeg_encode(array, level=100))), "8 grey")
            for one in _JPEG
        ),
        _only(embedded(7, _jpeg12), "9-15 bits"),
    ),
    "JPEG Lossless (7)": (
        _only(embedded(7, lambda array: bytes(imagecodecs.ljpeg_encode(array))), "8 grey"),
        _only(embedded(7, lambda array: bytes(imagecodecs.ljpeg_encode(array, bitspersample=12))), "9-15 bits"),
        _only(embedded(7, lambda array: bytes(imagecodecs.ljpeg_encode(array, bitspersample=16))), "16 grey"),
    ),
    "JPEG 2000 (34712, 33004, Aperio 33005)": (
        embedded(34712, _whole),
        embedded(33005, _whole),
        embedded(33004, _whole),
        written("jpeg2000", compressionargs={"level": 0}),
    ),
    "JPEG 2000 (Aperio 33003, YCbCr)": (_only(embedded(33003, _ycbcr, 6), "8 colour"),),
    "JPEG XL (50002, 52546)": (
        _only(written("jpegxl", compressionargs={"lossless": True}), *_JXL),
        _only(embedded(52546, lambda array: bytes(imagecodecs.jpegxl_encode(array, lossless=True))), *_JXL),
    ),
    "JPEG XR (34934, 22610)": (
        _only(written("jpegxr", compressionargs={"level": 100}), *_JXL),
        _only(embedded(22610, lambda array: bytes(imagecodecs.jpegxr_encode(array, level=100))), *_JXL),
    ),
    "WebP (50001, 34927)": (
        _only(written("webp", compressionargs={"lossless": True}), "8 colour"),
        _only(embedded(34927, lambda array: bytes(imagecodecs.webp_encode(array, lossless=True))), "8 colour"),
    ),
    "PNG (34933)": (_only(written("png"), *_8), _only(written("png"), *_16)),
    "LERC (34887)": (written(**_LERC_DEFLATE), written(**_LERC_ZSTD), written("lerc")),
}
"""Rows of the table: what writes files of each compression."""

NEARLY = {"JPEG (7, 33007, 34892)": 4, "JPEG 2000 (Aperio 33003, YCbCr)": 3}
"""Compressions that are not exact, with the largest difference allowed."""


def drawn(*shape: int, dtype: str = "uint16", most: int | None = None, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, (info.max if most is None else most) + 1, shape, dtype=dtype)


def again(path: Path) -> Path:
    """Return what an identity makes of a file: each slice read and all written back."""
    slices = [read_image(path, frame=frame) for frame in range(count_slices(path))]
    target = path.with_name(f"again-{path.name}")
    if len(slices) == 1:
        write_image(target, slices[0], like=path)
    else:
        write_stack(target, slices, like=path)
    return target
