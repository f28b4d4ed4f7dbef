"""The header of a DICOM file: the layout of its pixels, its scales, and the positions of its frames in the file.

pydicom reads the data set up to the pixels, never further. The headers of the last files are cached, so that each frame
of a stack costs that frame alone.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

import numpy as np

from unpaired.errors import ImageError, UnpairedError
from unpaired.images.dicom.dicom_codecs import SYNTAXES, Layout, Syntax, refusal
from unpaired.images.dicom.dicom_frames import Frames, find_frames, open_inflated
from unpaired.images.dicom.dicom_places import axes_of, has_spacing
from unpaired.images.dicom.dicom_values import Padding, Scale, Table, dtype_of, no_data
from unpaired.images.extras import extra
from unpaired.images.image import Array

GREY = ("MONOCHROME1", "MONOCHROME2")
"""Values of PhotometricInterpretation for grey."""

PALETTE = "PALETTE COLOR"
"""Value of PhotometricInterpretation for indices into a table of colours."""

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_NAMED = (*GREY, *_COLOURS, PALETTE, "YBR_PARTIAL_422", "YBR_PARTIAL_420", "HSV", "CMYK", "ARGB", "XYB")
_BY_CODEC = ("YBR_RCT", "YBR_ICT")  # the decoder converts them to RGB
_REMEMBERED = 64  # number of cached headers
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
_PIXELS, _FLOATS, _DOUBLES = 0x7FE00010, 0x7FE00008, 0x7FE00009


@dataclass(frozen=True, eq=False)
class Picture:
    """The parsed header of a file.

    scales: one entry, or one for each frame.
    fills: the values for no data, one or one for each frame; empty if the file declares no padding.
    rescaled: whether values differ from the stored numbers.
    spaced: whether the file declares the size of a pixel.
    """

    layout: Layout
    syntax: Syntax
    frames: Frames
    scales: tuple[Scale, ...]
    dtype: np.dtype[Any]
    padding: Padding | None = None
    fills: tuple[float, ...] = ()
    palette: Table | None = None
    spaced: bool = False
    axes: str = ""

    def scale(self, frame: int) -> Scale:
        """Return the scale of a frame."""
        return self.scales[frame if len(self.scales) > 1 else 0]

    def fill(self, frame: int) -> float | None:
        """Return the value for no data in a frame, None if the file declares none."""
        return self.fills[frame if len(self.fills) > 1 else 0] if self.fills else None


_known: OrderedDict[tuple[object, ...], Picture] = OrderedDict()
_lock = threading.Lock()


def described(file: BinaryIO) -> Picture:
    """Return the header of a file; an unchanged file is not parsed again."""
    status = os.fstat(file.fileno())
    key = (file.name, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    _, picture = parsed(file)
    with _lock:
        _known[key] = picture
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return picture


def parsed(file: BinaryIO) -> tuple[Any, Picture]:
    """Return the data set without its pixels, and its header.

    Raises ImageError for a file without an image or of a kind that is not read, MissingExtraError without pydicom.
    """
    pydicom = extra("pydicom", "Reading DICOM")
    try:
        return _parsed(pydicom, file)
    except (UnpairedError, OSError):
        raise
    except Exception as error:  # damaged headers make the library raise any exception
        raise ImageError(f"Its header is damaged or cut short ({type(error).__name__}); fetch it again.") from None


def _parsed(pydicom: Any, file: BinaryIO) -> tuple[Any, Picture]:
    syntax, start = _syntax(pydicom, file)
    stream, inflated = file, None
    if syntax is not None and syntax.deflated:
        stream, inflated = open_inflated(file, start), start
    else:
        file.seek(0)
    data = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    if syntax is None:
        implicit, little = data.original_encoding
        syntax = replace(SYNTAXES["1.2.840.10008.1.2"], implicit=bool(implicit), little=bool(little))
    _refuse_other_kinds(pydicom, data)
    tag, vr, length = _pixels(stream, syntax)
    layout = _layout(data, syntax, floats=tag == _FLOATS, vr=vr)
    table = _offsets(data) if syntax.encapsulated else None
    count = int(data.get("NumberOfFrames") or 1)
    if count < 1:
        raise ImageError(f"It claims {count} frames; save it anew.")
    frames = find_frames(stream, layout, syntax, count, inflated, item=(length, table))
    return data, _picture(data, layout, syntax, frames)


def _syntax(pydicom: Any, file: BinaryIO) -> tuple[Syntax | None, int]:
    """Return the transfer syntax, None if the file does not name one, and the offset of the data set."""
    file.seek(0)
    head = file.read(144)
    start = 132 if head[128:132] == b"DICM" else 0
    first = head[start : start + 8]
    if first[:4] not in (b"\2\0\0\0", b"\2\0\1\0", b"\2\0\2\0", b"\2\0\3\0", b"\2\0\x10\0"):
        if start == 0 and not _looks_bare(first):
            raise ImageError("It is no DICOM file; remove it.")
        return None, start
    file.seek(start)
    meta = pydicom.filereader.read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    uid = str(meta.get("TransferSyntaxUID", "") or "")
    if uid and uid not in SYNTAXES:
        name = pydicom.uid.UID(uid).name
        raise ImageError(
            refusal(uid if uid.isascii() and uid.isprintable() else "of no name", name if name != uid else "")
        )
    return SYNTAXES[uid] if uid else None, file.tell()


def _looks_bare(first: bytes) -> bool:
    """Return whether bytes begin a data set without the preamble of files: an element of group 8."""
    if first[:2] == b"\0\x08":  # big endian syntaxes always name the type
        return first[4:6].isalpha() and first[4:6].isupper()
    if first[:2] != b"\x08\0" or first[3:4] != b"\0":
        return False
    named = first[4:6].isalpha() and first[4:6].isupper()
    return named or int.from_bytes(first[4:8], "little") < 2**16


def _refuse_other_kinds(pydicom: Any, data: Any) -> None:
    if "Rows" not in data or "Columns" not in data or "BitsAllocated" not in data:
        uid = str(data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID") or "")
        name = pydicom.uid.UID(uid).name
        kind = f", but is of the kind {name}" if name != uid else ", as some DICOM files do not"
        raise ImageError(f"It holds no picture{kind}; remove it.")
    if "TotalPixelMatrixColumns" in data and int(data.get("NumberOfFrames") or 1) > 1:
        raise ImageError(f"It is a slide in {data.NumberOfFrames} tiles, which are not put together; save it as TIFF.")


def _pixels(stream: BinaryIO, syntax: Syntax) -> tuple[int, bytes, int]:
    """Read tag, type and length of the element at the stream's position."""
    order: Literal["little", "big"] = "little" if syntax.little else "big"
    head = stream.read(8)
    if len(head) < 8:
        raise ImageError("It is cut short before its pixels; fetch it again.")
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag == _DOUBLES:
        raise ImageError("It holds float64 (DoubleFloatPixelData), which is not read; convert it to FloatPixelData.")
    if tag not in (_PIXELS, _FLOATS):
        raise ImageError("It describes an image, but holds no pixels; fetch it again or remove it.")
    vr = head[4:6] if head[4:6] in _LONG_VRS else b"OW"
    raw = stream.read(4) if head[4:6] in _LONG_VRS else head[4:8]
    return tag, vr, int.from_bytes(raw, order)


def _layout(data: Any, syntax: Syntax, *, floats: bool, vr: bytes) -> Layout:
    """Return the layout of the numbers; raises ImageError for an unsupported one."""
    samples, allocated = int(data.get("SamplesPerPixel") or 1), int(data.BitsAllocated)
    kind = str(data.get("PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2"))
    known = kind in (*GREY, PALETTE) if samples == 1 else samples == 3 and kind in _COLOURS
    sizes = (32,) if floats else (1, 8, 16, 32) if samples == 1 else (8, 16)
    if kind.startswith("YBR") and kind not in _BY_CODEC:
        sizes = (8,)
    if not known or allocated not in sizes:
        colours = kind if kind in _NAMED else "unknown colours"
        name = f"DICOM in {colours} of {samples} channel{'s' if samples > 1 else ''} and {allocated} bits"
        raise ImageError(f"{name} is not supported; convert it to MONOCHROME2 or RGB of 8 or 16 bits.")
    bits = allocated if floats else int(data.get("BitsStored") or allocated)
    high = bits - 1 if floats or data.get("HighBit") is None else int(data.HighBit)
    rows, columns = int(data.Rows), int(data.Columns)
    if not (1 <= bits <= allocated and bits - 1 <= high < allocated and rows > 0 and columns > 0):
        raise ImageError(f"It claims {columns} x {rows} pixels of {bits} bits up to bit {high}; save it anew.")
    if kind == "YBR_FULL_422" and syntax.codec in ("native", "deflate") and columns % 2:
        raise ImageError(f"Its colours are shared by pairs of pixels, but {columns} columns are odd; save it anew.")
    return Layout(
        rows,
        columns,
        samples,
        allocated,
        bits,
        high,
        signed=bool(data.get("PixelRepresentation")),
        planar=samples == 3 and bool(data.get("PlanarConfiguration")),
        kind=kind,
        floats=floats,
        packed=allocated == 8 and vr == b"OW",
    )


def _offsets(data: Any) -> list[int] | None:
    """Return the extended table of offsets, as in files of more than 4 GB."""
    table = data.get("ExtendedOffsetTable")
    return None if not table else np.frombuffer(table[: len(table) // 8 * 8], "<i8").tolist()


def _picture(data: Any, layout: Layout, syntax: Syntax, frames: Frames) -> Picture:
    """Collect the scales, the padding and the geometry of the data set."""
    scales = _scales(data, layout, syntax, frames.count)
    dtype = np.dtype(np.float32) if layout.floats else dtype_of(scales)
    palette, padding = None, None
    fills: tuple[float, ...] = ()
    if layout.kind == PALETTE:
        palette = _palette(data, layout, syntax)
        dtype = palette.entries.dtype
    elif layout.kind in GREY:
        padding = _padding(data, layout)
    if padding is not None and layout.floats:
        fills = tuple(float(np.float32(padding.written * one.slope + one.intercept)) for one in scales)
    elif padding is not None:
        for one in scales:
            dtype = np.promote_types(dtype, no_data(one, padding, dtype)[1]) if dtype.kind != "f" else dtype
        fills = tuple(no_data(one, padding, dtype)[0] for one in scales)
    spaced, axes = has_spacing(data), axes_of(data)
    return Picture(layout, syntax, frames, scales, dtype, padding, fills, palette, spaced, axes)


def _scales(data: Any, layout: Layout, syntax: Syntax, count: int) -> tuple[Scale, ...]:
    """Return the scale of all frames, or of each frame; colours have none."""
    plain = Scale(layout.least, layout.most)
    if layout.kind not in GREY:
        return (plain,)
    turned = layout.kind == "MONOCHROME1" or str(data.get("PresentationLUTShape", "")) == "INVERSE"
    if turned and layout.floats:
        raise ImageError("Its floats are inverted, but have no range for the inversion; save MONOCHROME2.")
    if data.get("ModalityLUTSequence") and not layout.floats:
        item = data.ModalityLUTSequence[0]
        table, top = _table(item.LUTDescriptor, [item.LUTData], layout, syntax)
        turned = turned and str(item.get("ModalityLUTType", "")) != "HU"
        return (replace(plain, inverted=turned, table=table, top=top),)
    sources = _transformations(data, count)
    found = [_rescale(source) for source in sources]
    # Hounsfield units do not depend on the polarity of display.
    scales = [
        replace(plain, inverted=turned and unit != "HU", slope=slope, intercept=intercept)
        for slope, intercept, unit in (found[:1] if len(set(found)) == 1 else found)
    ]
    return tuple(scales)


def _transformations(data: Any, count: int) -> Sequence[Any]:
    """Return the data sets that hold the rescale: of each frame, of all frames, or of the file."""

    def inside(groups: Any) -> Any:
        found = groups.get("PixelValueTransformationSequence")
        return found[0] if found else None

    shared = data.get("SharedFunctionalGroupsSequence")
    common = inside(shared[0]) if shared else None
    each = [inside(groups) for groups in data.get("PerFrameFunctionalGroupsSequence") or ()]
    if any(one is not None for one in each):
        if len(each) != count:
            raise ImageError(f"It holds {count} frames and describes {len(each)}; save it anew.")
        return [common if one is None else one for one in each]
    return [data if common is None else common]


def _rescale(source: Any) -> tuple[float, float, str]:
    """Return slope, intercept and unit; raises ImageError for a slope that erases the values."""
    if source is None:
        return 1.0, 0.0, ""
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    if slope is None and intercept is None and source.get("DoseGridScaling") is not None:
        slope = source.DoseGridScaling  # gray per number, in RT Dose
    slope, intercept = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope):
        raise ImageError(
            f"Its rescale slope is {slope} and its intercept {intercept}, which gives no values; save it anew."
        )
    return slope, intercept, str(source.get("RescaleType") or "")


def _table(descriptor: Any, columns: Sequence[Any], layout: Layout, syntax: Syntax) -> tuple[Table, int]:
    """Return a lookup table of one column or three, and the largest possible entry."""
    count, first, bits = (int(number) for number in descriptor)
    count, first = count % 2**16 or 2**16, first % 2**16
    if layout.signed and first >= 2**15:
        first -= 2**16
    entries = [_entries(column, count, syntax) for column in columns]
    if not 1 <= bits <= 16 or any(len(column) < count for column in entries):
        raise ImageError(f"Its lookup table of {count} entries of {bits} bits is cut short; fetch it again.")
    array = np.stack([column[:count] for column in entries], axis=1)
    wide = np.uint16 if bits > 8 or array.max() > 255 else np.uint8
    array = array.astype(wide)
    top = max(2**bits - 1, np.iinfo(wide).max if array.max() >= 2**bits else 0)
    return Table(first, array if len(columns) > 1 else array[:, 0]), int(top)


def _entries(data: Any, count: int, syntax: Syntax) -> Array:
    if not isinstance(data, bytes):
        return np.atleast_1d(np.array(data, np.int64)) % 2**16
    size = "u1" if len(data) < 2 * count else "u2"
    return np.frombuffer(data[: len(data) // int(size[1]) * int(size[1])], ("<" if syntax.little else ">") + size)


def _palette(data: Any, layout: Layout, syntax: Syntax) -> Table:
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    if any(name not in data for name in names):
        raise ImageError("Its palette is in segments or missing, which is not supported; convert it to RGB.")
    descriptor = data.RedPaletteColorLookupTableDescriptor
    return _table(descriptor, [data[name].value for name in names], layout, syntax)[0]


def _padding(data: Any, layout: Layout) -> Padding | None:
    """Return the padding for no data, as numbers with the sign of the pixels."""
    name = "FloatPixelPadding" if layout.floats else "PixelPadding"
    value, limit = data.get(f"{name}Value"), data.get(f"{name}RangeLimit")
    if value is None or isinstance(value, bytes | str):
        return None
    if layout.floats:
        value, limit = float(np.float32(value)), float(np.float32(value if limit is None else limit))
        return Padding(min(value, limit), max(value, limit), value)

    def as_stored(number: Any) -> int:
        cut = int(number) % (1 << layout.allocated)
        return cut - (1 << layout.allocated) if layout.signed and cut >> (layout.allocated - 1) else cut

    ends = [as_stored(value), as_stored(value if limit is None else limit)]
    return Padding(min(ends), max(ends), ends[0])
