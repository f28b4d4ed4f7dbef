"""Registries: components of one type (generators, losses, ...) by kind, the name used in settings and model files.

A registry holds the built-in components, those registered by the user's code, and those of installed packages: an
entry point in the registry's group, with the kind as its name. A file names a kind, never a module. Reading a file
therefore imports only packages that were installed for this purpose.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from unpaired.errors import ConfigError, UnknownKindError
from unpaired.storage import shown
from unpaired.suggestions import unknown

PartT = TypeVar("PartT")

_log = logging.getLogger("unpaired.registry")  # a child: beside the sentences of a run


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of a component that is not built in: an installed package, or a file of the user.

    package, version: name and version of the distribution.
    file, sha256: name of the file and SHA-256 of its content.

    All are empty for a component registered from Python.
    """

    package: str = ""
    version: str = ""
    file: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the non-empty fields, as stored in files."""
        return {name: value for name, value in vars(self).items() if value}

    def __str__(self) -> str:
        if self.package:
            return f"the package {self.package} {self.version}".rstrip()
        return f"the file {shown(self.file)} (SHA-256 {self.sha256[:12]})" if self.file else "Python code"


def origin_from_json(entry: Any) -> Origin:
    """Return the origin stored in a file; invalid fields are ignored, because origins are only used in messages."""
    names = ("package", "version", "file", "sha256")
    texts = {name: entry.get(name) for name in names} if isinstance(entry, dict) else {}
    return Origin(**{name: text[:200] for name, text in texts.items() if isinstance(text, str)})


def not_installed(noun: str, kind: str, origin: Origin) -> str:
    """Return the message for a missing component named by a file; `origin` is its origin, if known."""
    sentence = f"The {noun} {shown(kind)[:80]} is not installed here"
    if origin.package:
        return f"{sentence}; it is a part of {shown(str(origin))}: install that package."
    if origin.file:
        return f"{sentence}; it came from {shown(str(origin))}: load that file with recipes.load_file."
    return f"{sentence}; install the package that provides it, or load its file with recipes.load_file."


LOADER = "recipes.load_file"
"""The function that the sentence advises; the command line has an option for it."""

_OWN = Origin(package="unpaired")
_BY_PROTOCOL: dict[Any, Registry[Any]] = {}
_loading: ContextVar[Origin | None] = ContextVar("_loading", default=None)


class Registry(Generic[PartT]):
    """The components of one type, by kind.

    noun: the noun for a component in messages.
    group: the entry point group of installed packages.
    own: the built-in components.
    protocol: the annotation of settings that hold an instance of one of these classes.
    required: attributes that a component must have in addition to `kind`.
    refuse: returns the reason why a component is unsuitable, as the end of a sentence, or "".
    """

    def __init__(
        self,
        noun: str,
        group: str,
        own: Iterable[PartT] = (),
        *,
        protocol: type | None = None,
        required: Iterable[str] = (),
        refuse: Callable[[Any], str] = lambda part: "",
    ) -> None:
        self.noun, self.group = noun, group
        if protocol is not None:
            _BY_PROTOCOL[protocol] = self
        self._required, self._refuse = ("kind", *required), refuse
        self._parts: dict[str, tuple[PartT, Origin]] = {}
        for part in own:
            self._parts[_kind(part)] = part, _OWN

    def register(self, part: PartT) -> PartT:
        """Add a component and return it, for use as a class decorator.

        Registering a component of the same file or program again replaces it. Raises ConfigError if the component lacks
        an attribute or its kind is a built-in one.
        """
        origin = _loading.get() or Origin()
        self._check(part, str(origin))
        kind = _kind(part)
        if self._parts.get(kind, (part, origin))[1] == _OWN and self._parts[kind][0] is not part:
            raise ConfigError(
                f"The {self.noun} {shown(kind)} of {origin} has the kind of a built-in one; give it another kind."
            )
        before = self._parts.setdefault(kind, (part, origin))
        if origin.file and before[1] == origin and _class_of(before[0]) != _class_of(part):
            raise ConfigError(
                f"{_class_of(before[0])} and {_class_of(part)} of {origin} are two classes for the {self.noun} "
                f"{shown(kind)}; give each its own kind."
            )
        if self._parts[kind][1] != _OWN:
            self._parts[kind] = part, origin
        return part

    def get(self, kind: Any, setting: str = "") -> PartT:
        """Return the component of this kind.

        setting: dotted name of the setting that contains the kind, for the message.

        Raises UnknownKindError if the kind is unknown, and ConfigError if its package cannot be loaded.
        """
        return self._found(kind, setting)[0]

    def origin(self, kind: str) -> Origin | None:
        """Return the origin of the component of this kind, None for a built-in one. Raises like `get`."""
        found = self._found(kind, "")[1]
        return None if found == _OWN else found

    def origins(self, kinds: Iterable[str]) -> dict[str, Origin]:
        """Return the origins of those kinds that are not built in, as {"generator wide": ...}. Raises as `get` does."""
        found = {f"{self.noun} {kind}": self.origin(kind) for kind in kinds}
        return {name: origin for name, origin in found.items() if origin is not None}

    def kinds(self) -> list[str]:
        """Return all kinds: the built-in ones first, then those of installed packages."""
        return list(dict.fromkeys([*self._parts, *sorted(entry.name for entry in self._entries())]))

    def own(self) -> list[PartT]:
        """Return the built-in components."""
        return [part for part, origin in self._parts.values() if origin == _OWN]

    def __iter__(self) -> Iterator[PartT]:
        """Yield all components; a package that cannot be loaded is skipped with a logged warning."""
        for kind in self.kinds():
            try:
                yield self.get(kind)
            except ConfigError as error:
                _log.warning("%s", error)

    def __contains__(self, kind: object) -> bool:
        return kind in self.kinds()

    def _entries(self) -> list[importlib.metadata.EntryPoint]:
        return list(importlib.metadata.entry_points(group=self.group))

    def _found(self, kind: Any, setting: str) -> tuple[PartT, Origin]:
        if not isinstance(kind, str) or kind not in self._parts:
            entries = [entry for entry in self._entries() if entry.name == kind]
            if not entries:
                named = f"{kind!r} for {setting}" if setting else str(kind)
                sentence = unknown(named, self.kinds(), "choice" if setting else self.noun)
                raise UnknownKindError(sentence, noun=self.noun, kind=str(kind))
            self._parts[kind] = self._loaded(entries)
        return self._parts[kind]

    def _loaded(self, entries: list[importlib.metadata.EntryPoint]) -> tuple[PartT, Origin]:
        """Import the component of an installed package."""
        packages = sorted({_package(entry).package for entry in entries})
        if len(packages) > 1:
            raise ConfigError(
                f"The {self.noun} {shown(entries[0].name)} is provided by {' and by '.join(packages)}; uninstall all "
                "but one of them."
            )
        entry, origin = entries[0], _package(entries[0])
        try:
            part = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"The {self.noun} {shown(entry.name)} of {origin} cannot be loaded ({reason}); reinstall that package."
            ) from error
        self._check(part, str(origin))
        if _kind(part) != entry.name:
            raise ConfigError(
                f"{origin} has an entry point for the {self.noun} {shown(entry.name)}, but its kind is "
                f"{_kind(part)!r}; the entry point must have the kind as its name."
            )
        return part, origin

    def accepts(self, part: Any) -> bool:
        """Return whether an object has the attributes of a component of this registry."""
        return all(hasattr(part, name) for name in self._required) and not self._refuse(part)

    def _check(self, part: Any, where: str) -> None:
        missing = [name for name in self._required if not hasattr(part, name)]
        name = getattr(part, "__name__", type(part).__name__)
        if missing:
            raise ConfigError(f"{name} of {where} is no {self.noun}: it lacks {', '.join(missing)}; add it.")
        if not isinstance(_kind(part), str) or not _kind(part):
            raise ConfigError(f"{name} of {where} is no {self.noun}: its kind must be a name, not {_kind(part)!r}.")
        reason = self._refuse(part)
        if reason:
            raise ConfigError(f"{name} of {where} is no {self.noun}: {reason}.")


def registry_of(annotation: Any) -> Registry[Any] | None:
    """Return the registry for settings with this annotation, None for other settings."""
    try:
        return _BY_PROTOCOL.get(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return None


@contextmanager
def registering_from(file: Path) -> Iterator[None]:
    """Record `file` and its SHA-256 as the origin of components that are registered in the block."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    token = _loading.set(Origin(file=file.name, sha256=digest))
    try:
        yield
    finally:
        _loading.reset(token)


def _kind(part: Any) -> Any:
    return getattr(part, "kind", None)


def _class_of(part: Any) -> str:
    return part.__qualname__ if isinstance(part, type) else type(part).__qualname__


def _package(entry: importlib.metadata.EntryPoint) -> Origin:
    if entry.dist is None:
        return Origin(package=entry.value.split(":")[0].split(".")[0])
    return Origin(package=entry.dist.name, version=entry.dist.version)
