"""Files that are not read: their kind in plain words, and the fix."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unpaired.images.kinds import HEAD_BYTES, kind_of
from unpaired.images.registered import FORMATS, is_image_name, suffix_of
from unpaired.storage import shown

_NAMED = 5  # files named in a sentence
_MOST_OPENED = 64  # files of unknown suffix that are opened to find their kind


@dataclass(frozen=True)
class Foreign:
    """A kind of file that is not read.

    name: in the singular, "a video".
    plural: "videos".
    remedy: the fix as an imperative, "" if there is none.
    in_pictures: whether it holds pictures, or their source.
    stand_in: whether a decoder would find a thumbnail or a label in it instead of the image.
    misnamed: whether it would be read under another suffix.
    """

    name: str
    plural: str
    remedy: str = ""
    in_pictures: bool = True
    stand_in: bool = False
    misnamed: bool = False

    @property
    def described(self) -> str:
        """The name, followed by the fix if there is one."""
        return f"{self.name}: {self.remedy_of_one}" if self.remedy else self.name

    @property
    def remedy_of_one(self) -> str:
        """The fix in the singular."""
        return self.remedy.replace("them", "it").replace("their", "its").replace("they", "it")


def _picture(name: str, remedy: str = "convert them to PNG") -> Foreign:
    article = "an" if name[0] in "AIO" else "a"
    return Foreign(f"{article} {name} image", f"{name} images", remedy)


_TO_TIFF = "convert them to TIFF of 32-bit floats"
_VIDEO = Foreign("a video", "videos", "extract the frames as PNG first, e.g. with ffmpeg")
_SLIDE = Foreign(
    "a whole-slide image", "whole-slide images", "export the regions as TIFF first, e.g. with QuPath", stand_in=True
)
_MICROSCOPE = Foreign("a microscope file", "microscope files", "export them as OME-TIFF first, e.g. with Fiji")
_MICROSCOPE_LABEL = Foreign(_MICROSCOPE.name, _MICROSCOPE.plural, _MICROSCOPE.remedy, stand_in=True)
_RAW = Foreign("a camera raw file", "camera raw files", "develop them to 16-bit TIFF or PNG first", stand_in=True)
_HEIF = _picture("HEIF", "convert them to PNG or JPEG")
_AVIF, _JXL = _picture("AVIF"), _picture("JPEG XL")
_JP2 = _picture("JPEG 2000", "convert them to PNG, maps to GeoTIFF")
_LAYERS = Foreign("a layered drawing", "layered drawings", "flatten and export them as PNG")
_VECTORS = Foreign("a vector drawing", "vector drawings", "render them as PNG")
_ARRAYS = Foreign("a file of arrays", "files of arrays", "save each image as TIFF, e.g. with tifffile")
_SCANS = Foreign("a medical image of another format", "medical images of other formats", "convert them to .nii.gz")
_MAPS = Foreign("a map raster", "map rasters", "convert them to GeoTIFF, e.g. with gdal_translate")
_SIDECAR = Foreign(
    "a sidecar file of a map",
    "sidecar files of maps",
    "copy them beside the results to keep the georeference",
    in_pictures=False,
)
_ARCHIVE = Foreign("an archive", "archives", "unpack them", in_pictures=False)
_LABELS = Foreign("LabelMe annotations", "LabelMe annotations", "draw them as PNG masks to use them", in_pictures=False)
_HIDDEN = Foreign("a hidden file", "hidden files", "rename them without the dot to use them")
_DEAD_LINK = Foreign("a link that leads nowhere", "links that lead nowhere", "copy the files that they should lead to")
_LINK = Foreign("a link to a folder", "links to folders", "copy the folders, or give them as folders of images too")
_PIPE = Foreign("a pipe or a device", "pipes and devices", in_pictures=False)
_POINTER = Foreign(
    "a Git LFS pointer", "Git LFS pointers", "run `git lfs pull` where they came from", in_pictures=False
)
_PAGE = Foreign("a web page", "web pages", "fetch them again, as a download failed perhaps", in_pictures=False)


def _thing(name: str, plural: str = "") -> Foreign:
    return Foreign(name, plural or name, in_pictures=False)


_TEXT, _JSON, _TABLE, _CODE = _thing("text"), _thing("JSON"), _thing("a table", "tables"), _thing("code")
_SOUND, _WEIGHTS = _thing("sound"), _thing("weights of a network")

_BY_CONTENT = {
    "video": _VIDEO,
    "HEIF": _HEIF,
    "AVIF": _AVIF,
    "JPEG XL": _JXL,
    "JPEG 2000": _JP2,
    "camera raw": _RAW,
    "Photoshop": _LAYERS,
    "XCF": _LAYERS,
    "OpenEXR": _picture("OpenEXR", _TO_TIFF),
    "Radiance HDR": _picture("Radiance HDR", _TO_TIFF),
    "PFM": _picture("PFM", _TO_TIFF),
    "FITS": _picture("FITS", _TO_TIFF),
    **{name: _picture(name) for name in ("PAM", "QOI", "DDS", "BLP", "ICNS", "ICO", "SGI", "BSDF")},
    "SVG": _VECTORS,
    "PostScript": _VECTORS,
    "PDF": Foreign("a PDF document", "PDF documents", "render their pages as PNG"),
    "NumPy": _ARRAYS,
    "HDF5": _ARRAYS,
    "MATLAB": _ARRAYS,
    "NetCDF": _ARRAYS,
    "NRRD": _SCANS,
    "MetaImage": _SCANS,
    "NIfTI": _SCANS,
    "NIfTI pair": Foreign(
        "a header of a NIfTI pair (.hdr and .img)", "headers of NIfTI pairs (.hdr and .img)", "convert them to .nii.gz"
    ),
    "DICOM": Foreign(
        "a DICOM file by another name", "DICOM files by other names", "give them the suffix .dcm", misnamed=True
    ),
    "Git LFS pointer": _POINTER,
    "web page": _PAGE,
    "LabelMe": _LABELS,
    "archive": _ARCHIVE,
    "JSON": _JSON,
    "text": _TEXT,
    "XML": _thing("XML"),
    "sound": _SOUND,
    "program": _thing("a program", "programs"),
    "database": _thing("a database", "databases"),
    "AppleDouble": _thing("notes of macOS"),
    "folder settings": _thing("settings of a desktop"),
}

_SUFFIXES: dict[Foreign, str] = {
    _VIDEO: "mp4 m4v mov avi mkv webm mpg mpeg wmv flv mts m2ts 3gp ogv",
    _SLIDE: "svs ndpi svslide vms vmu tmap isyntax qptiff mrxs scn bif",
    _MICROSCOPE: "czi lif nd2 oib oif ims lsm stk dv",
    _MICROSCOPE_LABEL: "vsi",
    _RAW: "dng cr2 cr3 crw nef nrw arw sr2 raf orf rw2 pef srw 3fr iiq",
    _HEIF: "heic heif hif",
    _AVIF: "avif",
    _JXL: "jxl",
    _JP2: "jp2 j2k jpf jpx j2c jpc",
    _LAYERS: "psd psb xcf kra ora clip procreate",
    _VECTORS: "svg svgz eps ps ai",
    _BY_CONTENT["PDF"]: "pdf",
    _BY_CONTENT["OpenEXR"]: "exr",
    _BY_CONTENT["Radiance HDR"]: "rgbe",
    _BY_CONTENT["PFM"]: "pfm",
    _BY_CONTENT["FITS"]: "fits fit fts",
    _ARRAYS: "npy npz mat h5 hdf5 hdf nc zarr tfrecord tfrecords lmdb mdb parquet",
    _SCANS: "mha mhd nrrd nhdr mgh mgz img mnc",
    _MAPS: "ecw sid vrt asc grb grib grib2 hgt bil",
    _SIDECAR: "tfw tifw tiffw jgw jpgw pgw pngw wld ovr prj",
    **{_BY_CONTENT[kind]: kind.lower() for kind in ("PAM", "QOI", "DDS", "BLP", "ICNS", "ICO", "BSDF")},
    _BY_CONTENT["SGI"]: "sgi rgb bw",
    _picture("TGA"): "tga icb vda vst",
    _picture("PCX"): "pcx",
    _picture("FLI"): "fli flc",
    _ARCHIVE: "zip tar gz tgz bz2 xz 7z rar zst",
    _TEXT: "txt md rst log yaml yml toml ini cfg bib tex",
    _TABLE: "csv tsv xls xlsx ods",
    _CODE: "py ipynb m r sh bat cpp c h js",
    _BY_CONTENT["XML"]: "xml xmp kml gml",
    _PAGE: "html htm mhtml",
    _SOUND: "wav mp3 flac ogg m4a aac",
    _WEIGHTS: "pt pth ckpt safetensors onnx pb pkl",
}
_BY_SUFFIX = {f".{suffix}": kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
JUNK_NAMES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory", "icon\r"})
"""Names, in lower case, of the files that desktops leave behind in folders."""

_READ_BY_SUFFIX = ("DICOM", "NIfTI")  # these may match their suffix


def foreign_by_name(path: str | os.PathLike[str]) -> Foreign | None:
    """Return the kind of an unread file by its suffix; None if the suffix is unknown."""
    suffix = suffix_of(path)
    return None if suffix in FORMATS.suffixes else _BY_SUFFIX.get(suffix)


def foreign_by_content(path: str | os.PathLike[str]) -> Foreign | None:
    """Return the kind of an unread file by its first bytes; None if they are unknown, or those of an image."""
    try:
        with Path(path).open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
    except OSError:
        return None
    named = FORMATS.named(path)
    if kind in FORMATS.content_kinds:
        return _misnamed(kind) if named is not None and not named.by_content else None
    packed = kind == "archive" and named is not None and named.volumes
    return None if kind in _READ_BY_SUFFIX or packed else _BY_CONTENT.get(kind)


def what_is(path: Path) -> Foreign | None:
    """Return the kind of a file that folder scans skip, by its suffix or else by its content; None if unknown.

    An image with a suffix of another kind is returned as misnamed.
    """
    if not path.is_file():
        return (_LINK if path.is_dir() else _DEAD_LINK) if path.is_symlink() else _PIPE
    named = _BY_CONTENT["folder settings"] if path.name.lower() in JUNK_NAMES else foreign_by_name(path)
    if named is None and path.name.startswith(".") and is_image_name(path):
        named = _BY_CONTENT["AppleDouble"] if path.name.startswith("._") else _HIDDEN
    if named is not None:
        return named
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    kind, known = kind_of(head), FORMATS.of_content(head)
    if known is not None and known.origin is not None:
        return _misnamed(known.kind)
    return _misnamed(kind) if kind in FORMATS.content_kinds else _BY_CONTENT.get(kind)


def _misnamed(kind: str) -> Foreign:
    suffix = FORMATS.get(kind).suffixes[0]
    plural = f"{kind} images by other names"
    return Foreign(f"a {kind} image by another name", plural, f"give them the suffix {suffix}", misnamed=True)


def passed_over(paths: Sequence[Path], folder: Path | None = None) -> list[str]:
    """Return sentences about the files of a folder that are no images: their count with the first five names, then one
    for each kind with a fix. Empty without paths.

    folder: the names are shown relative to it. Only the first files of unknown suffix are opened.
    """
    if not paths:
        return []
    kinds = _kinds(paths)
    names = [_described(path, folder, kinds[path]) for path in paths[:_NAMED]]
    rest = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    where = f" in {shown(folder)}" if folder is not None else ""
    one = len(paths) == 1
    count = f"{len(paths)} file{'' if one else 's'}{where} that {'is' if one else 'are'} not read as images"
    return [f"Passed over {count}: {', '.join(names)}{rest}.", *_remedies(kinds.values())]


def instead(paths: Sequence[Path]) -> str:
    """Return the content of a folder without images and the fix, as the end of a sentence; "" if it is empty."""
    kinds = _kinds(paths)
    counted = collections.Counter(kind for kind in kinds.values() if kind is not None)
    if not counted:
        return ""
    ((kind, count),) = counted.most_common(1)
    first = next(path for path in paths if kinds[path] == kind)
    found = f"{count} {kind.plural}" if count > 1 else kind.name
    remedy = kind.remedy if count > 1 else kind.remedy_of_one
    name = f"first: {shown(first.name)}" if count > 1 else shown(first.name)
    return f"it holds {found} ({name})" + (f": {remedy}" if remedy else "")


def refusal(path: Path, kind: Foreign) -> str:
    """Return the error message for a file of this kind that was given as an image."""
    what = kind.name if kind.misnamed else f"{kind.name}, no image of a known format"
    return f"{shown(path)} is {what}; {kind.remedy_of_one or 'leave it out'}."


def _kinds(paths: Iterable[Path]) -> dict[Path, Foreign | None]:
    """Return the kind of each file; of those with an unknown suffix only the first few are opened."""
    found: dict[Path, Foreign | None] = {}
    opened = 0
    for path in paths:
        named = foreign_by_name(path)
        if named is None and opened < _MOST_OPENED:
            opened += 1
            named = what_is(path)
        found[path] = named
    return found


def _described(path: Path, folder: Path | None, kind: Foreign | None) -> str:
    name = shown(path.name if folder is None else path.relative_to(folder).as_posix())
    return name if kind is None else f"{name} ({kind.name})"


def _remedies(kinds: Iterable[Foreign | None]) -> list[str]:
    """Return a sentence for each kind with a fix, the most frequent kind first."""
    counted = collections.Counter(kind for kind in kinds if kind is not None and kind.remedy)
    return [f"{_capital(kind.plural)} are not read; {kind.remedy}." for kind, _ in counted.most_common()]


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
