"""Registries: parts by kind, from the package, from code that registers them, and from installed packages."""

from __future__ import annotations

import logging
import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace

import pytest

from unpaired import registry as module
from unpaired.errors import ConfigError, UnknownKindError
from unpaired.registering import register, registries
from unpaired.registry import Origin, Registry, not_installed, origin_from_json, registering_from


def part(kind: object = "own", **more: object) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, size=1, **more)


@pytest.fixture
def parts() -> Registry[SimpleNamespace]:
    return Registry("widget", "unpaired.widgets", (part("round"), part("square")), required=("size",))


def test_parts_are_found_by_their_kind(parts: Registry[SimpleNamespace]) -> None:
    assert parts.get("round").kind == "round"
    assert parts.kinds() == ["round", "square"]
    assert "round" in parts
    assert parts.origin("round") is None
    mine = parts.register(part("mine"))
    assert parts.get("mine") is mine
    assert parts.kinds() == ["round", "square", "mine"]
    assert str(parts.origin("mine")) == "Python code"
    assert [each.kind for each in parts] == ["round", "square", "mine"]
    assert [each.kind for each in parts.own()] == ["round", "square"]


@pytest.mark.parametrize("kind", [None, 3, ["round"], "", "no kind at all"])
def test_an_unknown_kind_is_named_with_those_that_exist(parts: Registry[SimpleNamespace], kind: object) -> None:
    with pytest.raises(UnknownKindError, match=r"for widget\.kind; choose from: round, square"):
        parts.get(kind, "widget.kind")


def test_an_unknown_kind_is_named_with_the_nearest_one(parts: Registry[SimpleNamespace]) -> None:
    with pytest.raises(UnknownKindError, match="Unknown widget sqare; did you mean square"):
        parts.get("sqare")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (SimpleNamespace(kind="mine"), "no widget: it lacks size"),
        (SimpleNamespace(size=1), "it lacks kind"),
        (part(3), "its kind must be a name, not 3"),
        (part(""), "its kind must be a name"),
        (part("round"), "round of Python code has the kind of a built-in one"),
    ],
)
def test_what_is_no_part_is_refused(parts: Registry[SimpleNamespace], wrong: SimpleNamespace, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parts.register(wrong)
    assert parts.kinds() == ["round", "square"]


def test_a_registry_may_refuse_for_a_reason_of_its_own() -> None:
    parts = Registry[SimpleNamespace]("widget", "unpaired.widgets", refuse=lambda part: "it is blue" * part.blue)
    parts.register(part("red", blue=False))
    with pytest.raises(ConfigError, match="is no widget: it is blue"):
        parts.register(part("blue", blue=True))
    assert parts.accepts(part("red", blue=False))
    assert not parts.accepts(part("blue", blue=True))


def test_a_file_that_registers_a_part_is_its_origin(parts: Registry[SimpleNamespace], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(b"content")
    with registering_from(path):
        parts.register(part("mine"))
    origin = parts.origin("mine")
    assert origin is not None
    assert origin.file == "mine.py"
    assert origin.sha256 == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert origin_from_json(origin.to_json()) == origin
    parts.register(part("later"))
    assert str(parts.origin("later")) == "Python code"


def installed(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str, object]) -> None:
    """Let packages announce entry points, each with the value or the error of its loading."""

    class Entry(EntryPoint):
        def load(self) -> object:
            made = self.made  # type: ignore[attr-defined]
            if isinstance(made, Exception):
                raise made
            return made

    found = []
    for package, name, made in entries:
        entry = Entry(name, f"{package}:part", "unpaired.widgets")
        vars(entry).update(dist=SimpleNamespace(name=package, version="1.2"), made=made)
        found.append(entry)
    monkeypatch.setattr(module.importlib.metadata, "entry_points", lambda group: EntryPoints(found))


def test_installed_packages_bring_parts(parts: Registry[SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    star = part("star")
    installed(monkeypatch, ("unpaired-star", "star", star))
    assert parts.kinds() == ["round", "square", "star"]
    assert parts.get("star") is star
    assert parts.origin("star") == Origin(package="unpaired-star", version="1.2")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [("a", "star", ImportError("no\nlibrary"))],
            "star of the package a 1.2 cannot be loaded .ImportError: no library",
        ),
        ([("a", "star", part("moon"))], "an entry point for the widget star, but its kind is 'moon'"),
        ([("a", "star", object())], "is no widget: it lacks kind, size"),
        (
            [("a", "star", part("star")), ("b", "star", part("star"))],
            "is provided by a and by b; uninstall all but one",
        ),
    ],
)
def test_a_package_whose_part_is_none_is_named(
    parts: Registry[SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    entries: list[tuple[str, str, object]],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed(monkeypatch, *entries)
    with pytest.raises(ConfigError, match=words):
        parts.get("star")
    with caplog.at_level(logging.WARNING, "unpaired"):
        assert [each.kind for each in parts] == ["round", "square"]
    assert re.search(words, caplog.text)


def test_an_installed_part_does_not_take_the_place_of_the_packages_own(
    parts: Registry[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, ("evil", "round", part("round")))
    assert parts.origin("round") is None


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (Origin(package="unpaired-x", version="2"), "a part of the package unpaired-x 2: install that package"),
        (Origin(file="x.py", sha256="ab" * 32), "came from the file x.py .*: load that file with recipes.load_file"),
        (Origin(), "install the package that provides it, or load its file with recipes.load_file"),
    ],
)
def test_what_is_not_installed_is_named_with_its_origin(origin: Origin, words: str) -> None:
    assert re.search(words, not_installed("generator", "x", origin))


@pytest.mark.parametrize("garbled", [None, [], "text", {"package": 3}, {"file": ["x"]}])
def test_a_garbled_origin_is_none(garbled: object) -> None:
    assert origin_from_json(garbled) == Origin()


def test_register_knows_the_sort_of_a_part_by_its_attributes() -> None:
    for registry in registries():
        for own in registry.own():
            assert register(own) is own, own  # a second registration changes nothing
    with pytest.raises(ConfigError, match="object is none of: method, generator, discriminator, adversarial loss"):
        register(object())
