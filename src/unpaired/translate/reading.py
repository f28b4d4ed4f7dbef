"""Reading of the images of jobs, each once, even if it is needed earlier to decide on a precision."""

from __future__ import annotations

from collections.abc import Iterable

from unpaired.images import MAX_PIXELS, Image
from unpaired.images.files import read_image_if
from unpaired.translate.jobs import Job
from unpaired.translate.overlap import ROOM
from unpaired.translate.sheets import input_half
from unpaired.translate.translator import Translator


class Reader:
    """Reads the image of a job, or the half that the job names; one too large to translate is not decoded.

    Images read by `peek` are cached until they are read in turn or dropped by `keep`: the last one whatever its size,
    and others up to ROOM bytes in all.
    """

    def __init__(self, translator: Translator, direction: str = "AtoB") -> None:
        """direction: that of the translation."""
        self._translator, self._direction = translator, direction
        most = translator.max_pixels
        self.max_pixels = MAX_PIXELS if most is None else min(MAX_PIXELS, most)
        self._kept: dict[Job, Image] = {}

    def peek(self, job: Job) -> Image:
        """Read an image before its turn. Raises as `__call__` does."""
        image = self._kept[job] if job in self._kept else self(job)
        while self._kept and size_of(image) + sum(map(size_of, self._kept.values())) > ROOM:
            self._kept.pop(next(iter(self._kept)))
        self._kept[job] = image
        return image

    def keep(self, jobs: Iterable[Job]) -> None:
        """Drop cached images of all other jobs."""
        wanted = set(jobs)
        self._kept = {job: image for job, image in self._kept.items() if job in wanted}

    def __call__(self, job: Job) -> Image:
        """Return the image of a job. Thread-safe. Raises ImageError and its subclasses."""
        kept = self._kept.pop(job, None)
        return input_half(self._read(job, 0), job) if kept is None else kept

    def slice(self, job: Job, number: int) -> Image:
        """Return a slice of a stack. Raises as `__call__` does."""
        return self._read(job, number)

    def _read(self, job: Job, frame: int) -> Image:
        def refuse(width: int, height: int) -> None:
            self._translator.refuse_large(width // 2 if job.half else width, height, self._direction)

        return read_image_if(job.source, refuse, max_pixels=self.max_pixels, frame=frame)


def size_of(image: Image) -> int:
    """Return the memory of an image in bytes."""
    return image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)
