"""Reading the images of jobs, each once, also those that decide something before the others are translated."""

from __future__ import annotations

from collections.abc import Iterable

from unpaired.images import MAX_PIXELS, Image, read_image
from unpaired.translate.jobs import Job
from unpaired.translate.overlap import ROOM
from unpaired.translate.sheets import input_half
from unpaired.translate.translator import Translator


class Reader:
    """Reads the image of a job, or the half that it takes.

    What `look` has read is kept until it is read in its turn, or left by `keep`: the last image whatever its size, and
    others as long as all of them take no more than ROOM bytes.
    """

    def __init__(self, translator: Translator) -> None:
        most = translator.max_pixels
        self.max_pixels = MAX_PIXELS if most is None else min(MAX_PIXELS, most)
        self._kept: dict[Job, Image] = {}

    def look(self, job: Job) -> Image:
        """Read an image ahead of its turn. Raises as `__call__` does."""
        image = self._kept[job] if job in self._kept else self(job)
        while self._kept and size_of(image) + sum(map(size_of, self._kept.values())) > ROOM:
            self._kept.pop(next(iter(self._kept)))
        self._kept[job] = image
        return image

    def keep(self, jobs: Iterable[Job]) -> None:
        """Let go of images that belong to none of these jobs, as nobody will read them."""
        wanted = set(jobs)
        self._kept = {job: image for job, image in self._kept.items() if job in wanted}

    def __call__(self, job: Job) -> Image:
        """Return the image of a job; safe to call from several threads. Raises ImageError and its like."""
        kept = self._kept.pop(job, None)
        return input_half(read_image(job.source, max_pixels=self.max_pixels), job) if kept is None else kept

    def slice(self, job: Job, number: int) -> Image:
        """Return a slice of a stack. Raises as `__call__` does."""
        return read_image(job.source, max_pixels=self.max_pixels, frame=number)


def size_of(image: Image) -> int:
    """Return the bytes that an image takes in memory."""
    return image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)
