"""Validation of the values of model.json that are not network settings; invalid values raise ConfigError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from unpaired.config import require

if TYPE_CHECKING:
    from unpaired.images import Color

MAX_CROP = 2**13
"""Maximum side of training crops in a model.json, in pixels; limits the memory that a model can request."""

MAX_SIDE = 2**20
"""Maximum side of an image in a model.json, in pixels."""


class _Sized(Protocol):
    @property
    def load_size(self) -> int | None: ...
    @property
    def crop_size(self) -> int | None: ...


SizedT = TypeVar("SizedT", bound=_Sized)


def text(value: Any, key: str) -> str:
    """Return a string."""
    require(isinstance(value, str), f"{key} is {value!r}, which is not text")
    return str(value)


def texts(value: Any, key: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple."""
    require(isinstance(value, list), f"{key} is {value!r}, which is not a list")
    return tuple(text(each, key) for each in value)


def colour(value: Any) -> Color:
    """Return a list of three whole numbers from 0 to 255."""
    whole = isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value)
    require(whole and all(0 <= part <= 255 for part in value), f"background is {value!r}, which is not a colour")
    red, green, blue = value
    return red, green, blue


def sides(training: SizedT) -> SizedT:
    """Return the training information if its image sizes are plausible."""
    for key, side, most in (("load", training.load_size, MAX_SIDE), ("crop", training.crop_size, MAX_CROP)):
        require(side is None or 1 <= side <= most, f"training.{key}_size is {side}, but must be 1 to {most}")
    return training


def icc(name: Any) -> Literal["ignore", "convert"]:
    """Return the treatment of ICC profiles, "ignore" or "convert"."""
    require(name in ("ignore", "convert"), f"icc {name!r} is unknown")
    return "convert" if name == "convert" else "ignore"
