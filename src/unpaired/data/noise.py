"""Domain A as noise: image synthesis by GANs from a vector of normal numbers and an optional class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpaired.data.check import listed
from unpaired.data.datasets import Batch, DataConfig, ImageCache, StepDataset, crop
from unpaired.data.normalising import spec_from_config
from unpaired.data.sources import FolderSource, ImageSource, holds_images
from unpaired.errors import DataError
from unpaired.randomness import rng
from unpaired.storage import shown


class NoiseDataset(StepDataset):
    """Batches of noise a (n z+k 1 1) and images b (n c h w) in an order shuffled each epoch.

    z is `config.noise_channels`, standard normal; k the number of class names, 0 for none: the one-hot class of the
    image follows the noise. With classes, names of the source begin with the class and a slash.
    """

    def __init__(self, b: ImageSource, config: DataConfig, seed: int, classes: tuple[str, ...] = ()) -> None:
        super().__init__(len(b), config, seed)
        self._b, self._num_classes, self._spec = b, len(classes), spec_from_config(config, "B")
        self._cache = ImageCache(b, config, config.cache_mb * 2**20, self._spec)
        numbers = {name: number for number, name in enumerate(classes)}
        self._class_of = [numbers[class_name(b.name(index))] for index in range(len(b))] if classes else []

    def image_of(self, sample: int) -> int:
        """Return the index of the image that sample `sample` >= 0 is made of."""
        return self._shuffled(sample)

    def preview(self, count: int) -> Batch:
        """Return `count` draws of noise that training never uses, with classes in turn and images of these classes.

        The noise depends on the seed alone; the images are the first ones, centre-cropped, repeated if there are too
        few.
        """
        rows = [
            self._noise(rng(self._seed, "preview noise", row), row % max(self._num_classes, 1)) for row in range(count)
        ]
        images = [self._image(self._example(row), None) for row in range(count)]
        side = min(min(image.shape[1:]) for image in images)  # sizes may differ with "none"
        return Batch(a=torch.stack(rows), b=torch.stack([_middle(image, side) for image in images]))

    def _example(self, row: int) -> int:
        """Return the index of the image in a row of the preview."""
        if not self._num_classes:
            return row % self.length
        turn, wanted = divmod(row, self._num_classes)
        members = [index for index, number in enumerate(self._class_of) if number == wanted]
        return members[turn % len(members)]

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        index = self.image_of(sample)
        number = self._class_of[index] if self._num_classes else 0
        noise = self._noise(rng(self._seed, "noise", sample), number)
        return noise, self._image(index, rng(self._seed, "augment b", sample))

    def _noise(self, draw: np.random.Generator, number: int) -> Tensor:
        """Return z normal numbers and the one-hot class `number`, z+k 1 1."""
        values = draw.standard_normal(self._config.noise_channels)
        one_hot: NDArray[np.float64] = np.arange(self._num_classes) == number
        return torch.from_numpy(np.concatenate([values, one_hot])).float()[:, None, None]

    def _image(self, index: int, draw: np.random.Generator | None) -> Tensor:
        return self._spec.tensor(crop(self._cache[index], self._config, draw))

    def _name(self, sample: int) -> str:
        return self._b.name(self.image_of(sample))


def noise_source(root: str, a: str, b: str) -> FolderSource:
    """Return the training images: root/train, else root/trainB, else `root` itself; or the folder `b`.

    Raises DataError if no folder is given, if `a` is given, or if the folder is missing or empty.
    """
    if a:
        raise DataError("--a is given, but domain A is noise here; give DATA or --b DIR alone.")
    if b:
        return FolderSource(Path(b))
    if not root:
        raise DataError("No data: give a folder of images as DATA, or --b DIR.")
    places = [Path(root) / "train", Path(root) / "trainB"]
    return FolderSource(next(filter(holds_images, places), Path(root)))


def class_names(source: FolderSource) -> tuple[str, ...]:
    """Return the classes of a source, sorted: the subfolders that hold its images, the outermost if they nest.

    Raises DataError for images that lie beside the class folders, and for fewer than two classes.
    """
    outside = [shown(path) for index, path in enumerate(source.paths) if "/" not in source.name(index)]
    if outside:
        raise DataError(
            f"With --data.classes every image lies in the folder of its class, but {len(outside)} lie in "
            f"{source.folder} itself; move them, or leave --data.classes out:{listed(outside)}"
        )
    names = sorted({class_name(source.name(index)) for index in range(len(source))})
    if len(names) < 2:
        raise DataError(f"{source.folder} holds one class, {names[0]}; add another, or leave --data.classes out.")
    return tuple(names)


def class_name(name: str) -> str:
    """Return the class of an image by its name within the source: cat for cat/001.png."""
    return name.split("/", 1)[0]


def _middle(image: Tensor, side: int) -> Tensor:
    """Return the centre crop side x side of an image c h w."""
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]
