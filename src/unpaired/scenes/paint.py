"""Paints a scene's layout as a map of materials, from far to near, with one small function per object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw

from unpaired.scenes.layout import Cloud, Curve, Field, House, Mountain, Plant, Scene, Sun, Water
from unpaired.scenes.materials import SHADOW, Material

Point = tuple[float, float]

_STEPS = 24
_GRID = tuple(i / _STEPS for i in range(_STEPS + 1))


class Canvas:
    """A map of materials with drawing functions in relative coordinates."""

    def __init__(self, side: int, ground: int) -> None:
        self.side = side
        self.image = Image.new("L", (side, side), ground)
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], fill: int) -> None:
        """Fill a polygon of at least three points."""
        s = self.side
        self._draw.polygon([(x * s - 0.5, y * s - 0.5) for x, y in points], fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: int) -> None:
        """Fill an ellipse around (x, y)."""
        s = self.side
        left, top = (x - rx) * s, (y - ry) * s
        right, bottom = max(left, (x + rx) * s - 1), max(top, (y + ry) * s - 1)  # at least one dot
        self._draw.ellipse((left, top, right, bottom), fill)

    def line(self, start: Point, end: Point, width: float, fill: int) -> None:
        """Draw a straight line, at least one dot wide."""
        s = self.side
        ends = (start[0] * s, start[1] * s, end[0] * s, end[1] * s)
        self._draw.line(ends, fill, max(1, round(width * s)))

    def rectangle(self, left: float, top: float, right: float, bottom: float, fill: int) -> None:
        """Fill an upright rectangle, at least one dot in size; left and right may be swapped."""
        s = self.side
        x0, x1 = sorted((round(left * s), round(right * s)))
        y0, y1 = round(top * s), round(bottom * s)
        self._draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), fill)

    def below(self, curve: Curve, fill: int) -> None:
        """Fill everything below a curve."""
        self.polygon([(0, 1.01), *((x, curve(x)) for x in _GRID), (1, 1.01)], fill)


def paint_materials(scene: Scene, side: int, *, leafless: bool) -> npt.NDArray[np.uint8]:
    """Return the map of materials of a scene, side x side.

    leafless: draw deciduous trees as bare branches; nothing else depends on the style.
    """
    canvas = Canvas(side, Material.SKY)
    _paint_sky(canvas, scene)
    _paint_far_ridge(canvas, scene.far_ridge)
    for mountain in scene.mountains:
        _paint_mountain(canvas, mountain, scene.sun)
    canvas.below(scene.far_hill, Material.FAR_HILL)
    _paint_forest(canvas, scene.forest)
    canvas.below(scene.hill, Material.HILL)
    for field in scene.fields:
        _paint_field(canvas, field, scene.hill)
    _paint_meadow(canvas, scene)
    _paint_path(canvas, scene.path)
    _paint_water(canvas, scene.water, scene.sun)
    _paint_shadows(canvas, scene)
    for thing in scene.objects:
        if isinstance(thing, House):
            _paint_house(canvas, thing)
        else:
            _paint_plant(canvas, thing, scene.sun, leafless=leafless)
    if scene.fence is not None:
        _paint_fence(canvas, scene.fence)
    return np.asarray(canvas.image)


def _paint_sky(canvas: Canvas, scene: Scene) -> None:
    dot = 0.004
    for x, y in scene.stars:
        canvas.rectangle(x, y, x + dot, y + dot, Material.STAR)
    _paint_sun(canvas, scene.sun)
    for cloud in scene.clouds:
        _paint_cloud(canvas, cloud)


def _paint_sun(canvas: Canvas, sun: Sun) -> None:
    """Paint a full disc by day; at night a crescent of it is lit."""
    canvas.ellipse(sun.x, sun.y, sun.radius, sun.radius, Material.MOON_SHADE)
    arc = [(math.cos(i * math.pi / 12), math.sin(i * math.pi / 12)) for i in range(-6, 7)]
    rim = [*arc, *((0.35 * u, v) for u, v in arc[::-1])]
    lean = 0.9
    canvas.polygon(
        [(sun.x + sun.radius * (lean * u - 0.4 * v), sun.y + sun.radius * (0.4 * u + lean * v)) for u, v in rim],
        Material.SUN,
    )


def _paint_cloud(canvas: Canvas, cloud: Cloud) -> None:
    for x, y, rx, ry in cloud.puffs:
        canvas.ellipse(x, y, rx, ry, Material.CLOUD_BASE)
    for x, y, rx, ry in cloud.puffs:
        canvas.ellipse(x, y - 0.3 * ry, rx * 0.85, ry * 0.75, Material.CLOUD)


def _paint_far_ridge(canvas: Canvas, heights: tuple[float, ...]) -> None:
    last = len(heights) - 1
    crest = [(i / last, y) for i, y in enumerate(heights)]
    canvas.polygon([(0, 0.7), *crest, (1, 0.7)], Material.FAR_RIDGE)


def _paint_mountain(canvas: Canvas, mountain: Mountain, sun: Sun) -> None:
    """Paint a lit and a shaded flank: rock at the foot, a slope with snow in winter, a permanent snow cap."""
    side = sun.away(mountain.x)
    depth = mountain.foot - mountain.y

    def flank(t: float, direction: float) -> Point:
        bulge = mountain.bulges[direction > 0] * math.sin(9 * t)
        return mountain.x + direction * mountain.half_width * (t + bulge), mountain.y + depth * t

    def spine(t: float) -> Point:
        return mountain.x - side * mountain.half_width * 0.22 * t * math.sin(14 * t), mountain.y + depth * t

    for lowest, tooth, lit, shade in (
        (1.0, 0.0, Material.ROCK, Material.ROCK_SHADE),
        (0.5, 0.1, Material.SLOPE, Material.SLOPE_SHADE),
        (0.24, 0.05, Material.PEAK, Material.PEAK_SHADE),
    ):
        levels = [lowest * i / 5 for i in range(6)]
        bright = [flank(t, -side) for t in levels]
        dark = [flank(t, side) for t in levels]
        middle = [spine(t) for t in levels]
        canvas.polygon([*bright, *_teeth(bright[-1], middle[-1], tooth * depth), *middle[::-1]], lit)
        canvas.polygon([*dark, *_teeth(dark[-1], middle[-1], tooth * depth), *middle[::-1]], shade)


def _teeth(start: Point, end: Point, size: float) -> list[Point]:
    """Return a zigzag from start to end, the lower edge of snow."""
    (x0, y0), (x1, y1) = start, end
    return [(x0 + (x1 - x0) * i / 4, y0 + (y1 - y0) * i / 4 + (size if i % 2 else -size * 0.6)) for i in (1, 2, 3)]


def _paint_forest(canvas: Canvas, curve: Curve) -> None:
    """Paint a band of distant conifers as a zigzag of tips."""
    tips = [(i / 56, curve(i / 56) - (0.03 if i % 2 else 0.004)) for i in range(57)]
    canvas.polygon([(0, 0.9), *tips, (1, 0.9)], Material.FOREST)


def _paint_field(canvas: Canvas, field: Field, hill: Curve) -> None:
    ground, row = {
        "poppies": (Material.POPPIES, Material.POPPY_ROW),
        "wheat": (Material.WHEAT, Material.WHEAT_ROW),
    }[field.crop]

    xs = [field.start + (field.end - field.start) * i / 8 for i in range(9)]
    crest = [(x, hill(x)) for x in xs]

    def band(near: float, far: float) -> list[Point]:
        return [*((x + 0.02, y + far) for x, y in crest), *((x, y + near) for x, y in crest[::-1])]

    canvas.polygon(band(field.near + 0.02, field.far), ground)
    step = (field.near - field.far) / 4
    for i in range(5):
        near = field.far + step * (i + 0.45)
        canvas.polygon(band(near, near - step * 0.45), row)


def _paint_meadow(canvas: Canvas, scene: Scene) -> None:
    canvas.below(scene.meadow, Material.MEADOW)
    for height, thickness in ((0.07, 0.02), (0.16, 0.03), (0.28, 0.05), (0.42, 0.06)):
        upper = [(x, scene.meadow(x * 1.5 + height) + height) for x in _GRID]
        lower = [(x, y + thickness * (0.5 + 0.5 * math.sin(7 * x + 20 * height))) for x, y in upper]
        canvas.polygon([*upper, *lower[::-1]], Material.MEADOW_BAND)


def _paint_path(canvas: Canvas, path: tuple[Point, ...]) -> None:
    if path:
        widths = [0.012 + 0.1 * max(0.0, y - 0.55) for _, y in path]
        left = [(x - w, y) for (x, y), w in zip(path, widths, strict=True)]
        right = [(x + w, y) for (x, y), w in zip(path, widths, strict=True)]
        canvas.polygon([*left, *right[::-1]], Material.PATH)


def _paint_water(canvas: Canvas, water: Water, sun: Sun) -> None:
    if water.kind == "river":
        heights = [water.top + (1.01 - water.top) * i / 20 for i in range(21)]
        for extra, material in ((1.25, Material.BANK), (1.0, Material.WATER)):
            left = [(water.course(y) - extra * water.half_width(y), y) for y in heights]
            right = [(water.course(y) + extra * water.half_width(y), y) for y in heights]
            canvas.polygon([*left, *right[::-1]], material)
    else:
        for extra, material in ((0.014, Material.BANK), (0.0, Material.WATER)):
            far = [(x, water.top - extra * 0.5) for x in (0, 1)]
            near = [(x, water.bottom(x) + extra * 1.5) for x in _GRID[::-1]]
            canvas.polygon([*far, *near], material)
    _paint_glints(canvas, water, sun)


def _paint_glints(canvas: Canvas, water: Water, sun: Sun) -> None:
    """Paint reflections of light: streaks on the water, and a column under the sun."""
    for i in range(14):
        y = water.top + 0.02 + i * 0.024
        for x, length in ((sun.x, 0.025 + 0.03 * (i % 2)), ((0.37 * i + sun.x) % 1, 0.06)):
            if water.covers(x, y, -length) and y < water.bottom(x) - 0.01:
                canvas.rectangle(x - length, y, x + length, y + 0.008, Material.GLINT)


def _paint_shadows(canvas: Canvas, scene: Scene) -> None:
    """Paint the long shadows of all objects onto the ground, before the objects are painted."""
    shadows = Canvas(canvas.side, 0)
    for thing in scene.objects:
        x, y = thing.x, thing.y
        size = 0.8 * thing.width if isinstance(thing, House) else thing.height
        dx = scene.sun.away(x) * size * (0.2 + 0.6 * abs(scene.sun.x - x))
        dy = 0.16 * size
        half = 0.5 * thing.width if isinstance(thing, House) else 0.05 * size
        shadows.polygon([(x - half, y), (x + half, y), (x + half + dx, y + dy), (x - half + dx, y + dy)], SHADOW)
        if not isinstance(thing, House):
            shadows.ellipse(x + dx, y + dy, 0.3 * size, 0.1 * size, SHADOW)
    canvas.image.paste(ImageChops.add(canvas.image, shadows.image))


def _paint_plant(canvas: Canvas, plant: Plant, sun: Sun, *, leafless: bool) -> None:
    if plant.kind == "conifer":
        _paint_conifer(canvas, plant)
    elif plant.kind == "shrub":
        _paint_shrub(canvas, plant)
    elif leafless:
        _paint_bare_tree(canvas, plant)
    else:
        _paint_leafy_tree(canvas, plant, sun)


def _paint_leafy_tree(canvas: Canvas, tree: Plant, sun: Sun) -> None:
    x, y, h = tree.x, tree.y, tree.height
    canvas.line((x, y), (x, y - h * 0.5), h * 0.09, Material.TRUNK)
    light = -sun.away(x) * h * 0.05
    for material, dx, dy, grow in (
        (Material.CROWN_DARK, 0.0, 0.0, 1.0),
        (Material.CROWN, light, -0.03 * h, 0.86),
        (Material.CROWN_LIGHT, 2 * light, -0.08 * h, 0.5),
    ):
        for cx, cy, r in ((-0.17, 0.5, 0.17), (0.17, 0.52, 0.17), (0.0, 0.72, 0.22), (0.0, 0.52, 0.2)):
            canvas.ellipse(x + dx + cx * h * grow, y + dy - cy * h, r * h * grow, r * h * grow * 1.05, material)


def _paint_bare_tree(canvas: Canvas, tree: Plant) -> None:
    """Paint branches that fork in the same way on every tree, so that they can be learned."""
    h = tree.height
    fork = (tree.x, tree.y - h * 0.38)
    canvas.line((tree.x, tree.y), fork, h * 0.09, Material.TRUNK)
    for angle in (-1.05, -0.5, 0.0, 0.5, 1.05):
        _paint_branch(canvas, fork, angle, h * (0.36 - 0.07 * abs(angle)), h * 0.045, 2)


def _paint_branch(canvas: Canvas, start: Point, angle: float, length: float, width: float, forks: int) -> None:
    """Paint a branch, `angle` radians from upright, and recursively its `forks` levels of branches."""
    end = (start[0] + math.sin(angle) * length, start[1] - math.cos(angle) * length)
    canvas.line(start, end, width, Material.CROWN if forks else Material.CROWN_LIGHT)
    if forks:
        for turn in (-0.45, 0.45):
            middle = (start[0] + (end[0] - start[0]) * 0.6, start[1] + (end[1] - start[1]) * 0.6)
            _paint_branch(canvas, middle, angle + turn, length * 0.62, width * 0.6, forks - 1)


def _paint_shrub(canvas: Canvas, shrub: Plant) -> None:
    x, y, h = shrub.x, shrub.y, shrub.height
    for cx, r in ((-0.5, 0.42), (0.5, 0.42), (0.0, 0.55)):
        canvas.ellipse(x + cx * h, y - 0.4 * h, r * h, r * h, Material.SHRUB)
    for cx, r in ((-0.48, 0.28), (0.48, 0.28), (0.0, 0.4)):
        canvas.ellipse(x + cx * h, y - 0.58 * h, r * h, r * h * 0.6, Material.SHRUB_TOP)


def _paint_conifer(canvas: Canvas, tree: Plant) -> None:
    """Paint three tiers; the upper part of each is snow-covered in winter."""
    x, y, h = tree.x, tree.y, tree.height
    canvas.line((x, y), (x, y - 0.2 * h), h * 0.07, Material.TRUNK)
    for bottom, top, half in ((0.1, 0.55, 0.24), (0.33, 0.78, 0.19), (0.56, 1.0, 0.14)):
        apex = (x, y - top * h)
        left, right = (x - half * h, y - bottom * h), (x + half * h, y - bottom * h)
        canvas.polygon([apex, left, right], Material.CONIFER)
        edge = y - (bottom + 0.16) * h
        narrow = half * 0.64 * h
        snow = [apex, (x - narrow, edge), *_teeth((x - narrow, edge), (x + narrow, edge), 0.05 * h)]
        canvas.polygon([*snow, (x + narrow, edge)], Material.CONIFER_TOP)


def _paint_house(canvas: Canvas, house: House) -> None:
    """Paint a gable and a long wall under a pitched roof; if mirrored, the gable is on the right."""
    w = house.width
    flip = -1.0 if house.mirrored else 1.0

    def at(u: float, v: float) -> Point:
        return house.x + flip * (u - 0.5) * w, house.y - v * w

    long_wall, gable = house.walls
    eaves, roof_top = house.roofs
    canvas.rectangle(at(0.75, 0)[0], at(0, 0.82)[1], at(0.86, 0)[0], at(0, 0.5)[1], Material.CHIMNEY)
    canvas.rectangle(at(0.73, 0)[0], at(0, 0.86)[1], at(0.88, 0)[0], at(0, 0.78)[1], Material.CHIMNEY_TOP)
    canvas.polygon([at(0.38, 0), at(0.38, 0.38), at(1, 0.38), at(1, 0)], long_wall)
    canvas.polygon([at(0, 0), at(0, 0.36), at(0.19, 0.72), at(0.38, 0.36), at(0.38, 0)], gable)
    canvas.polygon([at(0.19, 0.76), at(0.96, 0.76), at(1.06, 0.33), at(0.38, 0.33)], eaves)
    canvas.polygon([at(0.19, 0.76), at(0.96, 0.76), at(1.03, 0.45), at(0.33, 0.45)], roof_top)
    canvas.line(at(-0.04, 0.31), at(0.19, 0.74), 0.05 * w, eaves)
    for u in (0.5, 0.78):
        _paint_window(canvas, at(u, 0.25), at(u + 0.13, 0.1))
    _paint_window(canvas, at(0.13, 0.48), at(0.25, 0.36))
    door_left, door_right = at(0.12, 0.24), at(0.27, 0)
    canvas.rectangle(door_left[0], door_left[1], door_right[0], door_right[1], Material.DOOR)


def _paint_window(canvas: Canvas, upper: Point, lower: Point) -> None:
    canvas.rectangle(upper[0], upper[1], lower[0], lower[1], Material.WINDOW)


def _paint_fence(canvas: Canvas, y: float) -> None:
    for rail in (0.025, 0.055):
        canvas.rectangle(0, y - rail, 1, y - rail + 0.012, Material.FENCE)
    for i in range(10):
        x = 0.05 + i * 0.1
        canvas.rectangle(x - 0.011, y - 0.08, x + 0.011, y, Material.FENCE)
        canvas.rectangle(x - 0.014, y - 0.09, x + 0.014, y - 0.072, Material.FENCE_TOP)
