"""The samples of one page of a TIFF: bounded decoding by strip or tile, with a fill for those never written.

Decoders receive the bytes of one strip or tile and a description of the page that is made here, never the file.
"""

from __future__ import annotations

import io
import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from unpaired.errors import ImageError, UnpairedError
from unpaired.images.extras import extra
from unpaired.images.image import Array
from unpaired.images.tiff import tiff_tags as tags
from unpaired.images.tiff.tiff_guards import lerc_unpacked, refuse_claims, unpacked
from unpaired.images.tiff.tiff_page import CMYK, COMPRESSIONS, PALETTE, YCBCR, Page

_JPEG = (7, 33007, 34892)
_FAX = (2, 3, 4)
_APERIO_YCBCR, _LERC, _PNG = 33003, 34887, 34933
_JPEG2000 = (33003, 33004, 33005, 34712)
_SAMPLES_AS_THEY_ARE = (1, 5, 8, 32773, 32946, 34887, 34925, 34926, 50000, 50013)
_COD = b"\xff\x52"
_PASSED_ON = (
    *(tags.WIDTH, tags.HEIGHT, tags.SAMPLES, tags.ROWS, tags.PLANAR, tags.FILL_ORDER, tags.PREDICTOR),
    *(tags.TILE_WIDTH, tags.TILE_HEIGHT, tags.EXTRA_SAMPLES, tags.SUBSAMPLING),
    *(292, 293),  # options of CCITT G3 and G4
)
_JFIF = 16  # bytes of a strip that identify a JFIF stream and with it its colours


def is_sparse(page: Page) -> bool:
    """Return whether strips or tiles of a page were never written; by convention their offset and length are 0."""
    wanted = math.prod(page.grid)
    if len(page.offsets) < wanted or len(page.counts) < wanted:
        return False
    return any(not place and not count for place, count in zip(page.offsets, page.counts, strict=False))


def refuse_missing(page: Page, shift: int = 0) -> None:
    """Raise ImageError if strips or tiles are damaged or cut off; their content would be arbitrary."""
    wanted = math.prod(page.grid)
    offsets, counts = page.offsets[:wanted], page.counts[:wanted]
    if not counts and len(offsets) == wanted and page.compression != 1:
        return  # `samples_of` refuses missing lengths
    pairs = list(zip(offsets, counts, strict=False))
    if len(pairs) < wanted or any(bool(place) != bool(count) for place, count in pairs):
        raise ImageError("Some of its strips or tiles are missing; fetch it again or remove it.")
    size = page.directory.structure.size
    short = page.compression == 1 and any(
        count and count < page.needed_bytes(index) for index, count in enumerate(counts)
    )
    if short or any(place + shift + count > size for place, count in pairs):
        raise ImageError("It is cut short: it holds fewer bytes than its size asks for; fetch it again.")


def samples_of(page: Page, fill: float, number: int = 0) -> Array:
    """Return the samples of a page h w s as stored; colours of a codec as red, green, blue.

    fill: value of strips or tiles that were never written, except alpha, which is 0 there.
    number: index among consecutive images under one page.

    Raises ImageError if they cannot be decoded.
    """
    shift = number * page.needed_bytes(0)
    refuse_missing(page, shift)
    if not page.counts:
        raise ImageError("It does not declare the lengths of its compressed strips; save it anew.")
    planes, down, across = page.grid
    rows, columns, each = page.segment
    array = np.zeros((page.height, page.width, page.samples), _stored_type(page))
    for index in range(planes * down * across):
        plane, place = divmod(index, down * across)
        top, left = place // across * rows, place % across * columns
        part = array[top : top + rows, left : left + columns, plane : plane + each]
        data = _segment(page, index, shift)
        if data is None:
            part[:] = np.array(fill).astype(array.dtype)
            if page.has_alpha and (plane + each) == page.samples:
                part[:, :, -1] = 0
        else:
            found = _decoded(page, data, index)
            if found.shape[0] < part.shape[0] or found.shape[1] < part.shape[1] or found.shape[2] != each:
                raise ImageError("It is cut short: a strip or tile holds fewer pixels than it should; fetch it again.")
            part[:] = found[: part.shape[0], : part.shape[1]]
    return array


def _segment(page: Page, index: int, shift: int) -> bytes | None:
    """Return the bytes of a strip or tile, None if it was never written."""
    count = page.counts[index] if index < len(page.counts) else 0
    place = page.offsets[index]
    if not count and not place:
        return None
    file = page.directory.structure.file
    file.seek(place + shift)
    return file.read(min(count, page.segment_bytes) if page.compression == 1 else count)


def _stored_type(page: Page) -> np.dtype[Any]:
    """Return the type of the decoded samples."""
    bits, kind = page.depth, page.formats[0]
    if kind == 3:
        return np.dtype(np.float16 if bits == 16 else np.float32)
    width = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return np.dtype(f"{'i' if kind == 2 else 'u'}{width // 8}")


def _decoded(page: Page, data: bytes, index: int) -> Array:
    """Return a strip or tile as an array h w s."""
    if page.compression == _LERC:
        added = page.directory.numbers(tags.LERC)
        data = lerc_unpacked(data, page, int(added[1]) if len(added) > 1 else 0)
    refuse_claims(data, page)
    raw = unpacked(data, page.compression, page.segment_bytes)
    if raw is not None or page.compression in _JPEG or page.compression in _FAX:
        return _by_tifffile(page, data if raw is None else raw, index, plain=raw is not None)
    found = _by_codec(page, data)
    found = found.reshape(*found.shape[:2], -1)
    if found.dtype != _stored_type(page):
        raise ImageError(f"Its strips or tiles hold {found.dtype} and its tags say {_stored_type(page)}; save it anew.")
    return found


def _by_tifffile(page: Page, data: bytes, index: int, *, plain: bool) -> Array:
    """Return a strip or tile whose bytes are samples, JPEG or CCITT."""
    if plain and len(data) < page.needed_bytes(index):
        raise ImageError("It is cut short: a strip or tile holds fewer bytes than it should; fetch it again.")
    head = b"" if plain else data[:_JFIF]
    decoder = _decoder(_described(page, 1 if plain else page.compression, head))
    tables = page.directory.raw(tags.JPEG_TABLES) or None
    # A writable copy, because predictors are undone in place.
    found, _, _ = decoder.decode(bytearray(data) if plain else data, index, jpegtables=tables)
    array: Array = found.reshape(found.shape[1:])
    return array


@lru_cache(maxsize=32)
def _decoder(description: bytes) -> Any:
    """Return tifffile's page of a description; cached, because the pages of a stack have the same one."""
    module = extra("tifffile", "Reading TIFF of this kind")
    return module.TiffFile(io.BytesIO(description)).pages[0]


def _described(page: Page, compression: int, head: bytes) -> bytes:
    """Return a TIFF of one page in the byte order of the file, with only the tags for the storage of samples.

    head: the first bytes of its pixels.
    """
    order = page.directory.structure.order
    values: dict[int, tuple[int, ...]] = {tags.COMPRESSION: (compression,)}
    for tag in _PASSED_ON:
        if numbers := page.directory.numbers(tag):
            values[tag] = tuple(int(number) for number in numbers)
    values[tags.BITS] = page.bits * page.samples if len(page.bits) == 1 else page.bits
    values[tags.SAMPLE_FORMAT] = (1 if page.formats[0] == 4 else page.formats[0],) * page.samples
    values[tags.PHOTOMETRIC] = (page.photometric,)
    values[tags.STRIP_OFFSETS], values[tags.STRIP_COUNTS] = (0,), (len(head),)
    body = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8))
    start = 8 + 2 + 12 * len(values) + 4
    entries, behind = b"", b""
    for tag, numbers in sorted(values.items()):
        place = start + len(behind)
        if len(numbers) == 1:
            entries += struct.pack(order + "HHII", tag, 4, 1, numbers[0] & 0xFFFFFFFF)
            continue
        entries += struct.pack(order + "HHII", tag, 4, len(numbers), place)
        behind += struct.pack(f"{order}{len(numbers)}I", *(number & 0xFFFFFFFF for number in numbers))
    body += struct.pack(order + "H", len(values)) + entries + bytes(4) + behind
    if head:
        where = body.index(struct.pack(order + "HHII", tags.STRIP_OFFSETS, 4, 1, 0)) + 8
        body[where : where + 4] = struct.pack(order + "I", len(body))
    return bytes(body + head)


def _by_codec(page: Page, data: bytes) -> Array:
    """Decode a strip or tile that is a stream of its own; raises ImageError if its decoder is missing."""
    name = COMPRESSIONS[page.compression]
    codecs = extra("imagecodecs", f"Reading TIFF in {name}")
    try:
        if page.compression in _JPEG2000:
            array = codecs.jpeg2k_decode(data)
            return _rgb_of_jpeg2000(page, data, array)
        if page.compression == _LERC:
            return _lerc(page, *codecs.lerc_decode(data, masks=True))
        if name == "WebP":
            return np.asarray(codecs.webp_decode(data, hasalpha=page.segment[2] == 4))
        if name == "JPEG XL":
            return np.asarray(codecs.jpegxl_decode(data, index=0))  # the first frame of an animation
        return np.asarray(codecs.png_decode(data) if page.compression == _PNG else codecs.jpegxr_decode(data))
    except UnpairedError:
        raise
    except ImportError:
        raise ImageError(f"It is in {name}, which imagecodecs was built without; save it with deflate.") from None


def _rgb_of_jpeg2000(page: Page, data: bytes, array: Array) -> Array:
    """Return colours as red, green, blue; Aperio's compression 33003 holds YCbCr that the stream does not convert."""
    turned_by_stream = False
    if (place := data.find(_COD)) >= 0:
        turned_by_stream = data[place + 8 : place + 9] == b"\1"
    ycbcr = page.compression == _APERIO_YCBCR or page.photometric == YCBCR
    return array if turned_by_stream or not ycbcr else _rgb_of_ycbcr(array)


def _rgb_of_ycbcr(array: Array) -> Array:
    """Convert YCbCr by full-range ITU-R BT.601, as JFIF does; samples other than 3 of 8 bits are returned unchanged."""
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        return array
    y, b, r = (array[:, :, number].astype(np.float32) for number in range(3))
    b, r = b - 128, r - 128
    rgb = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=2)
    rounded: Array = np.clip(np.round(rgb), 0, 255).astype(np.uint8)
    return rounded


def _lerc(page: Page, array: Array, mask: Array | None) -> Array:
    """Return values with the pixels that the stream marks as missing: NaN in floats, alpha if the page has it."""
    array = array.reshape(*array.shape[:2], -1)
    if mask is None:
        return array
    known = mask.reshape(*array.shape[:2], -1) != 0
    if array.dtype.kind == "f":
        return np.where(known, array, np.nan).astype(array.dtype)
    if page.has_alpha and array.shape[2] == page.segment[2] - 1:
        alpha = np.where(known[:, :, :1], np.iinfo(array.dtype).max, 0).astype(array.dtype)
        return np.concatenate([array, alpha], axis=2)
    return array


def colours_of(page: Page, stored: Array) -> Array:
    """Convert palette indices or inks to red, green, blue of 8 bits; other samples are returned unchanged."""
    if page.photometric == PALETTE:
        table = page.directory.numbers(tags.COLOR_MAP)
        if page.samples != 1 or len(table) != 3 * 2**page.depth:
            raise ImageError("Its palette is incomplete; save it as RGB.")
        colours = np.array(table, np.uint16).reshape(3, -1).T
        shift = 8 if colours.max() > 255 else 0  # some programs write 8 bits
        return (colours >> shift).astype(np.uint8)[stored[:, :, 0]]
    if page.photometric == YCBCR and page.compression in _SAMPLES_AS_THEY_ARE:
        return _rgb_of_ycbcr(stored)
    if page.photometric == CMYK:
        raise ImageError("It holds inks (CMYK) in a compression that is read for grey and RGB only; save it as RGB.")
    return stored
