"""Translating files: read ahead, translated in batches of one size, encoded behind, written in order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unpaired.config import require
from unpaired.errors import OutputError, StorageError, UnpairedError
from unpaired.images import (
    Image,
    count_slices,
    encode_image,
    is_stack,
    keeps_alpha,
    write_stack,
)
from unpaired.storage import shown, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Job
from unpaired.translate.lost_metadata import Losses
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.overlap import Behind, num_workers, read_ahead
from unpaired.translate.precision import Choice
from unpaired.translate.reading import Reader, size_of
from unpaired.translate.translator import Translator

QUALITY = 95
"""That of JPEG and WebP unless asked for otherwise."""


@dataclass(frozen=True)
class Failure:
    """One input that could not be translated, and the error that says why."""

    source: Path
    error: UnpairedError

    def __str__(self) -> str:
        name, reason = shown(self.source), shown(self.error)
        return reason if name in reason else f"{name}: {reason}"


def translate_files(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    direction: str = "AtoB",
    batch: int | None = None,
    quality: int = QUALITY,
    keep_icc: bool = False,
    on_done: Callable[[Job, Failure | None], None] | None = None,
    losses: Losses | None = None,
    reader: Reader | None = None,
) -> list[Failure]:
    """Translate every job and return those that failed; one bad image never stops the others.

    Neighbours of one size are translated up to `batch` together, by default as many as are faster together. Images are
    read and encoded in threads meanwhile, a bounded number of them. Transparency is laid over the background of
    the model where the format of the target has none. A stack is translated slice by slice, after the images.
    keep_icc: take colours with an ICC profile as they are and give the profile to the result. `on_done` is called once
    a job, in order, when its file is there or has failed. losses: where to count what results cannot carry of their
    inputs (pages, a georeference, ...); without it the logger "unpaired" warns of that, once a kind.
    reader: one that has read some of the images already, as `choose_precision` does.
    Raises ConfigError for an unknown direction, OutputError or StorageError where the folders cannot be made
    or the disk fails: then no later image could succeed either.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    require(batch is None or batch >= 1, f"batch must be at least 1, not {batch}.")
    counted = Losses() if losses is None else losses
    reader = reader or Reader(translator)
    outcomes = _Outcomes(OutputFolders(job.target.parent for job in jobs), on_done, counted)
    options: dict[str, Any] = {"direction": direction, "keep_icc": keep_icc}
    stacks = {job for job in jobs if is_stack(job.source)}
    pictures = [job for job in jobs if job not in stacks]
    _translate_images(translator, pictures, reader, options, batch, quality, outcomes)
    for job in jobs:
        if job in stacks:
            counted.look(job)
            outcomes.of(job, partial(_translate_stack, translator, job, reader, options, batch or 1, counted))
    if losses is None:
        for sentence in counted.sentences():
            logging.getLogger("unpaired").warning(sentence)
    return outcomes.failures


class _Outcomes:
    """What became of each job, told as it is known."""

    def __init__(
        self, folders: OutputFolders, on_done: Callable[[Job, Failure | None], None] | None, losses: Losses
    ) -> None:
        self.failures: list[Failure] = []
        self.losses = losses
        self._folders, self._on_done = folders, on_done

    def of(self, job: Job, writing: Callable[[], None]) -> None:
        """Write a result; StorageError ends everything, and any other error of ours is that of the job."""
        failure, folder = None, job.target.parent
        self._folders.require(folder)
        try:
            writing()
        except UnpairedError as error:
            told = self._folders.explain(folder, error) if isinstance(error, OutputError) else error
            if isinstance(told, StorageError):
                raise told from None
            failure = Failure(job.source, told)
            self.failures.append(failure)
        else:
            self.losses.count(job)
        if self._on_done is not None:
            self._on_done(job, failure)


def _translate_images(
    translator: Translator,
    jobs: Sequence[Job],
    reader: Reader,
    options: dict[str, Any],
    batch: int | None,
    quality: int,
    outcomes: _Outcomes,
) -> None:
    background = translator.info.background
    span = translator.info.values[options["direction"][-1]].range.bounds

    def encoded(job: Job, made: Image) -> bytes:
        flat = made if keeps_alpha(job.target.suffix) else made.over(background, span)
        # What else a file holds, such as where on the map it lies, is that of the whole, not of its half.
        like = job.source if not job.half or job.target.suffix == ".webp" else None
        return encode_image(job.target, flat, quality=quality, like=like)

    gaps: set[Job] = set()  # whose inputs declare no data

    def read(job: Job) -> Image:
        image = reader(job)
        outcomes.losses.look(job)
        if image.nodata is not None:
            gaps.add(job)
        return image

    # Written here and not in the threads: in order, so that what is told of a job is so, and nothing comes after.
    def finish(job: Job, bytes_of: Callable[[], bytes]) -> None:
        outcomes.of(job, lambda: write_bytes(job.target, bytes_of()))

    pool = ThreadPoolExecutor(num_workers(), thread_name_prefix="unpaired-files")
    behind: Behind[Job] = Behind(pool, finish)
    try:
        images = read_ahead(pool, read, jobs, size_of)
        for group in _groups(images, lambda image: batch or translator.faster_together(image, options["direction"])):
            for job, made in _translated(translator, group, options):
                if isinstance(made, UnpairedError):
                    behind.add_failure(job, made)
                else:
                    if job in gaps and made.nodata is None:
                        outcomes.losses.lacks(job, "no-data")
                    behind.add(job, partial(encoded, job, made), size_of(made))
        behind.drain()
    finally:
        pool.shutdown(cancel_futures=True)


def _translate_stack(
    translator: Translator, job: Job, reader: Reader, options: dict[str, Any], batch: int, losses: Losses
) -> None:
    """Translate all slices of a stack and write them as one."""
    slices = [reader.slice(job, number) for number in range(count_slices(job.source))]
    made = translator.translate_images(slices, batch=batch, **options)
    if slices[0].nodata is not None and made[0].nodata is None:
        losses.lacks(job, "no-data")
    write_stack(job.target, made, like=job.source)


_Group = list[tuple[Job, Image | UnpairedError]]


def _groups(read: Iterator[tuple[Job, Image | UnpairedError]], batch: Callable[[Image], int]) -> Iterator[_Group]:
    """Yield neighbours of one size together, at most `batch` of them, and what could not be read between them."""
    group: _Group = []
    size: tuple[int, ...] = ()
    most = 0
    for job, image in read:
        if isinstance(image, Image):
            if group and (len(group) == most or size != image.pixels.shape[:2]):
                yield group
                group = []
            size, most = image.pixels.shape[:2], batch(image)
            group.append((job, image))
            continue
        if group:  # now, so that failures are told of as they come, however many there are
            yield group
            group = []
        yield [(job, image)]
    if group:
        yield group


def _translated(
    translator: Translator, group: _Group, options: dict[str, Any]
) -> Iterator[tuple[Job, Image | UnpairedError]]:
    """Translate a group at once, or one by one where that fails, so that only the culprit is reported."""
    images = [image for _, image in group if isinstance(image, Image)]
    together: Iterator[Image] | None = None
    with contextlib.suppress(UnpairedError):
        together = iter(translator.translate_images(images, batch=max(1, len(images)), **options))
    for job, image in group:
        if not isinstance(image, Image):
            yield job, image
        elif together is not None:
            yield job, next(together)
        else:
            yield job, _alone(translator, image, options)


def _alone(translator: Translator, image: Image, options: dict[str, Any]) -> Image | UnpairedError:
    try:
        (made,) = translator.translate_images([image], **options)
    except UnpairedError as error:
        return error
    return made


def choose_precision(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    direction: str = "AtoB",
    keep_icc: bool = False,
    reader: Reader | None = None,
) -> Choice:
    """Return the precision for the 8-bit images among the jobs, decided by the first that can be translated.

    Under "auto" only: what the translator was asked for stands. Few images are translated in fp32, as comparing would
    take longer; so are all where none of the first can decide. Several processes that share the jobs decide alike.
    reader: keeps what it reads for `translate_files`. Raises ConfigError for an unknown direction.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    reader = reader or Reader(translator)
    pictures = [job for job in jobs if not is_stack(job.source)]

    def look(job: Job) -> Choice | None:
        with contextlib.suppress(UnpairedError):  # translating it will say what is wrong
            image = reader.look(job)
            if translator.is_coarse(image, direction):
                return translator.choose(image, direction=direction, keep_icc=keep_icc)
        return None

    return translator.policy.of_files(direction, pictures, look, stacks=len(pictures) < len(jobs))
