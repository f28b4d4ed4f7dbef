"""Images in files: which reader a file is given to, what is refused and why, and writing whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

# Pillow loads every parser it has when it misses one: the wanted ones are loaded here, and no other.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)

from unpaired.errors import ImageError, OutputError, UnpairedError
from unpaired.images import deep, dicom, nifti, tiff
from unpaired.images.foreign import foreign_by_content, refusal
from unpaired.images.formats import (
    DICOM,
    FORMATS,
    MAX_PIXELS,
    STACKS,
    VOLUMES,
    WRITABLE,
    Carried,
    ImageHeader,
    keeps_alpha,
    suffix_of,
)
from unpaired.images.guards import refuse_overlong
from unpaired.images.headers import has_more_frames
from unpaired.images.image import Image, is_deep, orientation_of, turned
from unpaired.images.profiles import space_of
from unpaired.images.quiet import quiet
from unpaired.images.refusals import named, refusal_of, refuse_impostors, refuse_special
from unpaired.storage import shown, write_bytes

_ICC_SPACES = {1: "GRAY", 3: "RGB"}
_NO_PROFILE = (".bmp", ".ppm")
_MOST_VALUES = 4  # numbers that a picture may hold for each pixel of the limit: those of red, green, blue and alpha


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Return the header of an image file without decoding its pixels.

    Raises ImageError for a file that is missing, is no image, or is of a format that is not read; MissingExtraError
    for one that an optional library reads.
    """
    path = Path(path)
    with _guarded(path) as (file, head):
        return _foreign_header(path, file, head) or _pillow_header(file, head)


def count_slices(path: str | os.PathLike[str]) -> int:
    """Return how many slices a file holds: 1 for a picture, more for a volume or a stack.

    Only files of kinds that can hold a stack are opened. Raises as `read_header` does.
    """
    return read_header(path).frames if suffix_of(path) in STACKS else 1


def is_stack(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is read and written slice by slice: a volume, or a picture file of several slices.

    False for a file that cannot be read, which reading it then says.
    """
    if suffix_of(path) in VOLUMES:
        return True
    try:
        return count_slices(path) > 1
    except UnpairedError:
        return False


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, frame: int = 0) -> Image:
    """Read an image file, upright, in its own depth, its transparency as alpha, with its ICC profile beside it.

    frame: the slice of a volume or a stack; of an animation the first frame is read. Raises ImageError,
    one sentence with the name, the fault and the remedy: no image, truncated, more than `max_pixels` (said by the
    header, before any pixel is decoded; Pillow's own limit of 179 megapixels holds too), of values that cannot be
    held, or NaN or infinite without being declared no data; MissingExtraError for what an optional library reads.
    Nothing is reduced to 8 bits.
    """
    path = Path(path)
    with _guarded(path) as (file, head):
        header = _foreign_header(path, file, head)
        if header is None:
            image = _read_pillow(path, file, head, max_pixels)
        else:
            _refuse_large(path, header.width, header.height, header.channels + header.has_alpha, max_pixels)
            image = _read_foreign(path, file, header.format, frame)
        _refuse_non_finite(image)
        return image


def _read_foreign(path: Path, file: BinaryIO, format: str, frame: int) -> Image:
    if format == "NIFTI":
        return nifti.read(path, frame)
    return dicom.read(file, frame) if format == "DICOM" else tiff.read(file, frame)


def _refuse_non_finite(image: Image) -> None:
    """Raise ImageError if a value is NaN or infinite and not declared to be no data."""
    if image.dtype.kind != "f":
        return
    bad = ~np.isfinite(image.interleaved)
    missing = image.missing
    if missing is not None:
        bad[:, :, : image.channels] &= ~missing
    if bad.any():
        row, column, _ = np.argwhere(bad)[0]
        count = int(bad.any(axis=2).sum())
        raise ImageError(
            f"It holds NaN or infinite values in {count:,} of {image.height * image.width:,} pixels (the first in row "
            f"{row}, column {column}); replace them by numbers, or declare them as no data where its format can."
        )


def write_image(
    path: str | os.PathLike[str], image: Image, *, quality: int = 95, like: str | os.PathLike[str] | None = None
) -> None:
    """Write `image` in the format of the suffix, whole or not at all, in its own type, with its ICC profile if it has
    one; no other metadata is written.

    quality (1 to 100) is for JPEG and WebP, which at 100 is lossless. like: the file that the image comes from; it says
    how a DICOM file is to be read and measured, where a NIfTI volume, here of one slice, lies, and whether a WebP is to
    be lossless. Raises OutputError where the suffix is unknown, the format cannot
    hold the picture or the place refuses files, MissingExtraError where an optional library writes it, StorageError
    where the disk fails or is full; no part of a file is left behind.
    """
    write_bytes(Path(path), encode_image(path, image, quality=quality, like=like))


def encode_image(
    path: str | os.PathLike[str], image: Image, *, quality: int = 95, like: str | os.PathLike[str] | None = None
) -> bytes:
    """Return the bytes that `write_image` would write, and write nothing; safe to call from several threads.

    Raises as `write_image` does, but for what the place or the disk may refuse.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if like is not None and suffix in VOLUMES:
        return encode_stack(path, [image], like=like)
    if like is not None and suffix == DICOM == suffix_of(like):
        return dicom.encode([image], Path(like))
    if suffix not in WRITABLE:
        known = ", ".join(WRITABLE)
        raise OutputError(f"Cannot write {shown(path)}: choose a name that ends in {known}; .dcm is made of .dcm only.")
    if image.alpha is not None and not keeps_alpha(suffix):
        raise OutputError(f"{shown(path)} cannot keep transparency; write .png, or use image.over(color) first.")
    if suffix == ".webp" and like is not None and _is_lossless_webp(Path(like)):
        quality = 100
    return _encoded(path, suffix, image, quality, None if like is None else Path(like))


def write_stack(path: str | os.PathLike[str], images: Sequence[Image], *, like: str | os.PathLike[str]) -> None:
    """Write slices as one file of the kind of `like`, stored and placed as that is: NIfTI, TIFF or DICOM.

    Raises as `write_image` does; OutputError also for a name of another kind than that of `like`.
    """
    write_bytes(Path(path), encode_stack(path, images, like=like))


def encode_stack(path: str | os.PathLike[str], images: Sequence[Image], *, like: str | os.PathLike[str]) -> bytes:
    """Return the bytes that `write_stack` would write, and write nothing."""
    path, like = Path(path), Path(like)
    suffix, kinds = suffix_of(path), {".tif": "TIFF", ".tiff": "TIFF", DICOM: "DICOM"} | dict.fromkeys(VOLUMES, "NIFTI")
    if suffix not in kinds or kinds[suffix] != kinds.get(suffix_of(like)):
        raise OutputError(f"Cannot write {shown(path)}: the slices of {shown(like)} are written in its own format.")
    if suffix in VOLUMES:
        return nifti.encode(images, like, packed=suffix == VOLUMES[1])
    if suffix == DICOM:
        return dicom.encode(images, like)
    return tiff.encode(images, _fitting_profile(path, suffix, images[0]), like)


def _encoded(path: Path, suffix: str, image: Image, quality: int, like: Path | None) -> bytes:
    """Return the bytes of a file; raises OutputError for a format that cannot hold the picture."""
    format, icc = WRITABLE[suffix], _fitting_profile(path, suffix, image)
    plain = image.dtype == np.uint8 and image.channels in (1, 3)
    grey16 = image.dtype == np.uint16 and image.interleaved.shape[2] == 1
    if format == "TIFF" and ((not plain and not grey16) or tiff.has_more_to_keep(image, like)):
        return tiff.encode([image], icc, like)
    if image.dtype == np.uint16 and image.channels in (1, 3) and format in ("PNG", "PPM"):
        return deep.encode_png(image, icc) if format == "PNG" else deep.encode_ppm(image)
    if not plain and format != "TIFF":
        kind = f"{image.channels} channel{'s' if image.channels > 1 else ''} of {image.dtype}"
        other = ".png or .tif" if image.dtype == np.uint16 and image.channels in (1, 3) else ".tif"
        raise OutputError(f"{shown(path)} cannot keep {kind} without loss; write {other}.")
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0 if quality >= 90 else 2},
        "WEBP": {"quality": quality, "exact": True, "lossless": quality == 100},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    encoded = io.BytesIO()
    picture = replace(image, icc=None).to_pil()
    picture.save(encoded, format=format, **options.get(format, {}), **({"icc_profile": icc} if icc else {}))
    return encoded.getvalue()


def _is_lossless_webp(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(2**16)
    except OSError:
        return False
    return head[8:12] == b"WEBP" and b"VP8L" in head


def _fitting_profile(path: Path, suffix: str, image: Image) -> bytes | None:
    """Return the profile to write: that of the image, unless it describes other colours than those it now has.

    Raises OutputError for a format that has no place for it.
    """
    if image.icc is None or space_of(image.icc) != _ICC_SPACES.get(image.channels):
        return None
    if suffix in _NO_PROFILE:
        raise OutputError(f"{shown(path)} cannot keep an ICC profile; write .png.")
    return image.icc


def _foreign_header(path: Path, file: BinaryIO, head: bytes) -> ImageHeader | None:
    """Return the header of a file that Pillow is not to read, None for one that it is."""
    suffix = suffix_of(path)
    if suffix in VOLUMES:
        return nifti.read_header(path)
    named_alone = suffix == DICOM and head[128:132] != b"DICM"
    if named_alone and (kind := foreign_by_content(path)) is not None:
        raise ImageError(refusal(path, kind))
    if suffix == DICOM or head[128:132] == b"DICM":
        return dicom.read_header(file)
    if head[:4] in tiff.MAGIC:
        return tiff.read_header(file)
    file.seek(0)
    return None


def _pillow_header(file: BinaryIO, head: bytes) -> ImageHeader:
    with PIL.Image.open(file, formats=FORMATS) as picture:
        if picture.format == "PNG" and "exif" not in picture.info:
            _find_late_exif(picture, file)
        width, height = picture.size
        if picture.format != "TIFF" and orientation_of(picture) >= 5:  # Pillow has turned a TIFF's size
            width, height = height, width
        grey = picture.mode in ("1", "L", "LA", "La") or is_deep(picture)
        depth = _depth(picture, head)
        # PNG of 16 bits in grey and alpha goes by Pillow's mode RGBA: its third byte of the kind of colour is 4.
        return ImageHeader(
            width=width,
            height=height,
            mode=picture.mode,
            channels=1 if grey or (picture.format == "PNG" and head[25] == 4) else 3,
            has_alpha=picture.has_transparency_data,
            depth=depth,
            format=picture.format or "",
            dtype="float32" if picture.mode == "F" else "uint16" if depth > 8 else "uint8",
            carries=_carried(picture, file),
        )


def _carried(picture: PIL.Image.Image, file: BinaryIO) -> frozenset[Carried]:
    """Return what a file holds beside the picture that Pillow reads of it."""
    if picture.format == "MPO":
        return frozenset({"pages"})
    moving = picture.format in ("GIF", "PNG", "WEBP") and has_more_frames(file, picture.format)
    return frozenset({"frames"} if moving else ())


def _read_pillow(path: Path, file: BinaryIO, head: bytes, max_pixels: int) -> Image:
    with PIL.Image.open(file, formats=FORMATS) as picture:
        _refuse_large(path, picture.width, picture.height, 1, max_pixels)
        if _depth(picture, head) <= 8 or is_deep(picture):
            return Image.from_pil(picture)
        file.seek(0)
        if picture.format == "PNG":
            if "exif" not in picture.info:
                _find_late_exif(picture, file)
                file.seek(0)
            image = deep.decode_png(file.read(), picture.info.get("icc_profile"))
            return turned(image, orientation_of(picture))
        if isinstance(picture, PpmImagePlugin.PpmImageFile) and head[:2] == b"P6":
            _, _, offset, arguments = picture.tile[0]
            assert isinstance(arguments, tuple)
            return deep.decode_ppm(file.read(), offset, picture.size, int(arguments[-1]))
        raise ImageError("More than 8 bits a channel are not understood in this format; convert it to .png or .tif.")


def _refuse_large(path: Path, width: int, height: int, channels: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{shown(path)} has {width} x {height} pixels, more than the limit of {max_pixels:,}; scale it down"
            f"{_raise_it(max_pixels)}."
        )
    if width * height * channels > max_pixels * _MOST_VALUES:
        raise ImageError(
            f"{shown(path)} has {width} x {height} pixels of {channels} channels, more than the limit of "
            f"{max_pixels * _MOST_VALUES:,} numbers; cut it up{_raise_it(max_pixels)}."
        )


def _raise_it(max_pixels: int) -> str:
    """Return the advice to raise a limit, where it is one that somebody chose and that can be raised."""
    return " or raise max_pixels (--max-pixels)" if max_pixels < MAX_PIXELS else ""


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[tuple[BinaryIO, bytes]]:
    """Open a file and yield it with its first bytes; every failure inside becomes an ImageError with its name."""
    name = shown(path)
    try:
        refuse_special(path)
        with path.open("rb") as file, quiet():
            head = file.read(132)
            refuse_impostors(path, head)
            refuse_overlong(name, head, file)
            yield file, head
    except UnpairedError as error:
        raise named(error, path) from None
    except Exception as error:  # damaged files make parsers fail in every way Python knows
        raise refusal_of(error, path) from None


def _depth(picture: PIL.Image.Image, head: bytes) -> int:
    """Return the bits a channel that the file holds, at times more than those of Pillow's mode."""
    if picture.format == "PNG":
        return head[24]  # IHDR comes first: 8 bytes signature, 4 length, 4 name, 4 width, 4 height
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return int(max(picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    if isinstance(picture, PpmImagePlugin.PpmImageFile) and picture.mode != "F":
        arguments = picture.tile[0][3]
        if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
            return arguments[-1].bit_length()  # the largest value that the header declares
    return {"1": 1, "I": 16, "F": 32}.get(picture.mode, 8)


def _find_late_exif(picture: PIL.Image.Image, file: BinaryIO) -> None:
    """Give a PNG the EXIF chunk that may stand behind its pixels, walking over the chunks' headers only."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4])
        if head[4:] == b"eXIf":
            picture.info["exif"] = b"Exif\0\0" + file.read(length)
            return
        file.seek(length + 4, os.SEEK_CUR)
