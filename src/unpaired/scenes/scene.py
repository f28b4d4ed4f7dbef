"""Drawn scenes of the demo: landscapes from a seed, in summer, in winter, at night, in blossom, or as labels.

The same seed in two styles is the same place, aligned to the pixel. Translations from one style to another can
therefore be compared with ground truth, although training uses two unpaired sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from unpaired.errors import ConfigError
from unpaired.scenes.layout import House, Scene, sample_scene
from unpaired.scenes.materials import GRAIN, IS_WATER, LABEL_COLOURS, colour_image, label_image
from unpaired.scenes.paint import paint_materials

__all__ = ["LABEL_COLOURS", "STYLES", "Scene", "draw_scene", "sample_scene", "scene_seeds"]

STYLES: tuple[str, ...] = ("summer", "winter", "night", "labels", "blossom")
"""Styles of scenes: pictures, of which blossom differs from summer in some trees only, and `labels`, a map of classes.
"""

MIN_SIZE = 32
"""The smallest side of a picture, in pixels."""

_MAX_SIZE = 4096
# Odd, so that the middle dot of each pixel's square is the class of the pixel.
_OVERSAMPLING = 3
_BLOCK = 1_000_000
_SPLITS = {"trainA": 0, "trainB": 1, "test": 2, "testA": 2, "testB": 2}

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Light:
    """Lighting effects of a style, applied after colouring the materials."""

    glow: tuple[float, float, float]
    glow_reach: float
    mirror: float
    lamps: float = 0.0
    leafless: bool = False


_LIGHTS = {
    "summer": _Light(glow=(0.75, 0.62, 0.4), glow_reach=0.16, mirror=0.3),
    "winter": _Light(glow=(0.7, 0.5, 0.32), glow_reach=0.18, mirror=0.08, lamps=0.15, leafless=True),
    "blossom": _Light(glow=(0.75, 0.62, 0.4), glow_reach=0.16, mirror=0.3),
    "night": _Light(glow=(0.28, 0.3, 0.34), glow_reach=0.12, mirror=0.4, lamps=0.35),
}


def draw_scene(seed: int, style: str, size: int) -> npt.NDArray[np.uint8]:
    """Draw the landscape of `seed` (an integer >= 0) in one of `STYLES`.

    Returns RGB of shape (size, size, 3), 0-255. The geometry depends only on the seed, so two styles of one seed show
    the same scene. `labels` contains only the colours of `LABEL_COLOURS`.

    Raises ConfigError if the style is unknown, the seed negative, or `size` not in 32..4096 pixels.
    """
    if style not in STYLES:
        raise ConfigError(f"The style {style!r} is unknown; choose one of {', '.join(STYLES)}.")
    require_drawable(seed, size)
    scene = sample_scene(seed)
    if style == "labels":
        materials = paint_materials(scene, size * _OVERSAMPLING, leafless=False)
        return label_image(_pixel_centres(materials))
    return _draw_picture(scene, style, size)


def require_drawable(seed: int, size: int) -> None:
    """Raise ConfigError if a scene's seed is negative or its side is not in 32..4096 pixels."""
    if not MIN_SIZE <= size <= _MAX_SIZE:
        raise ConfigError(f"A scene cannot be {size} pixels wide; choose a size from {MIN_SIZE} to {_MAX_SIZE}.")
    if seed < 0:
        raise ConfigError(f"The scene seed {seed} is negative; choose one of 0 or more.")


def scene_seeds(split: str, count: int, seed: int) -> list[int]:
    """Return the scene seeds of the first `count` scenes (0 to 1,000,000) of a split of data set `seed`, >= 0.

    Splits are trainA, trainB and test, which testA and testB share, so that test scenes have ground truth. A scene's
    seed is 3 i + split, with i from a block that only this data set uses. The splits of all data sets are therefore
    disjoint: no training scene is a test scene or a scene of the other domain.

    Raises ConfigError if the split is unknown or a number is out of range.
    """
    if split not in _SPLITS:
        raise ConfigError(f"The split {split!r} is unknown; choose one of {', '.join(_SPLITS)}.")
    if not 0 <= count <= _BLOCK:
        raise ConfigError(f"A split cannot hold {count} scenes; choose a count from 0 to {_BLOCK}.")
    if seed < 0:
        raise ConfigError(f"The seed {seed} is negative; choose one of 0 or more.")
    return [3 * (seed * _BLOCK + index) + _SPLITS[split] for index in range(count)]


def _pixel_centres(materials: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    middle = _OVERSAMPLING // 2
    return materials[middle::_OVERSAMPLING, middle::_OVERSAMPLING]


def _draw_picture(scene: Scene, style: str, size: int) -> npt.NDArray[np.uint8]:
    light = _LIGHTS[style]
    materials = paint_materials(scene, size * _OVERSAMPLING, leafless=light.leafless)
    colours = Image.frombuffer("RGBX", materials.shape, colour_image(materials, style), "raw", "RGBX", 0, 1)
    picture = np.array(colours.convert("RGB").reduce(_OVERSAMPLING), np.float32)
    centres = _pixel_centres(materials)
    _add_mirror_image(picture, centres, scene, light)
    picture += 5 * (grain(size) * GRAIN[centres])[..., None]
    _add_glow(picture, scene, light)
    np.clip(np.rint(picture), 0, 255, out=picture)
    return picture.astype(np.uint8)


def _add_mirror_image(picture: Floats, centres: npt.NDArray[np.uint8], scene: Scene, light: _Light) -> None:
    """Blend the mirrored scenery beyond the far bank into the water; rivers have no mirror image."""
    if scene.water.kind == "river":
        return
    size = picture.shape[0]
    top = min(size - 1, round(scene.water.top * size))
    depth = min(size - top, top)
    mirrored = picture[top - depth : top][::-1]
    amount = light.mirror * IS_WATER[centres[top : top + depth]].astype(np.float32)
    # It fades towards the viewer, because the viewing angle is steeper there.
    amount *= np.linspace(1, 0.2, depth, dtype=np.float32)[:, None]
    below = picture[top : top + depth]
    below += (mirrored - below) * amount[..., None]


def _add_glow(picture: Floats, scene: Scene, light: _Light) -> None:
    """Add a glow around the sun or moon, and around lit windows."""
    sun = scene.sun
    _shine(picture, sun.x, sun.y, light.glow_reach, light.glow)
    if light.lamps:
        for thing in scene.objects:
            if isinstance(thing, House):
                lamp = (light.lamps, 0.7 * light.lamps, 0.28 * light.lamps)
                _shine(picture, thing.x, thing.y - 0.15 * thing.width, 0.5 * thing.width, lamp)


def _shine(picture: Floats, x: float, y: float, reach: float, colour: tuple[float, float, float]) -> None:
    """Lighten the picture in a soft spot around (x, y), by `colour` (0-1) at its centre."""
    axis = (np.arange(len(picture), dtype=np.float32) + 0.5) / len(picture)
    across = np.exp(-(((axis - x) / reach) ** 2))
    down = np.exp(-(((axis - y) / reach) ** 2))
    picture += (255 - picture) * ((down[:, None] * across[None, :])[..., None] * np.array(colour, np.float32))


@lru_cache(maxsize=4)
def grain(size: int) -> Floats:
    """Return fine texture in [-1, 1], size size, the same in every scene and style, so that it is predictable."""
    noise = np.random.default_rng(0).uniform(-1, 1, (size, size)).astype(np.float32)
    noise.flags.writeable = False
    return noise
