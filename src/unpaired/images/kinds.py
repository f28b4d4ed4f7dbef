"""The kind of a file by its first bytes, before any decoder runs.

The kind does not select the decoder; it names files that are not read.
"""

from __future__ import annotations

HEAD_BYTES = 512
"""Number of leading bytes for `kind_of`."""

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
    b"#?RGBE": "Radiance HDR",
    b"gimp xcf": "XCF",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"MATLAB 5.0": "MATLAB",
    b"CDF\1": "NetCDF",
    b"CDF\2": "NetCDF",
    b"NRRD00": "NRRD",
    b"ObjectType =": "MetaImage",
    b"\x1a\x45\xdf\xa3": "video",
    b"\0\0\1\xba": "video",
    b"\0\0\1\xb3": "video",
    b"FLV\1": "video",
    b"OggS": "video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "video",
    b"ID3": "sound",
    b"fLaC": "sound",
    b"PK\3\4": "archive",
    b"PK\5\6": "archive",
    b"\x1f\x8b": "archive",
    b"BZh": "archive",
    b"\xfd7zXZ\0": "archive",
    b"7z\xbc\xaf\x27\x1c": "archive",
    b"Rar!": "archive",
    b"\x28\xb5\x2f\xfd": "archive",
    b"\x7fELF": "program",
    b"SQLite format 3\0": "database",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera raw"}  # the brand behind "ftyp"
_STILLS = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")
_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip")  # how a QuickTime film without "ftyp" begins


def kind_of(head: bytes) -> str:
    """Return the kind of a file that begins with `head`, by Pillow's name if it has one; "" if unknown."""
    if head.startswith(b"version https://git-lfs"):
        return "Git LFS pointer"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "WEBP", b"AVI ": "video", b"WAVE": "sound"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        brand = b"avif" if b"avif" in head[16:64] and head[8:12] in _STILLS else head[8:12]
        return "HEIF" if brand in _STILLS else _BRANDS.get(brand, "video")
    if head[4:8] in _ATOMS and head[0] == 0:
        return "video"
    if head[257:262] == b"ustar":
        return "archive"
    if head[:1] == head[188:189] == head[376:377] == b"G" and head[1:2] != b"I":  # packets of an MPEG transport stream
        return "video"
    if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return "NIfTI"
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        return "NIfTI pair"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    if head[:1] == b"P" and head[1:2] in b"Ff7" and head[2:3] == b"\n":
        return "PFM" if head[1:2] in b"Ff" else "PAM"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head.startswith(b"BM") and head[6:10] != bytes(4) and head[15:18] != bytes(3):
        return _text_kind(head)  # many texts begin with these two letters
    known = next((kind for start, kind in _STARTS.items() if head.startswith(start)), "")
    return known or _text_kind(head)


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
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return ""
    if start.startswith((b"{", b"[")):
        return "LabelMe" if b'"shapes"' in start else "JSON"
    return "text"
