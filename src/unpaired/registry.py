"""Registries: the parts of one sort by their kind, which settings and model files name.

A registry holds the package's own parts, those that the user's code registers, and those of installed packages: an
entry point in the registry's group, named like the kind. A file names a kind and never a module, so reading one
imports nothing but packages that somebody installed for this purpose.
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
    """Where a part that is not this package's own comes from: an installed package, or a file of the user's.

    package, version: of the distribution. file, sha256: name of the file and the SHA-256 of its content. All are
    empty for a part that was registered from Python.
    """

    package: str = ""
    version: str = ""
    file: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, str]:
        """Return what is known, as files keep it."""
        return {name: value for name, value in vars(self).items() if value}

    def __str__(self) -> str:
        if self.package:
            return f"the package {self.package} {self.version}".rstrip()
        return f"the file {shown(self.file)} (SHA-256 {self.sha256[:12]})" if self.file else "Python code"


def origin_from_json(entry: Any) -> Origin:
    """Return the origin that a file names; whatever it garbles is left out, as it serves for messages alone."""
    names = ("package", "version", "file", "sha256")
    texts = {name: entry.get(name) for name in names} if isinstance(entry, dict) else {}
    return Origin(**{name: text[:200] for name, text in texts.items() if isinstance(text, str)})


def not_installed(noun: str, kind: str, origin: Origin) -> str:
    """Return the sentence for a part that a file names and that is not there; origin: where it came from, if known."""
    sentence = f"The {noun} {shown(kind)} is not installed here"
    if origin.package:
        return f"{sentence}; it is a part of {shown(str(origin))}: install that package."
    if origin.file:
        return f"{sentence}; it came from {shown(str(origin))}: name that file with --recipe, as in training."
    return f"{sentence}; install the package that provides it, or name its file with --recipe."


_OWN = Origin(package="unpaired")
_BY_PROTOCOL: dict[Any, Registry[Any]] = {}
_loading: ContextVar[Origin | None] = ContextVar("_loading", default=None)


class Registry(Generic[PartT]):
    """The parts of one sort by kind.

    noun: of one part, as messages name it. group: the entry points of installed packages. own: the package's parts.
    protocol: the type by which settings are annotated that hold an instance of one of these classes. required: the
    attributes that a part must have beside its `kind`. refuse: returns another reason against a part, as the end of a
    sentence, or "".
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
        """Add a part under its kind and return it, so that it serves as a decorator of a class.

        Registering the same file's or the same program's part again replaces it. Raises ConfigError if the part lacks
        an attribute or its kind belongs to the package.
        """
        origin = _loading.get() or Origin()
        self._check(part, str(origin))
        kind = _kind(part)
        if self._parts.get(kind, (part, origin))[1] == _OWN and self._parts[kind][0] is not part:
            raise ConfigError(
                f"The {self.noun} {shown(kind)} of {origin} has the name of one of the package; give it another kind."
            )
        self._parts.setdefault(kind, (part, origin))
        if self._parts[kind][1] != _OWN:
            self._parts[kind] = part, origin
        return part

    def get(self, kind: Any, setting: str = "") -> PartT:
        """Return the part of this kind. setting: the dotted name of the setting that names it, for the message.

        Raises UnknownKindError if nobody provides it, and ConfigError if the package that does cannot be loaded.
        """
        return self._found(kind, setting)[0]

    def origin(self, kind: str) -> Origin | None:
        """Return where the part of this kind comes from, None for the package's own. Raises as `get` does."""
        found = self._found(kind, "")[1]
        return None if found == _OWN else found

    def kinds(self) -> list[str]:
        """Return every kind that can be named here: the package's own first, installed ones after them."""
        return list(dict.fromkeys([*self._parts, *sorted(entry.name for entry in self._entries())]))

    def own(self) -> list[PartT]:
        """Return the package's own parts."""
        return [part for part, origin in self._parts.values() if origin == _OWN]

    def __iter__(self) -> Iterator[PartT]:
        """Yield every part that loads; a package that does not is skipped with a warning in the log."""
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
        """Import the part of an installed package."""
        packages = sorted({_package(entry).package for entry in entries})
        if len(packages) > 1:
            raise ConfigError(
                f"The {self.noun} {shown(entries[0].name)} comes with {' and with '.join(packages)}; uninstall all but "
                "one of them."
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
                f"{origin} announces the {self.noun} {shown(entry.name)}, but its kind is {_kind(part)!r}; its entry "
                "point must be named like the kind."
            )
        return part, origin

    def accepts(self, part: Any) -> bool:
        """Return whether something has the attributes of a part of this sort."""
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
    """Return the registry of the parts that a setting with this annotation may hold, None if it holds none."""
    try:
        return _BY_PROTOCOL.get(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return None


@contextmanager
def registering_from(file: Path) -> Iterator[None]:
    """Note in the body that parts which are registered come from `file`, which is read for its SHA-256."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    token = _loading.set(Origin(file=file.name, sha256=digest))
    try:
        yield
    finally:
        _loading.reset(token)


def _kind(part: Any) -> Any:
    return getattr(part, "kind", None)


def _package(entry: importlib.metadata.EntryPoint) -> Origin:
    if entry.dist is None:
        return Origin(package=entry.value.split(":")[0].split(".")[0])
    return Origin(package=entry.dist.name, version=entry.dist.version)
