"""The history of generated images, also called replay buffer (Shrivastava et al. 2017; CycleGAN section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unpaired import ranks
from unpaired.randomness import rng


class ImagePool:
    """Replay buffer: returns a mixture of new and earlier generated images for a discriminator.

    Until `size` images are stored, each new image is stored and returned. After that, with probability 1/2 the new
    image is returned unchanged; otherwise a random stored image is returned and replaced by the new one. The decision
    is independent for each image of a batch (CycleGAN section 4). If `alternating`, every second image is exchanged
    instead: half of an even batch, and every second batch of one image (Shrivastava et al. 2017, section 2.3). Random
    numbers are indexed by the number of images seen, so the state of the pool is its images and that number. `size` 0
    returns every image unchanged.
    """

    def __init__(self, size: int, *, seed: int, name: str, alternating: bool = False) -> None:
        self.size = size
        self.alternating = alternating
        self.images: list[Tensor] = []
        self.num_seen = 0
        self.seed, self.name = seed, name

    def query(self, images: Tensor) -> Tensor:
        """Return a batch of the size of `images` (n c h w), detached; it shares no memory with stored images."""
        if self.size == 0:
            return images.detach()
        # Every rank holds the same pool and queries it for the images of all ranks, like a single process.
        images = ranks.all_gather(images)
        return torch.stack(ranks.own_shard([self._exchange(image) for image in images.detach()]))

    def choose(self, number: int, num_held: int) -> tuple[int | None, bool]:
        """Return the random decision for the image `number` (0, 1, ...) of all queries, if `num_held` are stored.

        Returns the slot to store the image in, None if it is not stored, and whether the image of that slot is
        returned instead.
        """
        if num_held < self.size:
            return num_held, False
        draw = rng(self.seed, f"pool {self.name}", number)
        stays = number % 2 == 0 if self.alternating else draw.random() < 0.5
        return (None, False) if stays else (int(draw.integers(self.size)), True)

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
        """Return the stored images in slot order, c h w each; their sizes may differ."""
        return [image.clone() for image in self.images]

    def restore(self, images: Sequence[Tensor], num_seen: int) -> None:
        """Restore the images returned by `state`, and the number of images seen until then."""
        self.images = [image.clone() for image in images]
        self.num_seen = num_seen
