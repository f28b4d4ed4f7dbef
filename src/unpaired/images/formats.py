"""An image format: the Protocol of its reader and writer, and the header of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol, runtime_checkable

from unpaired.images.image import Array, Image

Carried = Literal[
    "pages", "frames", "planes", "georeference", "pyramid", "physical size", "no-data", "band descriptions"
]
"""Contents of a file beside one image: pages of other sizes (masks, thumbnails), frames of an animation, the names of
z, c and t axes, a georeference, a pyramid, the size of a pixel, a no-data value, descriptions of bands."""

MAX_PIXELS = 2**27
"""Default limit of the image size: 134 megapixels, more than any camera on sale."""

HEAD_BYTES = 132
"""Number of leading bytes by which a file is recognised."""


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file: its properties before a pixel is decoded.

    width, height: after EXIF orientation.
    mode: Pillow's name, or "" if another library reads the file.
    channels: number of channels, without alpha.
    depth: bits per channel.
    format: the kind of the file's format.
    dtype: the type of the decoded `Image`.
    frames: number of slices of a stack or a volume.
    nodata: the no-data value, None if none is declared.
    carries: contents beside the image; `lost` returns those that a result cannot keep.
    axes: orientation of the slices of a volume, "" if unknown. Volumes with equal text have the same orientation.
    """

    width: int
    height: int
    mode: str
    channels: int
    has_alpha: bool
    depth: int
    format: str
    dtype: str = "uint8"
    frames: int = 1
    nodata: float | None = None
    carries: frozenset[Carried] = frozenset()
    axes: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The file to write.

    path: its name.
    quality: 1 to 100, for lossy formats.
    like: the file that the images come from, of any format, or None. A result takes over the contents that `keeps` of
    its format lists.
    """

    path: Path
    quality: int = 95
    like: Path | None = None


class ImageFormat(Protocol):
    """A format of image files. The package has one object of each; `FORMATS.register` adds another.

    Required:
        kind: its name, such as "PNG".
        suffixes: of its files, in lower case, with their dots; the usual one first. Folders are searched by them.
        read_header: returns size, channels and type without decoding pixels.
        read: returns one slice (0 of a picture) as its header says it is. Values keep their type.

    Optional attributes, and their defaults:
        writes: the suffixes that it writes. Default: all of `suffixes` if there is `encode`, else none.
        by_content: the content of a file decides its format, not the suffix (False).
        alpha: keeps transparency (False). icc: keeps an ICC profile (False).
        stacks: a file may hold several slices (False). volumes: every file is a stack, even one of one slice (False).
        needs_original: written only as the result of a file of this format (False).
        dtypes, channels: the types and the counts of channels, without alpha, that it writes (all that `Image` has).
        keeps: contents that a result takes over from an original of this format (nothing).
        carries: contents that files can hold beside images (unknown: the header is read to find out).

    Optional methods: `encode` of `WritesImages`, `recognises` of `KnowsContent`, `carried` of `KnowsCarried`,
    `read_window` of `ReadsWindows`, `open_windows` of `WritesWindows`.

    Methods may be called from several threads at once; `file` stands at its start and is closed by the caller. They
    raise ImageError, or OutputError in writing: one sentence with the fault and the fix; the name of the
    file is put in front. Any other exception is reported as a file that this format cannot read or write.
    """

    @property
    def kind(self) -> str:
        """The name of the format; the `format` of its headers."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of its files, in lower case, with their dots; the usual one first."""
        ...

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        """Return the header of a file. file: the open file, at its start."""
        ...

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        """Return slice `frame`, counted from 0, upright; raises ImageError if there are fewer."""
        ...


@runtime_checkable
class WritesImages(Protocol):
    """A format that is written."""

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        """Return the content of a file: of one image, or of the slices of a stack if the format has `stacks`.

        Images have only types, channels, transparency and profiles that the format declares to keep.
        """
        ...


@runtime_checkable
class KnowsContent(Protocol):
    """A format that is recognised by the first bytes of its files, whatever their suffix."""

    def recognises(self, head: bytes) -> bool:
        """Return whether a file is of this format. head: its first `HEAD_BYTES` or more, fewer if it is shorter."""
        ...


@runtime_checkable
class KnowsCarried(Protocol):
    """A format that finds the contents beside the image faster than it reads its header."""

    def carried(self, file: BinaryIO) -> frozenset[Carried]:
        """Return the contents of a file beside its image."""
        ...


class Admit(Protocol):
    """A check that raises ImageError if an image is larger than the limit."""

    def __call__(self, width: int, height: int, channels: int) -> None:
        """Check a size; channels: with alpha, or 1 if no more is known."""
        ...


@runtime_checkable
class ReadsBounded(Protocol):
    """A format of the package, never a third-party one, that checks the size itself: the header is parsed once."""

    def read_bounded(self, path: Path, file: BinaryIO, frame: int, admit: Admit) -> Image:
        """Read as `read` does; calls `admit` before a pixel is decoded."""
        ...


class Window(NamedTuple):
    """A part of a picture: its first row and column, and its size."""

    top: int
    left: int
    height: int
    width: int


@runtime_checkable
class ReadsWindows(Protocol):
    """A format that reads a part of an image without the rest."""

    def read_window(self, path: Path, file: BinaryIO, frame: int, window: Window) -> Image:
        """Return a window of a slice; window: inside the image, by the size in the header."""
        ...


class WindowWriter(Protocol):
    """A picture that is written part by part."""

    def write(self, top: int, left: int, pixels: Array) -> None:
        """Write pixels h w c of the header's type at a row and a column. Each pixel is written once, in any order."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


@runtime_checkable
class WritesWindows(Protocol):
    """A format that is written part by part."""

    def open_windows(self, file: BinaryIO, header: ImageHeader, target: Target) -> WindowWriter:
        """Begin an image of this size, type and number of channels in `file`, which is open for writing and reading."""
        ...
