"""An image format: the Protocol of what reads and writes it, and what a file says of itself before it is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol, runtime_checkable

from unpaired.images.image import Array, Image

Carried = Literal[
    "pages", "frames", "planes", "georeference", "pyramid", "physical size", "no-data", "band descriptions"
]
"""What a file can hold beside one picture: pages of other sizes (masks, thumbnails), frames of an animation, the
names of z, c and t axes, a place on the map, smaller copies, the size of a pixel, a no-data value, names of bands."""

MAX_PIXELS = 2**27
"""Largest picture that is decoded unless asked otherwise: 134 megapixels, above every camera on sale."""

HEAD_BYTES = 132
"""How many of its first bytes a file is recognised by."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture before a pixel is decoded; the size is the one after EXIF orientation.

    mode is Pillow's name, or "" where another library reads the file; channels counts colours, without alpha; depth
    is bits a channel; format is the kind of the file's format; dtype is the type of the `Image` that it becomes; frames
    counts the slices of a stack or a volume. nodata is the value that stands for no data, None if none is declared;
    carries names what else the file holds, of which `lost` says what a result cannot keep. axes places the slices of a
    volume in space, "" if unknown: volumes of equal text have the same orientation.
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
    """The file that images become.

    path: its name. quality: 1 to 100, for lossy formats. like: the file that the images come from, of any format, None
    if they come from none; a result takes from it what `keeps` of its format promises.
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
        by_content: files of these suffixes may hold another format, and content alone decides (False: the suffix does).
        alpha: keeps transparency (False). icc: keeps an ICC profile (False).
        stacks: a file may hold several slices (False). volumes: every file is a stack, even one of one slice (False).
        needs_original: written only as the result of a file of this format (False).
        dtypes, channels: the types and the counts of channels, without alpha, that it writes (all that `Image` has).
        keeps: what a result takes along from an original of this format (nothing).
        carries: what files can hold beside pictures (unknown, so the header is read to find out).

    Optional methods: `encode` of `WritesImages`, `recognises` of `KnowsContent`, `carried` of `KnowsCarried`,
    `read_window` of `ReadsWindows`, `open_windows` of `WritesWindows`.

    Methods may be called from several threads at once; `file` stands at its start and is closed by the caller. They
    raise ImageError, or OutputError in writing: one sentence that says what is wrong and what to do; the name of the
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
        """Return what the file says of its picture. file: the open file, at its start."""
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
    """A format that finds what a file carries faster than it reads its header."""

    def carried(self, file: BinaryIO) -> frozenset[Carried]:
        """Return what a file of this format holds beside its picture."""
        ...


class Admit(Protocol):
    """Raises ImageError if a picture is larger than what may be decoded."""

    def __call__(self, width: int, height: int, channels: int) -> None:
        """Check a size; channels: with alpha, or 1 where no more is known."""
        ...


@runtime_checkable
class ReadsBounded(Protocol):
    """A format of the package that checks the size itself, so that the header is parsed once; others never do."""

    def read_bounded(self, path: Path, file: BinaryIO, frame: int, admit: Admit) -> Image:
        """Return what `read` returns; calls `admit` before a pixel is decoded."""
        ...


class Window(NamedTuple):
    """A part of a picture: its first row and column, and its size."""

    top: int
    left: int
    height: int
    width: int


@runtime_checkable
class ReadsWindows(Protocol):
    """A format of which a part is read without the rest."""

    def read_window(self, path: Path, file: BinaryIO, frame: int, window: Window) -> Image:
        """Return a window of a slice; it lies inside of the picture, as the header has its size."""
        ...


class WindowWriter(Protocol):
    """A picture that is written part by part."""

    def write(self, top: int, left: int, pixels: Array) -> None:
        """Put pixels, h w c of the header's type, at a row and a column; every pixel is put once, in any order."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


@runtime_checkable
class WritesWindows(Protocol):
    """A format that is written part by part."""

    def open_windows(self, file: BinaryIO, header: ImageHeader, target: Target) -> WindowWriter:
        """Begin a picture of this size, type and count of channels in `file`, open for writing and reading."""
        ...
