"""The history of generated images, also called the replay buffer (Shrivastava et al. 2017; CycleGAN section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.randomness import rng


class ImagePool:
    """Shows a discriminator a mixture of new and earlier generated images.

    Until `size` images are held, each new image is stored and returned. After that, with probability 1/2 the new
    image is returned as it is, and otherwise a uniformly chosen stored image is returned and replaced by the new
    one. Each image of a batch is drawn for on its own. Draws are indexed by the number of images seen, so the
    pool's state is its images and that number. `size` 0 returns every image as it came.
    """

    def __init__(self, size: int, *, seed: int, name: str) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self.num_seen = 0
        self._seed = seed
        self._purpose = f"pool {name}"

    def query(self, images: Tensor) -> Tensor:
        """Return a batch as large as `images` (n c h w): detached, and never sharing memory with what is stored."""
        if self.size == 0:
            return images.detach()
        # Every rank holds the same pool and draws for the images of all, so it is that of a single process.
        images = ranks.gathered(images)
        return torch.stack(ranks.own_part([self._exchange(image) for image in images.detach()]))

    def _exchange(self, image: Tensor) -> Tensor:
        draw = rng(self._seed, self._purpose, self.num_seen)
        self.num_seen += 1
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if draw.random() < 0.5:
            return image
        slot = int(draw.integers(self.size))
        stored, self.images[slot] = self.images[slot], image.clone()
        return stored

    def state(self) -> list[Tensor]:
        """Return the stored images in order, c h w each; their sizes may differ."""
        return [image.clone() for image in self.images]

    def restore(self, images: Sequence[Tensor], num_seen: int) -> None:
        """Put back what `state` returned and the number of images seen by then."""
        self.images = [image.clone() for image in images]
        self.num_seen = num_seen
