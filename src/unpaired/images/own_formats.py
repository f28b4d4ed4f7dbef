"""The package's own formats, in the order in which content is tested and names are listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from unpaired.images import dicom, nifti, tiff
from unpaired.images.formats import Carried, ImageFormat, ImageHeader, Target
from unpaired.images.image import Image
from unpaired.images.pillow_formats import PillowFormat

_MISORDERED = (b"MM*\0", b"II\0*")  # TIFFs with two swapped bytes, which only Pillow reads


class Tiff:
    """TIFF and BigTIFF: images of every type and stacks, by Pillow, or else by tifffile and imagecodecs."""

    kind = "TIFF"
    suffixes = (".tif", ".tiff")
    by_content = True
    alpha = True
    icc = True
    stacks = True
    keeps: frozenset[Carried] = frozenset({"planes", "georeference", "physical size", "no-data"})
    _misordered = PillowFormat(kind="TIFF", suffixes=suffixes)

    def recognises(self, head: bytes) -> bool:
        """Return whether a file begins with the signature of a TIFF."""
        return head[:4] in tiff.MAGIC or head[:4] in _MISORDERED

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return the header of the largest image of the file."""
        return self._misordered.read_header(path, file) if _swapped(file) else tiff.read_header(file)

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return a slice of the largest image of the file."""
        return self._misordered.read(path, file, frame) if _swapped(file) else tiff.read(file, frame)

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Return a losslessly compressed TIFF."""
        return tiff.encode(images, images[0].icc, target.like)


class Dicom:
    """DICOM, by pydicom. Written only as the result of a DICOM file, with its scaling and geometry."""

    kind = "DICOM"
    suffixes = (".dcm",)
    stacks = True
    needs_original = True
    channels = (1, 3)
    keeps: frozenset[Carried] = frozenset({"planes", "physical size", "no-data"})

    def recognises(self, head: bytes) -> bool:
        """Return whether a file has the preamble of DICOM."""
        return head[128:132] == b"DICM"

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return the header of the data set."""
        return dicom.read_header(file)

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return a frame, its stored numbers converted to values."""
        return dicom.read(file, frame)

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Return a DICOM file of the frames, stored as in the original."""
        assert target.like is not None
        return dicom.encode(images, target.like)


class Nifti:
    """NIfTI volumes, by nibabel. Written only as the result of a NIfTI file, with its geometry."""

    kind = "NIFTI"
    suffixes = (".nii", ".nii.gz")
    stacks = True
    volumes = True
    needs_original = True
    channels = (1,)
    keeps: frozenset[Carried] = frozenset({"planes", "georeference", "physical size", "no-data"})

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return the header of the volume."""
        return nifti.read_header(path)

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return a slice along the last axis."""
        return nifti.read(path, frame)

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Return a volume of the slices, gzipped if the name of the result ends in .gz."""
        assert target.like is not None
        return nifti.encode(images, target.like, packed=nifti.is_packed(target.path))


def _swapped(file: BinaryIO) -> bool:
    head = file.read(4)
    file.seek(0)
    return head in _MISORDERED


OWN: tuple[ImageFormat, ...] = (
    Dicom(),
    PillowFormat(
        kind="PNG",
        suffixes=(".png",),
        writes=(".png",),
        starts=(b"\x89PNG\r\n\x1a\n",),
        alpha=True,
        dtypes=("uint8", "uint16"),
        carries=frozenset({"frames"}),
    ),
    PillowFormat(
        kind="JPEG",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        writes=(".jpg", ".jpeg"),
        starts=(b"\xff\xd8\xff",),
    ),
    PillowFormat(
        kind="WEBP",
        suffixes=(".webp",),
        writes=(".webp",),
        starts=(b"RIFF",),
        alpha=True,
        carries=frozenset({"frames"}),
    ),
    Tiff(),
    PillowFormat(kind="BMP", suffixes=(".bmp", ".dib"), writes=(".bmp",), starts=(b"BM",), icc=False),
    PillowFormat(kind="GIF", suffixes=(".gif",), starts=(b"GIF8",), carries=frozenset({"frames"})),
    PillowFormat(
        kind="PPM",
        suffixes=(".ppm", ".pnm", ".pbm", ".pgm"),
        writes=(".ppm",),
        starts=(b"P",),
        icc=False,
        dtypes=("uint8", "uint16"),
    ),
    PillowFormat(kind="MPO", suffixes=(".mpo",), carries=frozenset({"pages"})),
    Nifti(),
)
