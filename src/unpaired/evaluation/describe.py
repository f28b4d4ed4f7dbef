"""The description of a set of images, from one pass in bounded memory, for every figure without ground truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from unpaired.evaluation.features import RandomConvolutions
from unpaired.evaluation.sliced import PATCH, PATCHES, patches, pyramid
from unpaired.images.tensors import as_files
from unpaired.randomness import rng

KeptT = TypeVar("KeptT")

MAX_IMAGES = 4000
MAX_PATCH_BYTES = 128 << 20


@dataclass(frozen=True)
class Description:
    """The description of a set of images.

    Above 4,000 images a random sample of 4,000 has features. Patches are kept of a random sample of as many images as
    fit into 128 MiB.

    Args:
        num_images: the number of images.
        size: their channels, height and width.
        features: of random convolutions, n d.
        patches: for each level of the pyramid, finest first, m p c 49.
        own: by name, features n d of metrics that compute their own.
    """

    num_images: int
    size: tuple[int, int, int]
    features: Tensor
    patches: list[Tensor]
    own: dict[str, Tensor] = field(default_factory=dict)

    def select(self, indices: Tensor) -> Description:
        """Return the description of the images with these indices, for the floor and for equal counts.

        Raises ValueError if only a sample was kept.
        """
        if any(len(kept) != self.num_images for kept in (self.features, *self.patches, *self.own.values())):
            raise ValueError(
                f"Only a sample of the {self.num_images} images was kept; describe the two parts separately."
            )
        own = {name: features[indices] for name, features in self.own.items()}
        patches = [level[indices] for level in self.patches]
        return Description(len(indices), self.size, self.features[indices], patches, own)


def describe(
    batches: Iterable[Tensor],
    *,
    seed: int = 0,
    max_images: int = MAX_IMAGES,
    max_patch_bytes: int = MAX_PATCH_BYTES,
) -> Description:
    """Describe batches n c h w, in [-1, 1] or uint8, all of one c h w, rounded as in 8-bit files.

    The description does not depend on the batch size. Sides have at least 16 pixels, and any number of channels is
    allowed. Raises ValueError if there is no image, one is too small, or they differ in size.
    """
    extractor: RandomConvolutions | None = None
    size, count = (0, 0, 0), 0
    features: _Reservoir[Tensor] = _Reservoir(max_images, seed, "features")
    cut: _Reservoir[list[Tensor]] = _Reservoir(0, seed, "patches")
    for batch in batches:
        images = as_files(batch).float()
        if extractor is None:
            size = _size(images)
            extractor = RandomConvolutions(size[0]).to(images.device)
            cut.capacity = max(1, max_patch_bytes // _patch_bytes(images))
        if _size(images) != size:
            raise ValueError(f"Images of one size are needed: {size} (channels, height, width) and {_size(images)}.")
        indices = list(range(count, count + len(images)))
        levels = [patches(level, indices, seed=seed).cpu() for level in pyramid(images)]
        for index, row, *parts in zip(indices, extractor(images).cpu(), *levels, strict=True):
            # Copies, since a view would keep its whole batch in memory.
            features.add(index, row.clone())
            cut.add(index, [part.clone() for part in parts])
        count += len(images)
    if count == 0:
        raise ValueError("A description needs at least one image.")
    kept = [torch.stack(level) for level in zip(*cut.kept, strict=True)]
    return Description(count, size, torch.stack(features.kept), kept)


class _Reservoir(Generic[KeptT]):
    """A reservoir sample of at most `capacity` items, all with the same probability, determined by their indices."""

    def __init__(self, capacity: int, seed: int, purpose: str) -> None:
        self.capacity, self.seed, self.purpose = capacity, seed, purpose
        self.kept: list[KeptT] = []

    def place(self, index: int) -> int | None:
        """Return the place of item `index`, None if it is not kept; items are numbered from 0 without gaps."""
        if index < self.capacity:
            return index
        place = int(rng(self.seed, f"reservoir {self.purpose}", index).integers(index + 1))
        return place if place < self.capacity else None

    def add(self, index: int, item: KeptT) -> None:
        """Add an item, replacing another one if the reservoir is full, or drop it."""
        place = self.place(index)
        if place == len(self.kept):
            self.kept.append(item)
        elif place is not None:
            self.kept[place] = item


def _size(images: Tensor) -> tuple[int, int, int]:
    _, c, h, w = images.shape
    return c, h, w


def _patch_bytes(images: Tensor) -> int:
    """Return the memory of the patches of one image, in float32."""
    return len(pyramid(images[:1])) * PATCHES * images.shape[1] * PATCH**2 * 4
