"""Labelled data for the tables: photographs, coloured label maps, and the palette of classes.

Domain A are the label maps and B the photographs. The folder `unpaired` contains trainA and trainB of different scenes,
and testA and testB of the same scenes. The folder `pairs` contains the scenes of trainA as side-by-side images, labels
left and photograph right, for pix2pix and the segmentation network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unpaired.data.pairs import side_by_side
from unpaired.errors import DataError
from unpaired.images import Image, read_image, resize, write_image
from unpaired.scenes.draw import draw_dataset, draw_pairs
from unpaired.scenes.scene import LABEL_COLOURS
from unpaired.storage import is_junk_folder, make_folder, shown

Palette = dict[str, tuple[int, int, int]]

MAPS: Palette = {
    "land": (238, 232, 224),
    "road": (255, 255, 255),
    "highway": (252, 160, 36),
    "park": (204, 222, 174),
    "water": (180, 210, 254),
}
"""The colours of the published maps, from the histogram of 80 training maps."""

CITYSCAPES: Palette = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180),
    "person": (220, 20, 60), "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "train": (0, 80, 100), "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32), "void": (0, 0, 0),
}  # fmt: skip
"""The 19 evaluated classes of Cityscapes; all others are void and excluded from the scores."""

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label ids of these classes in files that end in _labelIds.png."""


@dataclass(frozen=True)
class Labelled:
    """Folders of the data, the colour of each class, and the class excluded from the scores (void), None for none."""

    unpaired: Path
    pairs: Path
    palette: Palette
    size: int
    void: int | None = None


def drawn(out: Path, *, count: int = 600, num_test: int = 100, size: int = 64) -> Labelled:
    """Draw labels and summer scenes, the default, which needs no data."""
    draw_dataset(out / "unpaired", a="labels", b="summer", count=count, size=size, num_test=num_test)
    draw_pairs(out / "pairs", a="labels", b="summer", count=count, size=size, num_test=0)
    return Labelled(out / "unpaired", out / "pairs", dict(LABEL_COLOURS), size)


def maps(data: Path, out: Path, *, size: int = 64) -> Labelled:
    """Prepare the published maps: train and val of side-by-side pairs, aerial photograph left, map right."""
    for split in ("train", "val"):
        if not (data / split).is_dir():
            raise DataError(f"{shown(data)} has no folder {split}; give the published maps, train and val of pairs.")
    scenes = {split: _pairs_of(data / split, labels_left=False) for split in ("train", "val")}
    return _prepared(out, scenes["train"], scenes["val"], MAPS, size)


def cityscapes(data: Path, out: Path, *, size: int = 128) -> Labelled:
    """Prepare Cityscapes: *_leftImg8bit.png and *_labelIds.png anywhere below folders named train… and val….

    Without val (a sample of the data set) all frames are used for training and test; the table reports this.
    """
    photos, ids = _by_name(data, "_leftImg8bit.png"), _by_name(data, "_gtFine_labelIds.png")
    both = sorted(photos.keys() & ids.keys())
    if not both:
        raise DataError(
            f"{shown(data)} contains no *_leftImg8bit.png with *_gtFine_labelIds.png; give Cityscapes' folder."
        )
    held = [name for name in both if any(part.startswith("val") for part in photos[name].relative_to(data).parts)]
    train = [name for name in both if name not in set(held)] or both

    def scenes(names: list[str]) -> Iterator[tuple[str, Image, Image]]:
        for name in names:
            yield name, _coloured(read_image(ids[name])), read_image(photos[name])

    void = list(CITYSCAPES).index("void")
    return _prepared(out, scenes(train), scenes(held or both), CITYSCAPES, size, void)


def _by_name(data: Path, ending: str) -> dict[str, Path]:
    """Return the files below a folder with a name ending, by their names without it."""
    found = (path for path in sorted(data.rglob(f"*{ending}")) if path.is_file())
    sound = (path for path in found if not any(map(is_junk_folder, path.relative_to(data).parts[:-1])))
    return {path.name.removesuffix(ending): path for path in sound if not path.name.startswith("._")}


def _coloured(ids: Image) -> Image:
    """Convert label ids, one channel, to the colours of their classes."""
    colours = np.zeros((256, 3), np.uint8)
    for number, colour in zip(CITYSCAPES_IDS, CITYSCAPES.values(), strict=False):
        colours[number] = colour
    return Image(colours[ids.pixels[:, :, 0]])


def _pairs_of(folder: Path, *, labels_left: bool) -> Iterator[tuple[str, Image, Image]]:
    left, right = side_by_side(folder)
    for index in range(len(left)):
        labels, photo = (left[index], right[index]) if labels_left else (right[index], left[index])
        yield Path(left.name(index)).stem, labels, photo


def _prepared(
    out: Path,
    train: Iterator[tuple[str, Image, Image]],
    test: Iterator[tuple[str, Image, Image]],
    palette: Palette,
    size: int,
    void: int | None = None,
) -> Labelled:
    """Write the folder layout of this module, images size x size; labels of odd scenes and photographs of even ones."""
    for name in ("unpaired/trainA", "unpaired/trainB", "unpaired/testA", "unpaired/testB", "pairs/train"):
        make_folder(out / name)
    for number, (name, labels, photo) in enumerate(train):
        small, seen = _labels_at(labels, size, palette), resize(photo, (size, size))
        if number % 2 == 0:
            _write(out / "unpaired" / "trainA" / f"{name}.png", small)
            _write(out / "pairs" / "train" / f"{name}.png", Image(np.concatenate([small.pixels, seen.pixels], axis=1)))
        else:
            _write(out / "unpaired" / "trainB" / f"{name}.png", seen)
    for name, labels, photo in test:
        _write(out / "unpaired" / "testA" / f"{name}.png", _labels_at(labels, size, palette))
        _write(out / "unpaired" / "testB" / f"{name}.png", resize(photo, (size, size)))
    return Labelled(out / "unpaired", out / "pairs", palette, size, void)


def _labels_at(labels: Image, size: int, palette: Palette) -> Image:
    """Resize a label map to size x size with nearest neighbour, in the exact colours of its classes."""
    rows = (np.arange(size) * 2 + 1) * labels.height // (2 * size)
    columns = (np.arange(size) * 2 + 1) * labels.width // (2 * size)
    picked = labels.pixels[rows][:, columns].astype(np.int64)
    colours = np.array(list(palette.values()), np.int64)
    nearest = ((picked[:, :, None] - colours) ** 2).sum(-1).argmin(-1)
    return Image(colours[nearest].astype(np.uint8))


def _write(path: Path, image: Image) -> None:
    if not path.exists():
        write_image(path, image)
