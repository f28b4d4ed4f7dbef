"""Materials of the drawn scenes: one row per material with its colour in each style.

A scene is painted as a map of materials, which is the same for every style; a style is a table of colours. Two styles
of one seed are therefore aligned to the pixel, and only this table defines the differences between seasons: a strip of
the roof stays red (`ROOF_RED`), and the rest is covered by snow in winter (`ROOF_RED_TOP`).

The colours are ambiguous by design, so that colour alone does not determine the class. Summer sky and water share their
blues, and in winter one becomes dusk and the other ice. Meadows and leaves share their greens, and only the meadow
becomes white. White in winter is ground, ice, roof, tree top or cloud. In blossom only the crowns of deciduous trees
differ from summer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto
from functools import lru_cache

import numpy as np
import numpy.typing as npt

LABEL_COLOURS: dict[str, tuple[int, int, int]] = {
    "sky": (70, 130, 220),
    "cloud": (235, 235, 245),
    "sun": (255, 230, 60),
    "mountain": (130, 120, 130),
    "hill": (120, 150, 60),
    "meadow": (70, 200, 70),
    "field": (230, 140, 30),
    "path": (210, 190, 150),
    "water": (30, 60, 190),
    "tree": (0, 120, 30),
    "conifer": (0, 70, 70),
    "wall": (180, 100, 200),
    "roof": (200, 30, 40),
    "opening": (50, 20, 60),
    "fence": (110, 70, 30),
}
"""The classes of the style `labels` and their RGB colours, 0-255; no other colour occurs in that style."""

SHADOW = 128
"""Offset added to a material's number in shadow."""

_SHADOW_TINT = {
    "summer": (0.66, 0.72, 0.80),
    "blossom": (0.66, 0.72, 0.80),
    "winter": (0.80, 0.86, 0.95),
    "night": (0.6, 0.6, 0.7),
}
# A shadow on water would contradict the mirror image, and a dark rim around it would look like a bank.
_UNSHADED = ("water",)


class Material(IntEnum):
    """Material numbers, below 128; `ROWS` contains their colours."""

    SKY = 0
    STAR = auto()
    SUN = auto()
    MOON_SHADE = auto()
    CLOUD = auto()
    CLOUD_BASE = auto()
    FAR_RIDGE = auto()
    ROCK = auto()
    ROCK_SHADE = auto()
    SLOPE = auto()
    SLOPE_SHADE = auto()
    PEAK = auto()
    PEAK_SHADE = auto()
    FAR_HILL = auto()
    FOREST = auto()
    HILL = auto()
    MEADOW = auto()
    MEADOW_BAND = auto()
    POPPIES = auto()
    POPPY_ROW = auto()
    WHEAT = auto()
    WHEAT_ROW = auto()
    PATH = auto()
    BANK = auto()
    WATER = auto()
    GLINT = auto()
    TRUNK = auto()
    CROWN_DARK = auto()
    CROWN = auto()
    CROWN_LIGHT = auto()
    SHRUB = auto()
    SHRUB_TOP = auto()
    CONIFER = auto()
    CONIFER_TOP = auto()
    WALL_CREAM = auto()
    WALL_CREAM_SIDE = auto()
    WALL_BARN = auto()
    WALL_BARN_SIDE = auto()
    WALL_WOOD = auto()
    WALL_WOOD_SIDE = auto()
    ROOF_RED = auto()
    ROOF_RED_TOP = auto()
    ROOF_SLATE = auto()
    ROOF_SLATE_TOP = auto()
    ROOF_BROWN = auto()
    ROOF_BROWN_TOP = auto()
    CHIMNEY = auto()
    CHIMNEY_TOP = auto()
    WINDOW = auto()
    DOOR = auto()
    FENCE = auto()
    FENCE_TOP = auto()


@dataclass(frozen=True)
class _Row:
    """The label class of a material and its colour in each style.

    A colour is "rrggbb", or "rrggbb rrggbb": a gradient down the picture, whose two ends are reached at the
    heights `span` (0 the top edge, 1 the bottom edge). `grain` scales the fine texture, 0 for none. Without a colour
    for `blossom` the material looks as in summer.
    """

    label: str
    summer: str
    winter: str
    night: str
    span: tuple[float, float] = (0.0, 1.0)
    grain: float = 0.0
    blossom: str = ""

    def colours(self, style: str) -> list[str]:
        """Return the one or two end colours of this material's gradient in a style."""
        colours = {"summer": self.summer, "winter": self.winter, "night": self.night}
        return {**colours, "blossom": self.blossom or self.summer}[style].split()


_AIR, _MOUNT, _LAND, _DEEP = (0.0, 0.52), (0.15, 0.60), (0.48, 1.0), (0.55, 0.86)
_M = Material
ROWS: dict[Material, _Row] = {
    _M.SKY: _Row("sky", "3a80d4 badef2", "263264 cc8a86", "0a1030 36487e", _AIR),
    _M.STAR: _Row("sky", "3a80d4 badef2", "263264 cc8a86", "d8e0ff 8090c0", _AIR),
    _M.SUN: _Row("sun", "fff6cc", "fff0dc", "f6f4e4"),
    _M.MOON_SHADE: _Row("sun", "fff6cc", "fff0dc", "0a1030 36487e", _AIR),
    _M.CLOUD: _Row("cloud", "fbfdff", "f4f6fb", "3c4874", _AIR),
    _M.CLOUD_BASE: _Row("cloud", "d9e8f4", "dce3f0", "2a3560", _AIR),
    _M.FAR_RIDGE: _Row("mountain", "6a9edc 98c6ea", "ccd4ea e2dee8", "1c2a56 34477a", (0.25, 0.55)),
    _M.ROCK: _Row("mountain", "8a8890 a4b0b4", "8a8890 a9acb8", "2a3050 323c5e", _MOUNT, 0.6),
    _M.ROCK_SHADE: _Row("mountain", "60647a 8294a4", "60647a 858ea4", "1c2344 26325a", _MOUNT, 0.6),
    _M.SLOPE: _Row("mountain", "8a8890 a4b0b4", "f4f4fa dfe5f0", "2a3050 323c5e", _MOUNT, 0.6),
    _M.SLOPE_SHADE: _Row("mountain", "60647a 8294a4", "a4b4d8 a8b6d4", "1c2344 26325a", _MOUNT, 0.6),
    _M.PEAK: _Row("mountain", "fafafc", "fafafc", "7c88b4", _MOUNT),
    _M.PEAK_SHADE: _Row("mountain", "b4c4e0", "a4b4d8", "4c5a8c", _MOUNT),
    _M.FAR_HILL: _Row("hill", "4c8660 6ca470", "d4def0 e6ebf4", "1c3450 22405a", (0.4, 0.6), 0.6),
    _M.FOREST: _Row("conifer", "2c6250 3a7452", "2e5a54 44665f", "0c2036 102a3e", (0.4, 0.6), 0.8),
    _M.HILL: _Row("hill", "5c9c4c 7cb452", "e2eaf6 f0f3f9", "163a40 1e4a48", (0.45, 0.7), 0.8),
    _M.MEADOW: _Row("meadow", "86ba50 5a9a3c", "f2f5fa e6edf7", "1e4a46 143634", _LAND, 1.0),
    _M.MEADOW_BAND: _Row("meadow", "78b048 4e8c38", "e8eef7 d8e3f2", "1a423f 10302f", _LAND, 1.0),
    _M.POPPIES: _Row("field", "d8503a c83c30", "eeeaf0 e4e0ea", "3c2c44 30223a", _LAND, 1.0),
    _M.POPPY_ROW: _Row("field", "e0743c d46034", "b48878 a87868", "46324a 3a283e", _LAND, 1.0),
    _M.WHEAT: _Row("field", "ecc860 e0b448", "f2eee6 eae4da", "46485a 3a3c4c", _LAND, 1.0),
    _M.WHEAT_ROW: _Row("field", "d4a840 c49434", "c4ac80 b89c6c", "3a3c4c 303242", _LAND, 1.0),
    _M.PATH: _Row("path", "e8d8b0 dcc698", "dcd6d2 d0cac8", "4a5068 404660", _LAND, 0.8),
    _M.BANK: _Row("path", "cdbf90 bfae7c", "f6f8fc eef2f9", "2c3e50 26364a", _LAND, 0.8),
    _M.WATER: _Row("water", "badef2 3a80d4", "c2dbe9 eff5fa", "36487e 0a1030", _DEEP),
    _M.GLINT: _Row("water", "d2eaf8 64a4e4", "d8e8f2 fbfcfe", "5c6ea4 34487c", _DEEP),
    _M.TRUNK: _Row("tree", "6a4a34", "6a4a34", "201c2c", grain=0.6),
    _M.CROWN_DARK: _Row("tree", "3f7d34", "5c4438", "0c2a2a", _LAND, 1.0, "d07c9c"),
    _M.CROWN: _Row("tree", "5c9a3e", "5c4438", "143834", _LAND, 1.0, "eca6bc"),
    _M.CROWN_LIGHT: _Row("tree", "84b84e", "5c4438", "24504a", _LAND, 1.0, "fbdbe4"),
    _M.SHRUB: _Row("tree", "c8482c", "7a5040", "34202c", grain=1.0),
    _M.SHRUB_TOP: _Row("tree", "e07a38", "f6f8fc", "4a3038", grain=1.0),
    _M.CONIFER: _Row("conifer", "24533f", "24533f", "081a24", grain=0.8),
    _M.CONIFER_TOP: _Row("conifer", "37704c", "f2f5fb", "123036", grain=0.8),
    _M.WALL_CREAM: _Row("wall", "f6ecd4", "f0e8dc", "5c5c70"),
    _M.WALL_CREAM_SIDE: _Row("wall", "d8c8aa", "d0c4b4", "46465c"),
    _M.WALL_BARN: _Row("wall", "b04434", "a84638", "3a2434"),
    _M.WALL_BARN_SIDE: _Row("wall", "8c3428", "86382e", "2c1c2c"),
    _M.WALL_WOOD: _Row("wall", "b08a60", "a88866", "40384a"),
    _M.WALL_WOOD_SIDE: _Row("wall", "8c6a48", "866a4e", "322c3c"),
    _M.ROOF_RED: _Row("roof", "c44030", "b43c30", "3c2234", grain=0.5),
    _M.ROOF_RED_TOP: _Row("roof", "cc4a36", "f6f8fd", "42283a", grain=0.5),
    _M.ROOF_SLATE: _Row("roof", "56607a", "505a72", "1e2644", grain=0.5),
    _M.ROOF_SLATE_TOP: _Row("roof", "5e6a84", "f6f8fd", "242c4c", grain=0.5),
    _M.ROOF_BROWN: _Row("roof", "7a5238", "704c36", "2a2230", grain=0.5),
    _M.ROOF_BROWN_TOP: _Row("roof", "845a3e", "f6f8fd", "302836", grain=0.5),
    _M.CHIMNEY: _Row("wall", "8c5a48", "8c5a48", "302434"),
    _M.CHIMNEY_TOP: _Row("wall", "8c5a48", "f6f8fd", "302434"),
    _M.WINDOW: _Row("opening", "34445c", "ffca60", "ffd070"),
    _M.DOOR: _Row("opening", "5a3826", "563626", "241a24"),
    _M.FENCE: _Row("fence", "7c5c40", "70543e", "242030"),
    _M.FENCE_TOP: _Row("fence", "a07c58", "f6f8fc", "343044"),
}

_LABELS = np.zeros((2 * SHADOW, 3), np.uint8)
GRAIN = np.zeros(2 * SHADOW, np.float32)
"""Amplitude of the fine texture of each material, 0-1, by its number with or without `SHADOW`."""
IS_WATER = np.zeros(2 * SHADOW, np.bool_)
"""True for water and ice, by material number with or without `SHADOW`."""
for _material, _row in ROWS.items():
    for _index in (_material, _material + SHADOW):
        _LABELS[_index] = LABEL_COLOURS[_row.label]
        GRAIN[_index] = _row.grain
        IS_WATER[_index] = _row.label == "water"


def label_image(materials: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the class colours, h w 3, of a map of materials, h w."""
    return _LABELS[materials]


def colour_image(materials: npt.NDArray[np.uint8], style: str) -> npt.NDArray[np.uint8]:
    """Return the colours, h w 4 (the fourth is padding), of a map of materials, h w, in `style`."""
    rows = materials.shape[0]
    table = _packed_colours(style, rows)
    index = materials.astype(np.intp)
    index *= rows
    index += np.arange(rows)[:, None]
    return table.take(index).view(np.uint8).reshape(*materials.shape, 4)


@lru_cache(maxsize=16)
def _packed_colours(style: str, rows: int) -> npt.NDArray[np.uint32]:
    """Return the colour of each (material, image row), flattened; four bytes per number allow lookup by one `take`."""
    table = np.zeros((2 * SHADOW, rows, 4), np.uint8)
    height = (np.arange(rows) + 0.5) / rows
    for material, row in ROWS.items():
        ends = [_rgb(colour) for colour in row.colours(style)]
        start, end = row.span
        t = np.clip((height - start) / (end - start), 0, 1)[:, None]
        colour = (1 - t) * ends[0] + t * ends[-1]
        tint = 1.0 if row.label in _UNSHADED else np.array(_SHADOW_TINT[style])
        table[material, :, :3] = np.rint(colour)
        table[material + SHADOW, :, :3] = np.rint(colour * tint)
    return table.reshape(-1, 4).view(np.uint32).reshape(-1)


def _rgb(colour: str) -> npt.NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], np.float64)
