"""Writing TIFF: images of any type, and stacks, with contents taken over from the original.

Kept are the georeference, the size of a pixel, the no-data value, whether 0 is white, and the axes of OME and ImageJ.
Nothing else is copied: no EXIF, no description, no name of a program or a person.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from unpaired.errors import OutputError, UnpairedError
from unpaired.images.extras import extra
from unpaired.images.image import Array, Image, turned
from unpaired.images.tiff import tiff_tags as tags
from unpaired.images.tiff.tiff_axes import Axes
from unpaired.images.tiff.tiff_page import RGB, WHITE_IS_ZERO, YCBCR, Page, page_of
from unpaired.images.tiff.tiff_pages import physical_size, surveyed
from unpaired.images.tiff.tiff_tags import MAGIC, Structure

_STRAIGHT = 2
_BIG = 2**32 - 2**25
_MASK = {"photometric": 4, "subfiletype": 4, "compression": "adobe_deflate", "metadata": None, "software": False}
_BACK = {6: 8, 8: 6}  # orientations that are not their own inverse
_SWAPPED = (5, 6, 7, 8)
_KINDS_OF_TAGS = {12: "d", 2: "s", 3: "H", 4: "I"}


@dataclass(frozen=True)
class _Source:
    """Contents of the original that its result keeps."""

    axes: Axes | None
    inverted: bool
    bands: int
    bits: int
    orientation: int
    georeference: tuple[tuple[Any, ...], ...]
    resolution: tuple[float, float] | None
    unit: int
    colours: bool = False
    packed: int | None = None

    @property
    def has_something(self) -> bool:
        return bool(self.axes or self.inverted or self.georeference or self.resolution)


def has_more_to_keep(image: Image, like: Path | None) -> bool:
    """Return whether a result keeps contents that only `encode` writes."""
    if image.nodata is not None or image.mask is not None:
        return True
    source = _source(like, image)
    return source is not None and source.has_something


def encode(images: Sequence[Image], icc: bytes | None, like: Path | None = None) -> bytes:
    """Return a losslessly compressed TIFF of one image or of the slices of a stack.

    like: the original file. If its slices have the same size, the result keeps its georeference, the size of a pixel,
    whether 0 is white, and the axes of OME or ImageJ. Raises OutputError for slices that differ from one another.
    """
    first = images[0]
    if any((one.interleaved.shape, one.dtype) != (first.interleaved.shape, first.dtype) for one in images):
        raise OutputError("The slices of a stack must be of one size and type; write them as files of their own.")
    source = _source(like, first)
    if source is not None:
        source = replace(source, packed=_packed_bits(images, source))
    plain = len(images) == 1 and _is_plain(first) and first.mask is None
    if plain and not (source and (source.axes or source.inverted)):
        return _by_pillow(first, source, icc)
    module, encoded = extra("tifffile", "Writing TIFF of these values"), io.BytesIO()
    if source is not None and source.georeference and source.orientation != 1:
        # The georeference is for the rows as stored.
        images = [turned(one, _BACK.get(source.orientation, source.orientation)) for one in images]
    arrays = [_stored(one, source) for one in images]
    size = sum(array.nbytes for array in arrays)
    form = _form(images, source)
    form = "ome" if form == "imagej" and size > _BIG else form  # too large for ImageJ
    kind = {"ome": form == "ome", "imagej": form == "imagej", "shaped": False}
    with module.TiffWriter(encoded, bigtiff=size > _BIG, **kind) as out:
        if form:
            assert source is not None
            _write_stack(out, images[0], arrays, source, form, icc)
        else:
            for array, image in zip(arrays, images, strict=True):
                out.write(_squeezed(array), metadata=None, **_options(image, source, icc))
                if image.mask is not None:
                    out.write(~image.mask, **_MASK)
    return encoded.getvalue()


def _is_plain(image: Image) -> bool:
    """Return whether Pillow can write an image, so that no optional library is needed."""
    deep_grey = image.dtype == np.uint16 and image.interleaved.shape[2] == 1
    return deep_grey or (image.dtype == np.uint8 and image.channels in (1, 3))


def _by_pillow(image: Image, source: _Source | None, icc: bytes | None) -> bytes:
    """Return a TIFF of a plain image with the contents kept from its source."""
    if source is not None and source.georeference:
        image = turned(image, _BACK.get(source.orientation, source.orientation))
    info = TiffImagePlugin.ImageFileDirectory_v2()
    kept = _tags(source, _stored_nodata(image, source))
    for tag, kind, _, value, _ in kept["extratags"]:
        info.tagtype[tag] = {"s": 2, "H": 3, "I": 4, "d": 12}[kind]
        info[tag] = value.decode("latin-1") if isinstance(value, bytes) else value
    if "resolution" in kept:
        info[tags.X_RESOLUTION], info[tags.Y_RESOLUTION] = kept["resolution"]
        info[tags.RESOLUTION_UNIT] = kept["resolutionunit"]
    encoded = io.BytesIO()
    profile = {"icc_profile": icc} if icc else {}
    picture = replace(image, icc=None).to_pil()
    picture.save(encoded, format="TIFF", compression="tiff_adobe_deflate", tiffinfo=info, **profile)
    return encoded.getvalue()


def _source(like: Path | None, image: Image) -> _Source | None:
    """Return the contents of a TIFF that a result of the size of `image` keeps; None for other files or sizes."""
    if like is None or not _is_tiff(like):
        return None
    try:
        with like.open("rb") as file:
            structure = Structure(file)
            survey = surveyed(structure)
            page = page_of(structure.directory(survey.picture))
            if page.upright != (image.width, image.height):
                return None
            axes = survey.axes if survey.axes and survey.axes.kind in ("ome", "imagej") else None
            return _Source(
                axes,
                page.photometric == WHITE_IS_ZERO,
                page.samples - page.has_alpha,
                page.depth,
                page.orientation,
                _georeference(page),
                *_resolution(page, axes),
                page.photometric in (RGB, YCBCR),
            )
    except (OSError, UnpairedError):
        return None


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


def _georeference(page: Page) -> tuple[tuple[Any, ...], ...]:
    """Return the tags of the georeference in tifffile's form."""
    found: list[tuple[Any, ...]] = []
    for tag in tags.GEOREFERENCE:
        entry = page.directory.entries.get(tag)
        if entry is None or entry[0] not in _KINDS_OF_TAGS:
            continue
        if entry[0] == 2:
            text = page.directory.raw(tag).rstrip(b"\0")
            found.append((tag, "s", 0, text, True))
        elif numbers := page.directory.numbers(tag):
            found.append((tag, _KINDS_OF_TAGS[entry[0]], len(numbers), numbers, True))
    return tuple(found)


def _resolution(page: Page, axes: Axes | None) -> tuple[tuple[float, float] | None, int]:
    """Return pixels per unit across and down the upright image, and the unit; None if the file has none."""
    across, down = (page.directory.numbers(tag) for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION))
    unit = page.directory.number(tags.RESOLUTION_UNIT, 2)
    known = bool(across) and bool(down) and all(math.isfinite(one) and one > 0 for one in (across[0], down[0]))
    if not known or not (physical_size(page, None) or (axes and axes.kind == "imagej")):
        return None, 1
    pair = (across[0], down[0])
    return (pair[::-1] if page.orientation in _SWAPPED else pair), unit


def _form(images: Sequence[Image], source: _Source | None) -> str:
    """Return the form of the result: "ome", "imagej" or ""."""
    if source is None or source.axes is None:
        return ""
    image = images[0]
    if source.axes.kind == "imagej":
        plain = image.alpha is None and image.dtype.name in ("uint8", "uint16", "float32") and not source.inverted
        return "imagej" if plain else ""
    return "ome" if image.alpha is None else ""


def _write_stack(
    out: Any, image: Image, arrays: Sequence[Array], source: _Source, form: str, icc: bytes | None
) -> None:
    """Write slices as a series of OME or ImageJ in the order t, z, c."""
    axes = source.axes
    assert axes is not None
    t, z, c = axes.sizes
    if t * z != len(arrays):
        t, z = 1, len(arrays)
    rgb = arrays[0].shape[2] == 3 and c == 1 and arrays[0].dtype == np.uint8
    channels = 1 if rgb else arrays[0].shape[2]
    planes = [array if rgb else array.transpose(2, 0, 1) for array in arrays]
    stack = np.stack(planes).reshape(t, z, channels, *(arrays[0].shape[:2]), *([3] if rgb else []))
    metadata: dict[str, Any] = {"axes": "TZCYXS" if rgb else "TZCYX"}
    options = _tags(source, _stored_nodata(image, source))
    spacing = dict(axes.spacing)
    if form == "ome":
        if source.orientation in _SWAPPED and not source.georeference:
            spacing |= {new: axes.spacing[old] for new, old in (("x", "y"), ("y", "x")) if old in axes.spacing}
        for axis, size in spacing.items():
            metadata |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": axes.unit}
        if axes.names and len(axes.names) == channels:
            metadata["Channel"] = {"Name": list(axes.names)}
    else:
        metadata |= {key: spacing[axis] for axis, key in (("z", "spacing"), ("t", "finterval")) if axis in spacing}
        metadata |= {"unit": _in_ascii(axes.unit)} if axes.unit else {}
        metadata |= {"mode": "composite"} if channels > 1 else {}
    out.write(
        stack,
        photometric="rgb" if rgb else "miniswhite" if source.inverted else "minisblack",
        planarconfig="contig" if rgb else None,
        compression="adobe_deflate",
        metadata=metadata,
        software=False,
        iccprofile=icc,
        **options,
    )


def _in_ascii(text: str) -> str:
    """Return text in ImageJ's form: letters beyond ASCII by their number."""
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in text)


def _options(image: Image, source: _Source | None, icc: bytes | None) -> dict[str, Any]:
    """Return tifffile's options for one page."""
    channels = image.interleaved.shape[2]
    white = _is_white(image, source)
    # More than three bands are red, green, blue and others if they were in the source.
    more = image.channels > 3 and source is not None and source.colours and source.bands in (3, image.channels)
    colours = 3 if (image.channels == 3 or more) and not white else 1
    extras = [0] * (image.channels - colours) + ([_STRAIGHT] if image.alpha is not None else [])
    packed = source.packed if source is not None else None
    return {
        "photometric": "rgb" if colours == 3 else "miniswhite" if white else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": extras or None,
        "compression": None if packed else "adobe_deflate",
        "bitspersample": packed,
        "software": False,
        "iccprofile": icc,
        **_tags(source, _stored_nodata(image, source)),
    }


def _tags(source: _Source | None, nodata: float | None) -> dict[str, Any]:
    """Return the tags that a result keeps from its source, and its no-data value."""
    found: dict[str, Any] = {"extratags": []}
    if source is not None:
        found["extratags"] += source.georeference
        if source.georeference and source.orientation != 1:
            found["extratags"].append((tags.ORIENTATION, "H", 1, source.orientation, True))
        if source.resolution is not None:
            found |= {"resolution": source.resolution, "resolutionunit": source.unit}
    if nodata is not None:
        found["extratags"].append((tags.NODATA, "s", 0, _number(nodata), True))
    return found


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.17g}"


def _packed_bits(images: Sequence[Image], source: _Source) -> int | None:
    """Return the bits of a sample if 0 is white and numbers are inverted within 9 to 15 bits."""
    if not 8 < source.bits < 16 or images[0].dtype != np.uint16 or not _is_white(images[0], source):
        return None
    return source.bits if all(image.interleaved.max() < 2**source.bits for image in images) else None


def _is_white(image: Image, source: _Source | None) -> bool:
    """Return whether 0 is white in the result: as in its source, unless only the result has colours."""
    return source is not None and source.inverted and (image.channels != 3 or source.bands == 3)


def _stored(image: Image, source: _Source | None) -> Array:
    """Return the samples to store: inverted, except alpha, if 0 is white."""
    array = image.interleaved
    if source is None or not _is_white(image, source) or image.dtype.kind != "u":
        return array
    turned_around = np.array(array)
    bands = turned_around[:, :, : image.channels]
    bands[:] = _most(image, source) - bands
    return turned_around


def _stored_nodata(image: Image, source: _Source | None) -> float | None:
    """Return the no-data value as it is stored; None if the type cannot hold it."""
    value = image.nodata
    if value is None:
        return None
    if image.dtype.kind != "f":
        info = np.iinfo(image.dtype)
        if not info.min <= value <= info.max:
            return None
        if source is not None and _is_white(image, source) and image.dtype.kind == "u":
            value = _most(image, source) - value
    return value


def _most(image: Image, source: _Source) -> int:
    """Return the sum of black and white."""
    return 2**source.packed - 1 if source.packed else int(np.iinfo(image.dtype).max)


def _squeezed(array: Array) -> Array:
    return array if array.shape[2] > 1 else array[:, :, 0]
