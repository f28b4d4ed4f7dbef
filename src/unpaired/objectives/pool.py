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
        self.seed, self.name = seed, name

    def query(self, images: Tensor) -> Tensor:
        """Return a batch as large as `images` (n c h w): detached, and never sharing memory with what is stored."""
        if self.size == 0:
            return images.detach()
        # Every rank holds the same pool and draws for the images of all, so it is that of a single process.
        images = ranks.all_gather(images)
        return torch.stack(ranks.own_shard([self._exchange(image) for image in images.detach()]))

    def choose(self, number: int, num_held: int) -> tuple[int | None, bool]:
        """Draw for image `number` (0, 1, ...) of all the pool is asked about, when it holds `num_held`.

        Returns the slot that the image goes to, None where it is not kept, and whether it is exchanged for the image
        that is stored there.
        """
        if num_held < self.size:
            return num_held, False
        draw = rng(self.seed, f"pool {self.name}", number)
        return (None, False) if draw.random() < 0.5 else (int(draw.integers(self.size)), True)

    def _exchange(self, image: Tensor) -> Tensor:
        slot, exchanged = self.choose(self.num_seen, len(self.images))
        self.num_seen += 1
        if slot is None:
            return image
        if not exchanged:
            self.images.append(image.clone())
            return image
        stored, self.images[slot] = self.images[slot], image.clone()
        return stored

    def state(self) -> list[Tensor]:
        """Return the stored images in order, c h w each; their sizes may differ."""
        return [image.clone() for image in self.images]

    def restore(self, images: Sequence[Tensor], num_seen: int) -> None:
        """Put back what `state` returned and the number of images seen by then."""
        self.images = [image.clone() for image in images]
        self.num_seen = num_seen
