"""Geometry of a drawn scene, sampled from a seed and shared by all styles.

All coordinates are relative: x from 0 (left) to 1 (right), y from 0 (top) to 1 (bottom).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from unpaired.scenes.materials import Material

WaterKind = Literal["lake", "river", "shore"]
PlantKind = Literal["deciduous", "conifer", "shrub"]
WallKind = Literal["cream", "barn", "wood"]
RoofKind = Literal["red", "slate", "brown"]


@dataclass(frozen=True)
class Curve:
    """A height y over x: a base line plus sine waves of (amplitude, angular frequency, phase)."""

    base: float
    waves: tuple[tuple[float, float, float], ...]

    def __call__(self, x: float) -> float:
        """Return the height at x."""
        y = self.base
        for amplitude, frequency, phase in self.waves:
            y += amplitude * math.sin(frequency * x + phase)
        return y


@dataclass(frozen=True)
class Sun:
    """The sun of the day and the moon of the night."""

    x: float
    y: float
    radius: float

    def away(self, x: float) -> float:
        """Return the shaded side of an object at x, -1 or 1."""
        return -1.0 if self.x > x else 1.0


@dataclass(frozen=True)
class Cloud:
    """Puffs (x, y, rx, ry) on a flat base."""

    base: float
    puffs: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Mountain:
    """A peak at (x, y) with a half width at its foot and two bulges of its flanks."""

    x: float
    y: float
    foot: float
    half_width: float
    bulges: tuple[float, float]


@dataclass(frozen=True)
class Water:
    """A lake across the middle, a river towards the viewer, or a shore that fills the foreground.

    `top` and `bottom` bound lake and shore; a river's middle line is `course`, a curve of x over y.
    """

    kind: WaterKind
    top: float
    bottom: Curve
    course: Curve

    def half_width(self, y: float) -> float:
        """Return half the width of the river at height y."""
        below: float = max(0.0, y - self.top) ** 1.25
        return 0.02 + 0.45 * below

    def covers(self, x: float, y: float, margin: float) -> bool:
        """Return whether (x, y) is in the water or within `margin` of it."""
        if self.kind == "river":
            return abs(x - self.course(y)) < self.half_width(y) + margin
        return self.top - 0.02 < y < self.bottom(x) + 0.02


@dataclass(frozen=True)
class Field:
    """A crop between two heights above the curve it follows, from one x to another."""

    crop: Literal["poppies", "wheat"]
    start: float
    end: float
    near: float
    far: float


@dataclass(frozen=True)
class Plant:
    """A tree or a shrub that stands on (x, y)."""

    kind: PlantKind
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class House:
    """A gabled house whose front's lower edge is centred on (x, y)."""

    x: float
    y: float
    width: float
    wall: WallKind
    roof: RoofKind
    mirrored: bool

    @property
    def walls(self) -> tuple[Material, Material]:
        """Return the materials of the lit and the shaded wall."""
        return {
            "cream": (Material.WALL_CREAM, Material.WALL_CREAM_SIDE),
            "barn": (Material.WALL_BARN, Material.WALL_BARN_SIDE),
            "wood": (Material.WALL_WOOD, Material.WALL_WOOD_SIDE),
        }[self.wall]

    @property
    def roofs(self) -> tuple[Material, Material]:
        """Return the materials of the eaves and of the part that is snow-covered in winter."""
        return {
            "red": (Material.ROOF_RED, Material.ROOF_RED_TOP),
            "slate": (Material.ROOF_SLATE, Material.ROOF_SLATE_TOP),
            "brown": (Material.ROOF_BROWN, Material.ROOF_BROWN_TOP),
        }[self.roof]


@dataclass(frozen=True)
class Scene:
    """The geometry of one landscape, independent of the style."""

    sun: Sun
    stars: tuple[tuple[float, float], ...]
    clouds: tuple[Cloud, ...]
    far_ridge: tuple[float, ...]
    mountains: tuple[Mountain, ...]
    far_hill: Curve
    forest: Curve
    hill: Curve
    meadow: Curve
    fields: tuple[Field, ...]
    water: Water
    path: tuple[tuple[float, float], ...]
    objects: tuple[Plant | House, ...]
    fence: float | None


def sample_scene(seed: int) -> Scene:
    """Return the landscape of a seed, an integer >= 0."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets; its stream is guaranteed to be stable
    horizon = rng.uniform(0.42, 0.5)
    sun = Sun(rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.2), rng.uniform(0.045, 0.06))
    water = _sample_water(rng, horizon)
    objects, path = _sample_objects(rng, horizon, water)
    return Scene(
        sun=sun,
        stars=tuple((rng.random(), rng.random() * 0.4) for _ in range(24)),
        clouds=tuple(_sample_cloud(rng) for _ in range(rng.choice((1, 2, 3)))),
        far_ridge=tuple(horizon - rng.uniform(0.06, 0.15) for _ in range(10)),
        mountains=_sample_mountains(rng, horizon),
        far_hill=_sample_curve(rng, horizon - 0.01, 0.03),
        forest=_sample_curve(rng, horizon + 0.015, 0.02),
        hill=_sample_curve(rng, horizon + 0.035, 0.025),
        meadow=_sample_curve(rng, horizon + 0.085, 0.008),
        fields=_sample_fields(rng),
        water=water,
        path=path,
        objects=objects,
        fence=rng.uniform(0.9, 0.97) if water.kind == "lake" and rng.random() < 0.5 else None,
    )


def _sample_curve(rng: random.Random, base: float, height: float) -> Curve:
    return Curve(
        base,
        (
            (height, rng.uniform(3, 5), rng.uniform(0, 6.3)),
            (height * 0.4, rng.uniform(7, 11), rng.uniform(0, 6.3)),
        ),
    )


def _sample_cloud(rng: random.Random) -> Cloud:
    x, y = rng.uniform(0.05, 0.95), rng.uniform(0.08, 0.27)
    scale = rng.uniform(0.75, 1.25)
    offsets = (-0.12, -0.05, 0.03, 0.11)
    sizes = (0.05, 0.075, 0.085, 0.055)
    puffs = tuple(
        (x + dx * scale, y, r * scale * rng.uniform(0.85, 1.15), r * scale * rng.uniform(0.6, 0.85))
        for dx, r in zip(offsets, sizes, strict=True)
    )
    return Cloud(y + 0.012 * scale, puffs)


def _sample_mountains(rng: random.Random, horizon: float) -> tuple[Mountain, ...]:
    count = rng.choice((1, 2, 2, 3))
    first = rng.uniform(0.0, 0.35)
    step = rng.uniform(0.3, 0.45)
    mountains = [
        Mountain(
            x=first + step * i + rng.uniform(-0.05, 0.05),
            y=horizon - rng.uniform(0.16, 0.3),
            foot=horizon + 0.05,
            half_width=rng.uniform(0.24, 0.34),
            bulges=(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)),
        )
        for i in range(count)
    ]
    return tuple(sorted(mountains, key=lambda mountain: mountain.y))


def _sample_water(rng: random.Random, horizon: float) -> Water:
    kind: WaterKind = rng.choice(("lake", "lake", "river", "shore", "shore"))
    top = {"lake": horizon + 0.1, "river": horizon + 0.09, "shore": rng.uniform(0.66, 0.72)}[kind]
    depth = rng.uniform(0.18, 0.23) if kind == "lake" else 1.0
    course = Curve(rng.uniform(0.35, 0.65), ((rng.uniform(0.08, 0.16), rng.uniform(8, 12), rng.uniform(0, 6.3)),))
    return Water(kind, top, _sample_curve(rng, top + depth, 0.02), course)


def _sample_fields(rng: random.Random) -> tuple[Field, ...]:
    fields = []
    for left in (0.0, 0.5):
        if rng.random() < 0.7:
            start = left + rng.uniform(-0.05, 0.1)
            crop: Literal["poppies", "wheat"] = rng.choice(("poppies", "wheat"))
            fields.append(Field(crop, start, start + rng.uniform(0.3, 0.42), 0.065, 0.02))
    return tuple(fields)


def _sample_objects(
    rng: random.Random, horizon: float, water: Water
) -> tuple[tuple[Plant | House, ...], tuple[tuple[float, float], ...]]:
    """Return houses and plants, from the farthest to the nearest, and a path; houses are placed first."""
    taken: list[tuple[float, float, float]] = []
    objects: list[Plant | House] = []
    path: tuple[tuple[float, float], ...] = ()
    for _ in range(rng.choice((1, 1, 2))):
        spot = _free_spot(rng, horizon, water, taken, 0.13)
        if spot is not None:
            house = _sample_house(rng, *spot, _scale(spot[1], horizon))
            taken.append((*spot, house.width * 0.5))
            objects.append(house)
            path = path or _path_to(rng, house, water)
    for _ in range(rng.choice((9, 10, 11, 12))):
        spot = _free_spot(rng, horizon, water, taken, 0.06)
        kind: PlantKind = rng.choice(("deciduous", "deciduous", "deciduous", "conifer", "conifer", "shrub"))
        height = {"deciduous": 0.34, "conifer": 0.36, "shrub": 0.09}[kind] * rng.uniform(0.85, 1.15)
        if spot is not None:
            plant = Plant(kind, *spot, height * _scale(spot[1], horizon))
            taken.append((*spot, plant.height * 0.2))
            objects.append(plant)
    return tuple(sorted(objects, key=lambda thing: thing.y)), path


def _scale(y: float, horizon: float) -> float:
    """Return the perspective scale of objects at height y: 0.5 in the distance, 1.2 in the foreground."""
    return 0.5 + 0.7 * (y - horizon - 0.08) / (0.92 - horizon)


def _free_spot(
    rng: random.Random,
    horizon: float,
    water: Water,
    taken: list[tuple[float, float, float]],
    margin: float,
) -> tuple[float, float] | None:
    """Return a free location on dry land, or None after twelve failed attempts."""
    for _ in range(12):
        x, y = rng.uniform(0.02, 0.98), rng.uniform(horizon + 0.1, 0.97)
        # Nearer objects may overlap farther ones, but not hide them.
        free = all(abs(x - u) > margin * 0.5 + r * (1.0 if y > v else 0.5) for u, v, r in taken)
        if free and not water.covers(x, y, margin):
            return x, y
    return None


def _sample_house(rng: random.Random, x: float, y: float, scale: float) -> House:
    return House(
        x=min(max(x, 0.12), 0.88),
        y=y,
        width=rng.uniform(0.28, 0.36) * scale,
        wall=rng.choice(("cream", "cream", "barn", "wood")),
        roof=rng.choice(("red", "red", "slate", "brown")),
        mirrored=rng.random() < 0.5,
    )


def _path_to(rng: random.Random, house: House, water: Water) -> tuple[tuple[float, float], ...]:
    """Return the centre line of a path from a house to the lower edge or the water, from far to near."""
    end = 1.02 if water.kind != "shore" else water.top + 0.02
    side = rng.uniform(-0.2, 0.2)
    if end - house.y < 0.05 or (water.kind == "lake" and house.y < water.top) or water.kind == "river":
        return ()
    return tuple(
        (house.x + side * t + 0.05 * math.sin(5 * t), house.y + (end - house.y) * t) for t in (0, 0.2, 0.4, 0.6, 0.8, 1)
    )
