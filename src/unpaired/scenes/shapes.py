"""Drawn objects on a table, in two forms: circles or squares, round or long fruit.

Two styles of one seed show the same objects: place, area, colours, texture, light and ground agree, and only the form
differs. Translating from one style to the other therefore requires a change of shape, against a pixelwise ground truth.

The ground is nearly grey and objects are saturated. Light and texture change all three channels equally, so that the
difference of the largest and the smallest channel, the chroma, separates objects from the ground in every picture.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unpaired.errors import ConfigError
from unpaired.scenes.scene import grain, require_drawable
from unpaired.suggestions import unknown

Floats = npt.NDArray[np.float32]

SHAPE_STYLES: tuple[str, ...] = ("circles", "squares")
"""Plain objects of equal area, standing upright."""

FRUIT_STYLES: tuple[str, ...] = ("round-fruit", "long-fruit")
"""Striped fruit with a stem, of equal area; long fruit lies along the stripes."""

CHROMA_THRESHOLD = 62
"""Chroma, in 8-bit levels, above which a pixel shows an object: halfway from the ground's to the objects'."""

ELONGATION = 3.5
"""Length of a long fruit, in widths."""

_OBJECT_CHROMA = 120
_GROUND_CHROMA = 8
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Thing:
    """An object centred on (x, y), from 0 to 1, with the area of a disc of `radius`.

    tilt: angle of the stripes and of a long fruit with the horizontal, in radians.
    stem_side: end of the axis that has the stem, -1 or 1.
    stripes: number of stripes across the object; `phase` shifts them, `contrast` is their strength in levels.
    """

    x: float
    y: float
    radius: float
    tilt: float
    stem_side: int
    hue: float
    brightness: float
    stripes: float
    phase: float
    contrast: float


@dataclass(frozen=True)
class Table:
    """The ground: brightness in levels, a gradient, two waves of grain, and a faint hue."""

    brightness: float
    slope: tuple[float, float]
    waves: tuple[tuple[float, float, float, float], ...]
    hue: float


@dataclass(frozen=True)
class StillLife:
    """One to three objects on a table."""

    things: tuple[Thing, ...]
    table: Table


def sample_still_life(seed: int) -> StillLife:
    """Return the objects and the table of a seed, an integer >= 0; independent of the style."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets; its stream is guaranteed to be stable
    count = rng.choice((1, 1, 2, 2, 3))
    smallest, largest = {1: (0.19, 0.22), 2: (0.15, 0.18), 3: (0.11, 0.13)}[count]
    things = []
    for row in range(count):
        radius = rng.uniform(smallest, largest)
        # Rows, because long fruit of one row would overlap.
        room = 1 / count - 2 * radius - 0.04
        side = radius * math.sqrt(ELONGATION) + 0.04
        things.append(
            Thing(
                x=rng.uniform(side, 1 - side),
                y=(row + 0.5) / count + rng.uniform(-0.5, 0.5) * room * 0.8,
                radius=radius,
                tilt=rng.uniform(-0.2, 0.2),
                stem_side=rng.choice((-1, 1)),
                hue=rng.random(),
                brightness=rng.uniform(-22, 22),
                stripes=rng.uniform(2.0, 3.2),
                phase=rng.uniform(0, 2 * math.pi),
                contrast=rng.uniform(10, 22),
            )
        )
    waves = tuple(
        (rng.uniform(3, 9), rng.uniform(-8, 8), rng.uniform(10, 40), rng.uniform(0, 2 * math.pi)) for _ in range(2)
    )
    table = Table(rng.uniform(95, 185), (rng.uniform(-25, 25), rng.uniform(-25, 25)), waves, rng.random())
    return StillLife(tuple(things), table)


def draw_still_life(seed: int, style: str, size: int) -> npt.NDArray[np.uint8]:
    """Draw the objects of `seed` (an integer >= 0) in one of SHAPE_STYLES or FRUIT_STYLES.

    Returns RGB of shape (size, size, 3), 0-255.

    Raises ConfigError if the style is unknown, the seed negative, or `size` not in 32..4096 pixels.
    """
    form = _form(style, seed, size)
    life = sample_still_life(seed)
    x, y = _places(size)
    picture = _ground(life.table, x, y)
    for thing in life.things:
        _add_shadow(picture, thing, form, x, y)
    for thing in life.things:
        if style in FRUIT_STYLES:
            _add_stem(picture, thing, form, x, y)
        _add_thing(picture, thing, form, x, y, striped=style in FRUIT_STYLES)
    picture = _reduced(picture) + 4 * grain(size)[..., None]
    np.clip(np.rint(picture), 0, 255, out=picture)
    return picture.astype(np.uint8)


def object_mask(seed: int, style: str, size: int) -> npt.NDArray[np.bool_]:
    """Return the pixels of the drawn objects, those covered by half or more: (size, size).

    Raises the same errors as `draw_still_life`.
    """
    form = _form(style, seed, size)
    x, y = _places(size)
    covered = np.zeros(x.shape, bool)
    for thing in sample_still_life(seed).things:
        covered |= form(thing, x, y)[0] <= 1
    return _reduced(covered[..., None].astype(np.float32))[..., 0] >= 0.5


Form = Callable[[Thing, Floats, Floats], tuple[Floats, Floats, Floats]]
"""Distance from the centre, 1 at the outline, and the two coordinates in the object, -1 to 1, of places x, y."""


def _ellipse(elongation: float) -> Form:
    """Return the form of an ellipse whose length is `elongation` widths; 1 is a disc."""
    stretch = math.sqrt(elongation)

    def form(thing: Thing, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        u, v = _turned(thing, x, y)
        u, v = u / stretch, v * stretch
        return np.hypot(u, v), u, v

    return form


def _square(thing: Thing, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    half = math.sqrt(math.pi) / 2
    u, v = (x - thing.x) / (thing.radius * half), (y - thing.y) / (thing.radius * half)
    return np.maximum(np.abs(u), np.abs(v)), u, v


_FORMS: dict[str, Form] = {
    "circles": _ellipse(1),
    "squares": _square,
    "round-fruit": _ellipse(1),
    "long-fruit": _ellipse(ELONGATION),
}


def _form(style: str, seed: int, size: int) -> Form:
    """Return the form of a style; raise ConfigError if an argument is out of range."""
    require_drawable(seed, size)
    if style not in _FORMS:
        raise ConfigError(unknown(style, _FORMS, "style"))
    return _FORMS[style]


def _turned(thing: Thing, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return coordinates along and across the object's axis, in radii."""
    dx, dy = (x - thing.x) / thing.radius, (y - thing.y) / thing.radius
    cos, sin = math.cos(thing.tilt), math.sin(thing.tilt)
    return dx * cos + dy * sin, dy * cos - dx * sin


def _places(size: int) -> tuple[Floats, Floats]:
    """Return x and y of each dot of the oversampled picture."""
    axis = (np.arange(size * _OVERSAMPLING, dtype=np.float32) + 0.5) / (size * _OVERSAMPLING)
    shape = (len(axis), len(axis))
    return np.broadcast_to(axis, shape), np.broadcast_to(axis[:, None], shape)


def _reduced(picture: Floats) -> Floats:
    """Return the means of squares of _OVERSAMPLING dots."""
    size, channels = len(picture) // _OVERSAMPLING, picture.shape[2]
    means: Floats = picture.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING, channels).mean((1, 3))
    return means


def _colour(hue: float, chroma: float) -> Floats:
    """Return offsets of red, green and blue whose largest and smallest differ by `chroma`, on either side of 0."""
    wheel = np.clip(np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    offsets: Floats = (chroma * (wheel - (wheel.max() + wheel.min()) / 2)).astype(np.float32)
    return offsets


def _ground(table: Table, x: Floats, y: Floats) -> Floats:
    levels = table.brightness + table.slope[0] * (x - 0.5) + table.slope[1] * (y - 0.5)
    for amplitude, across, along, phase in table.waves:
        levels = levels + amplitude * np.sin(across * x + along * y + phase)
    ground: Floats = (levels[..., None] + _colour(table.hue, _GROUND_CHROMA)).astype(np.float32)
    return ground


def _add_shadow(picture: Floats, thing: Thing, form: Form, x: Floats, y: Floats) -> None:
    """Darken the ground below an object; the light comes from above."""
    distance = form(thing, x, y - np.float32(0.3 * thing.radius))[0]
    depth = 0.45 * np.clip((1.25 - distance) / 0.4, 0, 1)
    picture *= 1 - depth[..., None]


def _add_stem(picture: Floats, thing: Thing, form: Form, x: Floats, y: Floats) -> None:
    """Add a short dark stem at one end of the axis, of the same size in every form."""
    length = math.sqrt(ELONGATION) if form is _FORMS["long-fruit"] else 1.0
    u, v = _turned(thing, x, y)
    beyond = u * thing.stem_side - length
    picture[(beyond > -0.1) & (beyond < 0.3) & (np.abs(v) < 0.12)] = (46, 42, 38)


def _add_thing(picture: Floats, thing: Thing, form: Form, x: Floats, y: Floats, *, striped: bool) -> None:
    """Add an object: its colour, light from above, a highlight, and stripes along its axis."""
    distance, u, v = form(thing, x, y)
    inside = distance <= 1
    u, v = u[inside], v[inside]
    levels = 128 + thing.brightness - 26 * v + 26 * np.exp(-((u / 0.4) ** 2) - ((v + 0.45) / 0.25) ** 2)
    if striped:
        levels += thing.contrast * np.sin(math.pi * thing.stripes * v + thing.phase)
    else:
        levels += 0.5 * thing.contrast * np.sin(math.pi * thing.stripes * (u + v) + thing.phase)
    # Within what 8 bits hold, so that no channel is clipped and the chroma stays.
    margin = _OBJECT_CHROMA / 2 + 5
    picture[inside] = np.clip(levels, margin, 255 - margin)[:, None] + _colour(thing.hue, _OBJECT_CHROMA)
