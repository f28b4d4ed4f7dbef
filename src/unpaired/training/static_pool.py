"""An image pool at a fixed address in a device's memory, whose draws precede their images.

Draws are indexed by the number of images seen, so they are known before a step: the host writes them to device memory,
and the step only reads and writes the drawn slots, which a CUDA graph can capture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unpaired.objectives.pool import ImagePool


class StaticPool(ImagePool):
    """The same pool as an `ImagePool`, for batches of `batch_size` images of one size and type.

    Call `draw` before a step, and after it `commit`, or `undo` to discard the step.
    """

    def __init__(self, pool: ImagePool, batch_size: int, device: torch.device) -> None:
        self._storage: Tensor | None = None
        self._held = 0
        self._unkept = max(pool.size, len(pool.images))  # a slot after the others, for images that are not kept
        self._slots = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self._exchanged = torch.zeros(batch_size, dtype=torch.bool, device=device)
        self._displaced: list[Tensor] = []
        self._asked = 0  # images of this step so far, which may come in micro-batches
        self._queried = False
        super().__init__(pool.size, seed=pool.seed, name=pool.name, alternating=pool.alternating)
        self.restore(pool.images, pool.num_seen)

    @property
    def images(self) -> list[Tensor]:
        """Copies of the stored images, in the order of their slots."""
        return [] if self._storage is None else [image.clone() for image in self._storage[: self._held]]

    @images.setter
    def images(self, images: list[Tensor]) -> None:
        self._held = len(images)
        if images and self._storage is None:
            self._storage = images[0].new_zeros(self._unkept + 1, *images[0].shape)
        for slot, image in enumerate(images):
            assert self._storage is not None
            self._storage[slot].copy_(image)

    def draw(self) -> None:
        """Draw for the images of the next step, in their order."""
        held, slots, exchanged = self._held, [], []
        for number in range(self.num_seen, self.num_seen + len(self._slots)):
            slot, exchange = self.choose(number, held)
            held += slot is not None and not exchange
            slots.append(self._unkept if slot is None else slot)
            exchanged.append(exchange)
        self._slots.copy_(torch.tensor(slots))
        self._exchanged.copy_(torch.tensor(exchanged))
        self._next = held, self.num_seen + len(slots)

    def query(self, images: Tensor) -> Tensor:
        """Return a batch as large as `images`, as `ImagePool.query` does, with the draws of `draw`.

        A step queries as many images as were drawn for, at once or in micro-batches.
        """
        self._queried = True
        images = images.detach()
        if self._storage is None:
            self._storage = images.new_zeros(self._unkept + 1, *images.shape[1:])
        if (images.shape[1:], images.dtype) != (self._storage.shape[1:], self._storage.dtype):
            raise RuntimeError("the image pool holds images of another size or type than are made now")
        if self._asked == 0:
            self._displaced = []
        shown = []
        # One after another, as an image may be exchanged for one before it.
        for index, image in enumerate(images, self._asked):
            slot = self._slots[index : index + 1]
            stored = self._storage.index_select(0, slot)
            self._storage.index_copy_(0, slot, image[None])
            self._displaced.append(stored)
            shown.append(torch.where(self._exchanged[index], stored[0], image))
        self._asked = (self._asked + len(images)) % len(self._slots)
        return torch.stack(shown)

    def commit(self) -> None:
        """Count the images that the step has shown to the pool, if it has."""
        if self._queried:
            self._held, self.num_seen = self._next

    def undo(self) -> None:
        """Restore the images that the step displaced, the last one first; nothing was counted yet."""
        if self._storage is not None and self._queried:
            for index in reversed(range(len(self._displaced))):
                self._storage.index_copy_(0, self._slots[index : index + 1], self._displaced[index])
