"""Writes drawn scenes as a data set: the folder layout of training, with ground truth for the test images only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unpaired.config import require
from unpaired.headway import Headway
from unpaired.images import Image, write_image
from unpaired.scenes.scene import scene_seeds
from unpaired.scenes.strangers import MOST, draw_strangers
from unpaired.scenes.worlds import ALL_STYLES, draw_style, world_of
from unpaired.storage import storage_error
from unpaired.suggestions import unknown


def draw_dataset(
    root: Path,
    *,
    a: str = "summer",
    b: str = "winter",
    count: int,
    size: int,
    seed: int = 0,
    num_test: int | None = None,
    strangers: int = 0,
) -> None:
    """Write unpaired training scenes to root/trainA and root/trainB, and paired test scenes to root/testA and testB.

    The training domains have disjoint seeds, so that there are no pairs. Their names end in -A and -B, because a recipe
    for pairs would match equal names. The test scenes are the same in both styles, under the same names, as ground
    truth. Existing files are kept, also under the names of earlier versions, without -A and -B.

    count: training scenes per domain.
    num_test: test scenes, by default a tenth of `count`, at least one.
    strangers: objects in each test scene that no training scene contains, 0 to 8, the same in both styles. Their pixels
    are 255 in the masks root/strangers, their edges 128.

    Raises ConfigError for an unknown style, size or count, for styles of two worlds, and for strangers in another world
    than landscapes; OutputError or StorageError if the disk fails.
    """
    _check(a, b, count, num_test)
    require(0 <= strangers <= MOST, f"--strangers must be 0 to {MOST}, not {strangers}.")
    require(not strangers or world_of(a) == "landscapes", "--strangers is for --world landscapes; remove one of them.")
    masks = root / "strangers"
    require(
        bool(strangers) == masks.exists() or not (root / "testA").exists(),
        f"{root} holds test scenes {'without' if strangers else 'with'} strangers; draw into another folder.",
    )
    headway = Headway("Drawing", 2 * (count + _num_test(count, num_test)), "scene")
    for split, style in (("trainA", a), ("trainB", b), ("testA", a), ("testB", b)):
        training = split.startswith("train")
        # Not _A and _B: `pairs.matched` ignores these endings, as published pairs have them.
        end = f"-{split[-1]}" if training else ""
        _make(root / split)
        for index, scene in enumerate(scene_seeds(split, count if training else _num_test(count, num_test), seed)):
            path, formerly = (root / split / f"scene-{index:06d}{mark}.png" for mark in (end, ""))
            if not path.exists() and not formerly.exists():
                picture = draw_style(scene, style, size)
                if strangers and not training:
                    picture = draw_strangers(scene, size, count=strangers).pasted(picture)
                write_image(path, Image(pixels=picture))
            headway.advance()
    if strangers:
        _make(masks)
        for index, scene in enumerate(scene_seeds("test", _num_test(count, num_test), seed)):
            mask = draw_strangers(scene, size, count=strangers).mask
            write_image(masks / f"scene-{index:06d}.png", Image(pixels=mask[:, :, None]))


def draw_pairs(
    root: Path,
    *,
    a: str = "labels",
    b: str = "summer",
    count: int,
    size: int,
    seed: int = 0,
    num_test: int | None = None,
) -> None:
    """Write scenes in both styles side by side, A left and B right: `count` to root/train, `num_test` to root/test.

    This is the layout for pix2pix. Raises the same errors as `draw_dataset`.
    """
    _check(a, b, count, num_test)
    headway = Headway("Drawing", count + _num_test(count, num_test), "pair")
    for split, seeds in (
        ("train", scene_seeds("trainA", count, seed)),
        ("test", scene_seeds("test", _num_test(count, num_test), seed)),
    ):
        _make(root / split)
        for index, scene in enumerate(seeds):
            path = root / split / f"scene-{index:06d}.png"
            if not path.exists():
                sides = [draw_style(scene, style, size) for style in (a, b)]
                write_image(path, Image(pixels=np.concatenate(sides, axis=1)))
            headway.advance()


def _check(a: str, b: str, count: int, num_test: int | None) -> None:
    for option, style in (("--a", a), ("--b", b)):
        require(style in ALL_STYLES, unknown(f"{style} for {option}", ALL_STYLES, "style"))
    require(
        world_of(a) == world_of(b),
        f"--a {a} and --b {b} are styles of different worlds, {world_of(a)} and {world_of(b)}; choose both from one.",
    )
    require(count >= 1, f"--count must be at least 1, not {count}.")
    require(num_test is None or num_test >= 0, f"--num-test must not be negative, not {num_test}.")


def _num_test(count: int, num_test: int | None) -> int:
    return max(1, count // 10) if num_test is None else num_test


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None
