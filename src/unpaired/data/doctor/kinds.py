"""Which kind of file this is, by its first bytes, before any decoder sees it; and which images a suffix promises.

None of it decides how a picture is decoded: that is the affair of `unpaired.images`.
"""

from __future__ import annotations

HEAD_BYTES = 512
"""How much of a file `kind_of` wants."""

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "Photoshop",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"BLP1": "BLP",
    b"BLP2": "BLP",
    b"icns": "ICNS",
    b"\0\0\1\0": "ICO",
    b"\x01\xda": "SGI",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"SIMPLE  =": "FITS",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"BSDF": "BSDF",
    b"\x93NUMPY": "NumPy",
    b"\x89HDF": "HDF5",
    b"\0\5\x16\7": "AppleDouble",
    b"\0\0\0\1Bud1": "folder settings",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}  # what follows "ftyp"; any other brand of still pictures is HEIF
_STILLS = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"heim")
_IMAGES_BY_NAME = {
    **dict.fromkeys([".heic", ".heif"], "HEIF"),
    **dict.fromkeys([".tga", ".icb", ".vda", ".vst"], "TGA"),
    **dict.fromkeys([".sgi", ".rgb", ".bw"], "SGI"),
    **dict.fromkeys([".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"], "camera raw"),
    **dict.fromkeys([".mha", ".nrrd"], "medical image"),
    **dict.fromkeys([".jp2", ".j2k"], "JPEG 2000"),
    **dict.fromkeys([".fli", ".flc"], "FLI"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".psd": "Photoshop",
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".pfm": "PFM",
    ".svg": "SVG",
    ".eps": "PostScript",
    ".pcx": "PCX",
    ".ico": "ICO",
    ".icns": "ICNS",
    ".xcf": "XCF",
    ".fits": "FITS",
    ".npy": "NumPy",
    ".bsdf": "BSDF",
    ".dds": "DDS",
    ".blp": "BLP",
}


def kind_of(head: bytes) -> str:
    """Return the kind of file that begins with `head`, in Pillow's word where it has one; "" where none is known."""
    if head.startswith(b"version https://git-lfs"):
        return "Git LFS pointer"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "HEIF" if head[8:12] in _STILLS else "")
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    if head[:1] == b"P" and head[1:2] in b"Ff7" and head[2:3] == b"\n":
        return "PFM" if head[1:2] in b"Ff" else "PAM"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head.startswith(b"BM") and head[6:10] != bytes(4) and head[15:18] != bytes(3):
        return _text_kind(head)  # two letters begin many a text
    known = next((kind for start, kind in _STARTS.items() if head.startswith(start)), "")
    return known or _text_kind(head)


def image_by_name(suffix: str) -> str:
    """Return the kind of image that a suffix, in lower case, promises among those that are not read; "" for none."""
    return _IMAGES_BY_NAME.get(suffix, "")


def _text_kind(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "SVG" if b"<svg" in start else "XML"
    try:
        text = head[:-3].decode() if len(head) == HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return ""
    return "text" if text and all(c.isprintable() or c.isspace() for c in text) else ""
