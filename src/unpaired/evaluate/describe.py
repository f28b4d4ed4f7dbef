"""What is kept of a set of images, in one pass and bounded memory, for every figure that needs no truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from unpaired.evaluate.features import RandomConvolutions
from unpaired.evaluate.sliced import PATCH, PATCHES, patches, pyramid
from unpaired.images.tensors import as_files
from unpaired.randomness import rng

KeptT = TypeVar("KeptT")

MAX_IMAGES = 4000
MAX_PATCH_BYTES = 128 << 20


@dataclass(frozen=True)
class Description:
    """features: n d. patches: for each level of the pyramid, finest first, m p c 49. num_images: how many were seen.
    own: features n d of metrics that compute their own, by name.

    Of more than 4,000 images a random 4,000 are kept as features; patches are kept of as many images, chosen at
    random, as 128 MiB hold.
    """

    num_images: int
    size: tuple[int, int, int]
    features: Tensor
    patches: list[Tensor]
    own: dict[str, Tensor] = field(default_factory=dict)

    def select(self, indices: Tensor) -> Description:
        """Return the description of the images with these numbers, for the floor and for equal counts.

        Raises ValueError where not every image was kept.
        """
        if any(len(kept) != self.num_images for kept in (self.features, *self.patches, *self.own.values())):
            raise ValueError(f"Of {self.num_images} images only some were kept; describe the two parts one by one.")
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
    """Look once at batches n c h w, in [-1, 1] or uint8, all of one c h w, as 8-bit files would hold them.

    The same images in batches of other sizes give the same description. Sides of 16 pixels and more, any number of
    channels. Raises ValueError if there is no image, one is too small, or they differ in size.
    """
    extractor: RandomConvolutions | None = None
    size, seen = (0, 0, 0), 0
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
        indices = list(range(seen, seen + len(images)))
        levels = [patches(level, indices, seed=seed).cpu() for level in pyramid(images)]
        for index, row, *parts in zip(indices, extractor(images).cpu(), *levels, strict=True):
            # Copies, since a view would keep its whole batch in memory.
            features.add(index, row.clone())
            cut.add(index, [part.clone() for part in parts])
        seen += len(images)
    if seen == 0:
        raise ValueError("A description needs at least one image.")
    kept = [torch.stack(level) for level in zip(*cut.kept, strict=True)]
    return Description(seen, size, torch.stack(features.kept), kept)


class _Reservoir(Generic[KeptT]):
    """At most `capacity` of the things it is shown, each with the same chance; which ones, their numbers decide."""

    def __init__(self, capacity: int, seed: int, purpose: str) -> None:
        self.capacity, self.seed, self.purpose = capacity, seed, purpose
        self.kept: list[KeptT] = []

    def place(self, index: int) -> int | None:
        """Where thing number `index` goes, or None if it is not kept; things are numbered from 0 without gaps."""
        if index < self.capacity:
            return index
        place = int(rng(self.seed, f"reservoir {self.purpose}", index).integers(index + 1))
        return place if place < self.capacity else None

    def add(self, index: int, thing: KeptT) -> None:
        """Keep a thing, at the end or instead of another one, or not at all."""
        place = self.place(index)
        if place == len(self.kept):
            self.kept.append(thing)
        elif place is not None:
            self.kept[place] = thing


def _size(images: Tensor) -> tuple[int, int, int]:
    _, c, h, w = images.shape
    return c, h, w


def _patch_bytes(images: Tensor) -> int:
    """What the patches of one image take, in float32."""
    return len(pyramid(images[:1])) * PATCHES * images.shape[1] * PATCH**2 * 4
