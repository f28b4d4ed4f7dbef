"""Conversion of frozen dataclasses to plain dictionaries and YAML, and back, with type checks.

A setting is a field of a frozen, keyword-only dataclass; a part of the tree is a dataclass in a field. A field that may
hold one of several dataclasses is annotated with the protocol of a registry (`GeneratorConfig`) or with their union;
each of them has a class variable `kind` that names it in YAML. Unknown keys are errors with a suggestion, wrong
types are errors that name the setting.

The settings are defined beside the components they belong to; `unpaired.recipes` joins them in one tree.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from unpaired.errors import ConfigError
from unpaired.registry import registry_of
from unpaired.storage import shown
from unpaired.suggestions import unknown

T = TypeVar("T")

SCHEMA = 1
"""Schema version of config.yaml; incremented when a setting is renamed or changes its meaning."""

_MAX_BYTES = 2**20  # of a configuration file
_MAX_BRACKETS = 1000  # the parsing time grows with the square of their depth
_MAX_DEPTH = 100  # libyaml builds nested values by recursion, without a bound

# libyaml reads a configuration ten times as fast as the parser in Python; PyYAML is built without it on rare platforms.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def free(default: Any) -> Any:
    """Declare a setting that cannot change the result of a run; it may change when a run is resumed."""
    return dataclasses.field(default=default, metadata={"free": True})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting whose value differs between two configurations; `key` is its dotted path."""

    key: str
    saved: Any
    given: Any

    def __str__(self) -> str:
        return f"{self.key}: saved {self.saved!r}, given {self.given!r}"


def to_dict(config: Any) -> dict[str, Any]:
    """Return `config` (a dataclass instance) as nested dictionaries of plain YAML/JSON values."""
    plain: dict[str, Any] = {"kind": config.kind} if hasattr(config, "kind") else {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        plain[field.name] = value
    return plain


def from_dict(annotation: Any, data: Any, where: str = "") -> Any:
    """Build the dataclass `annotation` (or the matching member of a registry or a union) from plain values.

    Fields missing in `data` keep their defaults. Raises ConfigError for an unknown key (with a suggestion), a missing
    or unknown `kind`, or a value of the wrong type.

    where: dotted path of the dataclass, for messages.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where or 'The configuration'} must be a mapping of settings, not {data!r}.")
    cls = _class_for(annotation, data, where)
    data = getattr(cls, "upgraded", dict)(data)  # names of settings in files of earlier versions
    hints = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key == "kind" and hasattr(cls, "kind"):
            if value != cls.kind:
                raise ConfigError(f"{_join(where, 'kind')} must be {cls.kind!r} here, not {value!r}.")
            continue
        if key not in known:
            raise ConfigError(unknown(_join(where, str(key)), [_join(where, name) for name in known], "setting"))
        values[key] = convert(hints[key], value, _join(where, key))
    try:
        return cls(**values)
    except TypeError as error:  # a field without default is missing
        raise ConfigError(f"{where or cls.__name__} is incomplete: {error}.") from None


def convert(annotation: Any, value: Any, key: str) -> Any:
    """Return `value` as the type of `annotation`; text (from a command line) is parsed.

    Supports bool, int, float, str, Literal, `X | None`, `tuple[X, ...]` and dataclasses; of other unions the first
    member that takes the value. Raises ConfigError.
    """
    options = [annotation] if get_origin(annotation) not in (Union, types.UnionType) else list(get_args(annotation))
    if type(None) in options:
        if value is None or value in ("none", "null"):
            return None
        options = [option for option in options if option is not type(None)]
    if registry_of(annotation) is not None or _dataclasses_in(annotation):
        return from_dict(annotation, value, key)
    if len(options) > 1:
        for option in options:
            with suppress(ConfigError):
                return convert(option, value, key)
        raise ConfigError(f"{key} takes {' or '.join(map(_named, options))}, not {value!r}.")
    (option,) = options
    if get_origin(option) is Literal:
        if value in get_args(option):
            return value
        raise ConfigError(unknown(f"{value!r} for {key}", [str(choice) for choice in get_args(option)], "choice"))
    if get_origin(option) is tuple:
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ConfigError(f"{key} takes a list, not {value!r}.")
        return tuple(convert(get_args(option)[0], item, key) for item in items)
    converted = _scalar(option, value)
    if converted is None:
        raise ConfigError(f"{key} takes {_named(option)}, not {value!r}.")
    return converted


def override(config: T, settings: Mapping[str, Any]) -> T:
    """Return a copy of `config` with the settings at dotted paths replaced, e.g. {"data.crop_size": 128}.

    Paths may contain hyphens. A path that ends in `kind` replaces the component by another one with default settings,
    before the other settings are applied. Raises ConfigError for an unknown path or an invalid value.
    """
    keys = {path.replace("-", "_"): value for path, value in settings.items()}
    kinds = {key.removesuffix(".kind"): value for key, value in keys.items() if key.endswith(".kind")}
    config = _with(config, {part: {"kind": kind} for part, kind in kinds.items()})
    return _with(config, {key: value for key, value in keys.items() if not key.endswith(".kind")})


def _with(config: T, settings: Mapping[str, Any]) -> T:
    """Return a copy of `config` with the values at dotted paths replaced."""
    plain = to_dict(config)
    paths = list(flatten(config))
    for path, value in settings.items():
        *parents, leaf = path.split(".")
        node: Any = plain
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise ConfigError(unknown(path, paths, "setting"))
        node[leaf] = value
    result: T = from_dict(type(config), plain)
    return result


def option_name(path: str) -> str:
    """Return the command-line option of a setting by its dotted path: --generator.num-blocks."""
    return "--" + path.replace("_", "-")


def flatten(config: Any, prefix: str = "", *, without_free: bool = False) -> dict[str, Any]:
    """Return all settings by dotted path, e.g. {"optimizer.learning_rate": 0.0002, ...}."""
    left_out = {field.name for field in dataclasses.fields(config) if without_free and field.metadata.get("free")}
    flat: dict[str, Any] = {}
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            flat.update(flatten(getattr(config, key), _join(prefix, key), without_free=without_free))
        elif key not in left_out:
            flat[_join(prefix, key)] = value
    return flat


def differences(saved: Any, given: Any) -> list[Difference]:
    """Return the differing settings that change a run's result, in the order of the tree."""
    old, new = flatten(saved, without_free=True), flatten(given, without_free=True)
    keys = list(old) + [key for key in new if key not in old]
    return [Difference(key=key, saved=old.get(key), given=new.get(key)) for key in keys if old.get(key) != new.get(key)]


def to_yaml(config: Any) -> str:
    """Return the configuration as YAML text, beginning with the schema version."""
    return yaml.safe_dump({"schema": SCHEMA, **to_dict(config)}, sort_keys=False, allow_unicode=True)


def read_yaml(cls: type[T], path: Path, base: T | None = None) -> T:
    """Read a configuration from a YAML file; missing settings come from `base` (default: `cls()`).

    Raises ConfigError if the file is missing, is not YAML, has another schema, or contains unknown settings.
    """
    data = load_yaml(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"The configuration {shown(path)} must be a mapping of settings, not {type(data).__name__}.")
    schema = data.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise ConfigError(f"The configuration {shown(path)} has schema {schema!r}; this version reads schema {SCHEMA}.")
    result: T = from_dict(cls, _merged(to_dict(base), data) if base is not None else data)
    return result


def require_rebuildable(config: Any) -> None:
    """Raise ConfigError if a component cannot be rebuilt from the configuration file of its run.

    Otherwise the run could not be resumed and its model could not be loaded.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        part, reason = getattr(config, field.name), ""
        try:
            values = to_dict(part)
            values = values if _is_plain(values) else yaml.safe_load(yaml.safe_dump(values))
            back = from_dict(hints[field.name], values, field.name)
        except (ConfigError, TypeError, yaml.YAMLError) as error:  # of another class, or values that YAML cannot hold
            back, reason = None, str(error).rstrip(".") if isinstance(error, ConfigError) else ""
        if type(back) is not type(part) or back != part:
            raise ConfigError(
                f"{field.name} is {type(part).__name__}, which cannot be rebuilt from its settings, so the run could "
                f"not be resumed and its model could not be loaded; {_remedy(part, hints[field.name], reason)}."
            )


def _is_plain(value: Any) -> bool:
    """Return whether YAML returns a value as it is; exact types only, as it loses or refuses subclasses."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if type(value) is list else type(value) in (bool, int, float, str, type(None))


def _remedy(part: Any, annotation: Any, reason: str) -> str:
    """Return the remedy for a component that cannot be rebuilt. reason: the message of the attempt, or ""."""
    registry = registry_of(annotation)
    plain = f"use plain values: numbers, text, booleans and tuples of these{f' ({reason})' if reason else ''}"
    if registry is None:
        return plain
    if getattr(part, "kind", None) not in registry:
        return "pass its class to unpaired.register, with a unique kind"
    if registry.get(part.kind) is not type(part):
        return f"give its class another kind than {part.kind!r} and pass it to unpaired.register"
    return plain


def load_yaml(path: Path) -> Any:
    """Return the plain values of a YAML file; raises ConfigError if it cannot be read or is not YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"The configuration {shown(path)} has more than {_MAX_BYTES:,} bytes; check --config.")
        if content.count(b"[") + content.count(b"{") > _MAX_BRACKETS:
            raise ConfigError(
                f"The configuration {shown(path)} has more than {_MAX_BRACKETS:,} brackets; write it without nesting."
            )
        text = content.decode()
        # A path that is no Unicode is written with escapes of surrogates, which libyaml refuses.
        loader = yaml.SafeLoader if "\\ud" in text.lower() else _Loader
        _check_events(text, loader)
        return loader(text).get_single_data()
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {shown(path)}: {error.strerror}; check --config.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(f"The configuration {shown(path)} is not valid YAML: {reason}.") from None


def _check_events(text: str, loader: Any) -> None:
    """Raise YAMLError for aliases and for deep nesting, before any value is built.

    Aliases could expand a short file to more values than fit in memory.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"more than {_MAX_DEPTH} levels of nesting")


def require(condition: bool, sentence: str) -> None:
    """Raise ConfigError with `sentence` unless `condition` holds."""
    if not condition:
        raise ConfigError(sentence)


def _merged(base: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `data` into `base`; a component of another kind replaces the whole component."""
    merged = dict(base)
    for key, value in data.items():
        old = merged.get(key)
        same_kind = isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind"))
        merged[key] = _merged(old, value) if same_kind and isinstance(old, dict) else value
    return merged


def _class_for(annotation: Any, data: Mapping[str, Any], where: str) -> Any:
    """Return the dataclass to build from plain values."""
    registry, members = registry_of(annotation), _dataclasses_in(annotation)
    if registry is not None:
        return registry.get(data.get("kind"), _join(where, "kind"))
    if len(members) == 1:
        return members[0]
    by_kind, kind = {member.kind: member for member in members}, data.get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
        raise ConfigError(unknown(f"{kind!r} for {_join(where, 'kind')}", by_kind, "choice"))
    return by_kind[kind]


def _dataclasses_in(annotation: Any) -> list[Any]:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return [option for option in options if dataclasses.is_dataclass(option)]


def _scalar(option: Any, value: Any) -> Any:
    """Return `value` as bool, int, float or str, or None if it cannot be converted without loss."""
    if option is str:
        return value if isinstance(value, str) else None
    if option is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        return value if isinstance(value, bool) else words.get(str(value).lower())
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if option is float:
        return number if math.isfinite(number) else None
    if option is int and math.isfinite(number) and number == int(number):
        return int(value) if isinstance(value, (int, str)) and str(value).lstrip("+-").isdigit() else int(number)
    return None


def _named(option: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(
        option, option.__name__ if isinstance(option, type) else str(option)
    )


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
