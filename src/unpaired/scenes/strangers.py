"""Strangers: drawn objects that no scene of training contains, pasted identically into all styles of a scene.

A translator should keep them. The ground truth of their pixels is the input itself, as in a photograph of a horse with
a rider, whose zebra has the same rider (CycleGAN, section 6).
"""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from unpaired.config import require

MOST = 8
"""Maximum number of strangers in a scene."""

_OVERSAMPLING = 4
_SEEDS = 7919  # separates the draws of strangers from those of scenes
_HEIGHTS = 0.24, 0.38  # of a stranger, as a fraction of the picture's side

_HUES = (0.15, 0.19), (0.46, 0.51), (0.72, 0.94)
"""Yellow, turquoise, and violet to pink: in 0-1, hues that summers and winters do not have at half saturation."""

Hues = tuple[tuple[float, float], ...]
Point = tuple[float, float]
Colour = tuple[int, int, int]
Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Strangers:
    """The strangers of a scene: colours multiplied by their cover, h w 3 in 0-255, and the cover h w in [0, 1]."""

    colours: Floats
    cover: Floats

    def pasted(self, picture: Pictures) -> Pictures:
        """Return an RGB picture h w 3 with the strangers in front; their inner pixels are the same in every picture."""
        made: Floats = picture * (1 - self.cover[..., None]) + self.colours
        return np.rint(made).clip(0, 255).astype(np.uint8)

    @property
    def mask(self) -> Pictures:
        """The pixels that strangers cover entirely, 255, at their edges 128, else 0; h w."""
        return np.where(self.cover == 1, 255, np.where(self.cover > 0, 128, 0)).astype(np.uint8)


def draw_strangers(seed: int, size: int, *, count: int = 1, any_hue: bool = False) -> Strangers:
    """Draw `count` strangers (1 to 8) for the scene of `seed`: people, animals, umbrellas, cars and boxes.

    Kind, place, size, colours and texture depend on the seed alone. Raises ConfigError for a count out of range.

    any_hue: colours of all hues, also those of the scenes, in place of `_HUES`; a green car may look like a tree then.
    """
    require(1 <= count <= MOST, f"A scene can have 1 to {MOST} strangers, not {count}.")
    rng = random.Random(_SEEDS * (seed + 1))  # noqa: S311 - not for secrets; its stream is guaranteed to be stable
    colours, cover = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    # The nearest stands lowest and is painted last.
    for foot in sorted(rng.uniform(0.62, 0.96) for _ in range(count)):
        pen = _Pen(size, rng, (rng.uniform(0.15, 0.85), foot), ((0.0, 1.0),) if any_hue else _HUES)
        rng.choice(_KINDS)(pen)
        painted, covered = pen.result()
        colours = colours * (1 - covered[..., None]) + painted
        cover = cover + (1 - cover) * covered
    return Strangers(colours, cover)


class _Pen:
    """Draws one stranger in coordinates of its own: u to the right and v up, the height 1 and the feet at (0, 0)."""

    def __init__(self, size: int, rng: random.Random, place: Point, hues: Hues) -> None:
        self.rng, self._hues, self._side = rng, hues, size * _OVERSAMPLING
        self._place, self._height = place, rng.uniform(*_HEIGHTS)
        self._mirror = rng.choice((-1, 1))
        self._colours = Image.new("RGB", (self._side, self._side))
        self._cover = Image.new("L", (self._side, self._side))

    def polygon(self, points: list[Point], texture: _Texture) -> None:
        """Fill a polygon."""
        shape = Image.new("L", self._cover.size)
        ImageDraw.Draw(shape).polygon([self._at(point) for point in points], 255)
        self._colours.paste(texture.image(self._side), mask=shape)
        self._cover.paste(shape, mask=shape)

    def ellipse(self, u: float, v: float, ru: float, rv: float, texture: _Texture, *, half: bool = False) -> None:
        """Fill an ellipse around (u, v), or its upper half."""
        turn = math.pi if half else 2 * math.pi
        angles = [turn * i / 32 for i in range(33)]
        self.polygon([(u + ru * math.cos(a), v + rv * math.sin(a)) for a in angles], texture)

    def box(self, left: float, bottom: float, right: float, top: float, texture: _Texture) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], texture)

    def result(self) -> tuple[Floats, Floats]:
        """Return the colours, multiplied by the cover, and the cover, at the size of the picture."""
        colours = np.asarray(self._colours.reduce(_OVERSAMPLING), np.float32)
        cover: Floats = np.asarray(self._cover.reduce(_OVERSAMPLING), np.float32) / np.float32(255)
        return colours, cover

    def texture(self) -> _Texture:
        """Return a random texture."""
        return _Texture(self.rng, self._hues)

    def _at(self, point: Point) -> Point:
        (x, y), (u, v) = self._place, point
        return (x + self._mirror * u * self._height) * self._side, (y - v * self._height) * self._side


class _Texture:
    """One colour, or two in stripes, checks or dots."""

    def __init__(self, rng: random.Random, hues: Hues) -> None:
        self._first, self._second = _colour(rng, hues), _colour(rng, hues)
        self._pattern = rng.choice(("plain", "plain", "stripes", "checks", "dots"))
        self._period = rng.uniform(0.03, 0.07)

    def image(self, side: int) -> Image.Image:
        """Return a picture filled with the texture."""
        filled = Image.new("RGB", (side, side), self._first)
        if self._pattern == "plain":
            return filled
        axis = np.arange(side) / side / self._period % 1
        across, down = np.meshgrid(axis, axis)
        second = {
            "stripes": across < 0.5,
            "checks": (across < 0.5) != (down < 0.5),
            "dots": (across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.09,
        }[self._pattern]
        filled.paste(self._second, mask=Image.fromarray(second.astype(np.uint8) * 255))
        return filled


def _colour(rng: random.Random, hues: Hues) -> Colour:
    """Return a colour of a hue in one of the ranges, at least half saturated and not dark."""
    hue = rng.uniform(*rng.choice(hues))
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 1), rng.uniform(0.55, 1))
    return round(255 * red), round(255 * green), round(255 * blue)


def _person(pen: _Pen) -> None:
    skin, coat, trousers = (pen.texture() for _ in range(3))
    for left, right in ((-0.13, -0.02), (0.02, 0.13)):
        pen.box(left, 0, right, 0.45, trousers)
    pen.polygon([(-0.16, 0.4), (0.16, 0.4), (0.19, 0.8), (-0.19, 0.8)], coat)
    for side in (-1, 1):
        pen.polygon([(side * 0.17, 0.78), (side * 0.3, 0.42), (side * 0.23, 0.4), (side * 0.12, 0.7)], coat)
    pen.ellipse(0, 0.89, 0.1, 0.11, skin)


def _animal(pen: _Pen) -> None:
    coat, legs = pen.texture(), pen.texture()
    for u in (-0.45, -0.3, 0.2, 0.35):
        pen.box(u, 0, u + 0.1, 0.45, legs)
    pen.ellipse(0, 0.55, 0.55, 0.24, coat)
    pen.polygon([(0.35, 0.6), (0.55, 1.0), (0.7, 0.9), (0.5, 0.5)], coat)
    pen.ellipse(0.68, 0.9, 0.17, 0.1, legs)
    pen.polygon([(-0.5, 0.7), (-0.68, 0.3), (-0.6, 0.3), (-0.45, 0.55)], legs)


def _umbrella(pen: _Pen) -> None:
    cloth, pole = pen.texture(), pen.texture()
    pen.box(-0.03, 0, 0.03, 0.7, pole)
    pen.ellipse(0, 0.55, 0.5, 0.45, cloth, half=True)


def _car(pen: _Pen) -> None:
    body, glass, tyre = (pen.texture() for _ in range(3))
    pen.polygon([(-0.45, 0.4), (-0.3, 0.72), (0.25, 0.72), (0.45, 0.4)], glass)
    pen.box(-0.75, 0.12, 0.75, 0.44, body)
    for u in (-0.42, 0.42):
        pen.ellipse(u, 0.12, 0.15, 0.15, tyre)


def _box(pen: _Pen) -> None:
    front, side, lid = (pen.texture() for _ in range(3))
    pen.box(-0.35, 0, 0.25, 0.6, front)
    pen.polygon([(0.25, 0), (0.45, 0.15), (0.45, 0.75), (0.25, 0.6)], side)
    pen.polygon([(-0.35, 0.6), (0.25, 0.6), (0.45, 0.75), (-0.15, 0.75)], lid)


_KINDS: tuple[Callable[[_Pen], None], ...] = (_person, _animal, _umbrella, _car, _box)
