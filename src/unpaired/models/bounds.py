"""The values of a model.json that are no settings of a network: each is what it must be, or a ConfigError."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar

from unpaired.config import require
from unpaired.images import Color

MAX_CROP = 2**13
"""Largest side of training crops, in pixels, for which memory may be taken because a model says so."""

_MAX_SIDE = 2**20


class _Sized(Protocol):
    @property
    def load_size(self) -> int | None: ...
    @property
    def crop_size(self) -> int | None: ...


SizedT = TypeVar("SizedT", bound=_Sized)


def text(value: Any, key: str) -> str:
    """Return a value that is text."""
    require(isinstance(value, str), f"{key} is {value!r}, which is no text")
    return str(value)


def texts(value: Any, key: str) -> tuple[str, ...]:
    """Return a list of texts."""
    require(isinstance(value, list), f"{key} is {value!r}, which is no list")
    return tuple(text(each, key) for each in value)


def colour(value: Any) -> Color:
    """Return a list of three whole numbers from 0 to 255."""
    whole = isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value)
    require(whole and all(0 <= part <= 255 for part in value), f"background is {value!r}, which is no colour")
    red, green, blue = value
    return red, green, blue


def sides(training: SizedT) -> SizedT:
    """Return what is said about the training if its sizes are some that images can have had."""
    for key, side, most in (("load", training.load_size, _MAX_SIDE), ("crop", training.crop_size, MAX_CROP)):
        require(side is None or 1 <= side <= most, f"training.{key}_size is {side}, and may be 1 to {most}")
    return training


def icc(name: Any) -> Literal["ignore", "convert"]:
    """Return how ICC profiles were treated."""
    require(name in ("ignore", "convert"), f"icc {name!r} is unknown")
    return "convert" if name == "convert" else "ignore"
