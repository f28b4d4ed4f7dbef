"""Draws the files that the fuzzer starts from: every format that is read, small, in its many modes."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms

from unpaired.images import Image, write_image

_FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF", "ppm": "PPM"}
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")
_TIFF = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "group3", "group4")

_WORDS = {
    "png": [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT"],
    "jpeg": [b"\xff\xd8", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb", b"\xff\xe1", b"\xff\xe2"],
    "tiff": [b"II*\0", b"MM\0*", b"II+\0", b"\0\1\3\0", b"\1\1\4\0", b"\2\1\3\0", b"\3\1\3\0", b"\x11\1\4\0"],
    "others": [b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"GIF89a", b"BM", b"P4\n", b"Pf\n", b"DICM"],
    "metadata": [b"Exif\0\0", b"MPF\0", b"ICC_PROFILE\0", b"Adobe", b"<x:xmpmeta", b"http://ns.adobe.com/xap/1.0/\0"],
}


def files() -> dict[str, bytes]:
    """Return small files by name: each format in every supported mode, and with unusual features."""
    found: dict[str, bytes] = {}
    for suffix, kind in _FORMATS.items():
        for mode in _MODES:
            _add(found, f"{mode.replace(';', '')}.{suffix}", mode, kind)
    for compression in _TIFF:
        _add(found, f"{compression}.tif", "1" if compression.startswith("group") else "RGB", "TIFF", compression)
    frames = [_picture("RGB", seed) for seed in range(3)]
    for suffix in ("png", "gif", "webp", "tif"):
        found[f"frames.{suffix}"] = _saved(frames[0], _FORMATS[suffix], save_all=True, append_images=frames[1:])
    found["frames.mpo"] = _saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a note"
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    for suffix in ("png", "jpg", "webp", "tif"):
        found[f"tagged.{suffix}"] = _saved(frames[0], _FORMATS[suffix], exif=exif, icc_profile=profile)
    found["progressive.jpg"] = _saved(frames[0], "JPEG", progressive=True, optimize=True)
    found["lossless.webp"] = _saved(_picture("RGBA"), "WEBP", lossless=True)
    found["one.png"] = _saved(PIL.Image.new("RGB", (1, 1)), "PNG")
    found["plain.pgm"] = b"P2\n3 2\n255\n0 1 2\n3 4 255\n"
    return found


def write(folder: Path) -> None:
    """Write `files`, and 16 bits a channel, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)
    levels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    write_image(folder / "deep.png", Image(levels))


def write_words(path: Path) -> None:
    """Write the words of the formats as a dictionary that libFuzzer reads."""
    words = [word for group in _WORDS.values() for word in group]
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in words]
    path.write_text("\n".join(lines) + "\n")


def _add(found: dict[str, bytes], name: str, mode: str, kind: str, compression: str = "") -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):  # a mode that the format cannot hold
        found[name] = _saved(_picture(mode), kind, **({"compression": compression} if compression else {}))


def _picture(mode: str, seed: int = 0) -> PIL.Image.Image:
    draw = np.random.default_rng(seed)
    if mode in ("I;16", "I", "F"):
        return PIL.Image.fromarray(draw.integers(0, 200, (9, 13)).astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    picture = PIL.Image.fromarray(draw.integers(0, 256, (9, 13, 4), dtype=np.uint8), "RGBA")
    return picture.convert(mode) if mode != "LAB" else PIL.Image.frombytes("LAB", (13, 9), draw.bytes(13 * 9 * 3))


def _saved(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
