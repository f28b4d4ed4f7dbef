"""The registry of image formats: the package's own, those registered by a program or a recipe, and installed ones.

Formats are looked up by the suffix of a file and by its first bytes. Entry points of installed packages are loaded
once, at the first lookup.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from unpaired.errors import ConfigError
from unpaired.images.formats import (
    Carried,
    ImageFormat,
    ImageHeader,
    KnowsCarried,
    KnowsContent,
    ReadsBounded,
    WritesImages,
)
from unpaired.images.image import HELD
from unpaired.images.own_formats import OWN
from unpaired.registry import Origin, Registry
from unpaired.storage import shown

_FLAGS = ("by_content", "alpha", "icc", "stacks", "volumes", "needs_original")


@dataclass(frozen=True, eq=False)
class Known:
    """A format with its optional attributes, or their defaults. origin: None for the package's own."""

    format: ImageFormat
    origin: Origin | None = None

    @cached_property
    def kind(self) -> str:
        """The name of the format."""
        return self.format.kind

    @cached_property
    def writes(self) -> tuple[str, ...]:
        """The suffixes of the files that it writes."""
        return tuple(getattr(self.format, "writes", self.format.suffixes)) if self.writer is not None else ()

    @cached_property
    def by_content(self) -> bool:
        """Whether the content of a file selects its reader, not the suffix."""
        return self._flag("by_content")

    @cached_property
    def alpha(self) -> bool:
        """Whether it keeps transparency."""
        return self._flag("alpha")

    @cached_property
    def icc(self) -> bool:
        """Whether it keeps an ICC profile."""
        return self._flag("icc")

    @cached_property
    def stacks(self) -> bool:
        """Whether a file may hold several slices."""
        return self._flag("stacks") or self.volumes

    @cached_property
    def volumes(self) -> bool:
        """Whether every file is a stack, even one of a single slice."""
        return self._flag("volumes")

    @cached_property
    def needs_original(self) -> bool:
        """Whether it is written only as the result of a file of this format."""
        return self._flag("needs_original")

    @cached_property
    def keeps(self) -> frozenset[Carried]:
        """Contents that a result takes over from an original of this format."""
        return frozenset(getattr(self.format, "keeps", ()))

    @cached_property
    def carries(self) -> frozenset[Carried] | None:
        """Contents that its files can hold beside images, None if unknown."""
        found = getattr(self.format, "carries", None)
        return None if found is None else frozenset(found)

    @cached_property
    def content(self) -> KnowsContent | None:
        """The format, if it recognises its files by their first bytes."""
        return self.format if isinstance(self.format, KnowsContent) else None

    @cached_property
    def bounded(self) -> ReadsBounded | None:
        """The format, if it checks the size of images itself."""
        return self.format if isinstance(self.format, ReadsBounded) else None

    @cached_property
    def quick(self) -> KnowsCarried | None:
        """The format, if it finds the contents beside the image without the header."""
        return self.format if isinstance(self.format, KnowsCarried) else None

    @cached_property
    def writer(self) -> WritesImages | None:
        """The format, if it can be written."""
        return self.format if isinstance(self.format, WritesImages) else None

    def holds(self, dtype: str, channels: int) -> bool:
        """Return whether it writes images of this type with this number of channels, without alpha."""
        dtypes, counts = getattr(self.format, "dtypes", None), getattr(self.format, "channels", None)
        return (dtypes is None or dtype in dtypes) and (counts is None or channels in counts)

    def _flag(self, name: str) -> bool:
        return bool(getattr(self.format, name, False))


class _Lookup:
    """Lookup tables of the formats: by kind, by suffix and by content."""

    def __init__(self, known: Iterable[Known]) -> None:
        self.known = tuple(known)
        self.by_suffix = {suffix: one for one in self.known for suffix in one.format.suffixes}
        self.suffixes = frozenset(self.by_suffix)
        self.compound = tuple(suffix for suffix in self.suffixes if suffix.count(".") > 1)
        self.recognising = tuple((one.content.recognises, one) for one in self.known if one.content is not None)
        self.content_kinds = tuple(one.kind for one in self.known if one.by_content and one.kind != "MPO")
        self.writable = {
            suffix: one.kind for one in self.known if not one.needs_original for suffix in one.writes
        }  # in the order in which messages list them


class FormatRegistry(Registry[ImageFormat]):
    """The formats by kind, by suffix and by content."""

    _lookup: _Lookup | None = None

    def register(self, part: ImageFormat) -> ImageFormat:
        """Add a format; from then on files with its suffixes are images.

        Raises ConfigError if it lacks an attribute, or if its kind or a suffix belongs to another format.
        """
        made = super().register(part)
        self._lookup = None
        return made

    def forget(self, kind: str) -> None:
        """Remove a format that was registered; the package's own and installed ones stay."""
        if kind in self._parts and self.origin(kind) is not None:
            del self._parts[kind]
            self._lookup = None

    @property
    def lookup(self) -> _Lookup:
        """The lookup tables of the formats that load."""
        if self._lookup is None:
            self._lookup = _Lookup([Known(part, self.origin(part.kind)) for part in self])
        return self._lookup

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of image files in lower case; scans of folders use them."""
        return self.lookup.suffixes

    @property
    def writable(self) -> Mapping[str, str]:
        """The kind of format by suffix in lower case, for suffixes that any image can be written with."""
        return self.lookup.writable

    def named(self, path: str | os.PathLike[str]) -> Known | None:
        """Return the format of a file by its suffix, None if no format has it."""
        return self.lookup.by_suffix.get(suffix_of(path))

    def of_content(self, head: bytes) -> Known | None:
        """Return the format of a file by its first bytes, None if no format recognises them."""
        for recognises, known in self.lookup.recognising:
            if recognises(head):
                return known
        return None

    @property
    def content_kinds(self) -> tuple[str, ...]:
        """The kinds of the formats that are selected by content, whatever the suffix."""
        return self.lookup.content_kinds

    def of_file(self, path: Path, head: bytes) -> Known | None:
        """Return the format that reads a file: by its suffix, or by its content for formats that content selects."""
        named = self.named(path)
        return named if named is not None and not named.by_content else self.of_content(head)

    def _check(self, part: Any, where: str) -> None:
        super()._check(part, where)
        others = {suffix: one for one, _ in self._parts.values() for suffix in one.suffixes}
        for suffix in part.suffixes:
            other = others.get(suffix)
            if other is not None and other.kind != part.kind:
                raise ConfigError(
                    f"The image format {shown(part.kind)} of {where} claims the suffix {suffix}, which belongs to "
                    f"{shown(other.kind)}; give its files another suffix."
                )


def _fault(part: Any) -> str:
    """Return the reason why an object is no image format, as the end of a sentence; "" if it is one."""
    if isinstance(part, type):
        return f"it is a class; register an object of it, {part.__name__}()"
    for name in ("suffixes", "writes"):
        found = getattr(part, name, part.suffixes)
        if not isinstance(found, tuple) or not all(isinstance(one, str) and _is_suffix(one) for one in found):
            return f'its {name} must be a tuple of suffixes in lower case, such as (".png",), not {found!r}'
    if not part.suffixes:
        return "it has no suffix"
    if not set(getattr(part, "writes", part.suffixes)) <= set(part.suffixes):
        return "it writes suffixes that it does not read"
    flags = [name for name in _FLAGS if not isinstance(getattr(part, name, False), bool)]
    if flags:
        return f"{flags[0]} must be True or False"
    for name, known in (("keeps", get_args(Carried)), ("carries", get_args(Carried)), ("dtypes", map(str, HELD))):
        found = getattr(part, name, None) or ()
        choices = tuple(known)
        if isinstance(found, str) or not set(found) <= set(choices):
            return f"its {name} must be among {', '.join(choices)}, not {found!r}"
    return ""


def _is_suffix(text: str) -> bool:
    return len(text) > 1 and text.startswith(".") and text == text.lower() and not set(text) & set("/\\ \0")


FORMATS = FormatRegistry(
    "image format", "unpaired.formats", OWN, required=("suffixes", "read_header", "read"), refuse=_fault
)
"""Every image format: `FORMATS.register` adds one to those of the package and of installed packages."""


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file in lower case; that of x.nii.gz is .nii.gz."""
    name = os.path.basename(os.fspath(path))  # noqa: PTH119 - called for every file of a folder
    name = (Path(path).name if name in ("", ".") else name).lower()
    for suffix in FORMATS.lookup.compound:
        if name.endswith(suffix):
            return suffix
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""  # as pathlib does, without creating a path


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an image by its suffix."""
    return suffix_of(path) in FORMATS.suffixes


def is_volume_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a volume, a stack of slices, by its suffix."""
    known = FORMATS.named(path)
    return known is not None and known.volumes


def lost(header: ImageHeader, suffix: str) -> frozenset[Carried]:
    """Return the contents beside the image of a file that a result with this suffix cannot keep.

    A result of another format keeps none: a georeference or a no-data value has its meaning within a format.
    """
    known = FORMATS.lookup.by_suffix.get(suffix.lower())
    return header.carries - (known.keeps if known is not None and known.kind == header.format else frozenset())


def keeps_alpha(suffix: str) -> bool:
    """Return whether files of this suffix can hold transparency."""
    known = FORMATS.lookup.by_suffix.get(suffix.lower())
    return known is not None and known.alpha and suffix.lower() in known.writes
