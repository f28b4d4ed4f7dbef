"""The drawn worlds by name, each with styles of the same scenes: landscapes, shapes and fruit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unpaired.errors import ConfigError
from unpaired.scenes.scene import STYLES, draw_scene
from unpaired.scenes.shapes import FRUIT_STYLES, SHAPE_STYLES, draw_still_life
from unpaired.suggestions import unknown

WORLDS: dict[str, tuple[str, ...]] = {"landscapes": STYLES, "shapes": SHAPE_STYLES, "fruit": FRUIT_STYLES}
"""Styles by world. A seed in two styles of one world is the same scene; the first two styles are the usual domains."""

ALL_STYLES: tuple[str, ...] = tuple(style for styles in WORLDS.values() for style in styles)
"""The styles of all worlds."""


def world_of(style: str) -> str:
    """Return the world of a style. Raises ConfigError if it is unknown."""
    for world, styles in WORLDS.items():
        if style in styles:
            return world
    raise ConfigError(unknown(style, ALL_STYLES, "style"))


def draw_style(seed: int, style: str, size: int) -> npt.NDArray[np.uint8]:
    """Draw the scene of `seed` in a style of any world: RGB of shape (size, size, 3), 0-255.

    Raises ConfigError if the style is unknown, the seed negative, or `size` not in 32..4096 pixels.
    """
    return draw_scene(seed, style, size) if world_of(style) == "landscapes" else draw_still_life(seed, style, size)
