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
    MAX_PIXELS,
    Image,
    count_slices,
    encode_image,
    is_stack,
    keeps_alpha,
    read_image,
    write_stack,
)
from unpaired.storage import shown, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Job
from unpaired.translate.lost_metadata import Losses
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.overlap import Behind, num_workers, read_ahead
from unpaired.translate.precision import ASKED_FOR, Choice
from unpaired.translate.sheets import input_half
from unpaired.translate.translator import Translator

QUALITY = 95
"""That of JPEG and WebP unless asked for otherwise."""

_PIXELS_AT_ONCE = {"cpu": 2**14, "cuda": 2**21}  # what a batch makes faster: small images, and a GPU
_MOST_AT_ONCE = 32
_LOOKED_AT = 8  # images at the beginning among which one is looked for that says whether bf16 is near enough
_WORTH_CHECKING = 3  # images from which bf16 saves more time than comparing it with fp32 takes


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
) -> list[Failure]:
    """Translate every job and return those that failed; one bad image never stops the others.

    Neighbours of one size are translated up to `batch` together, by default as many as are faster together. Images are
    read and encoded in threads meanwhile, a bounded number of them. Transparency is laid over the background of
    the model where the format of the target has none. A stack is translated slice by slice, after the images.
    keep_icc: take colours with an ICC profile as they are and give the profile to the result. `on_done` is called once
    a job, in order, when its file is there or has failed. losses: where to count what results cannot carry of their
    inputs (pages, a georeference, ...); without it the logger "unpaired" warns of that, once a kind.
    Raises ConfigError for an unknown direction, OutputError or StorageError where the folders cannot be made
    or the disk fails: then no later image could succeed either.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    require(batch is None or batch >= 1, f"batch must be at least 1, not {batch}.")
    counted = Losses() if losses is None else losses
    outcomes = _Outcomes(OutputFolders(job.target.parent for job in jobs), on_done, counted)
    options: dict[str, Any] = {"direction": direction, "keep_icc": keep_icc}
    stacks = {job for job in jobs if is_stack(job.source)}
    _translate_images(translator, [job for job in jobs if job not in stacks], options, batch, quality, outcomes)
    for job in jobs:
        if job in stacks:
            counted.look(job)
            outcomes.of(job, partial(_translate_stack, translator, job, options, batch or 1, counted))
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
        image = _read(translator, job)
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
        images = read_ahead(pool, read, jobs, _bytes)
        for group in _groups(images, lambda image: batch or _batch(translator, image, options["direction"])):
            for job, made in _translated(translator, group, options):
                if isinstance(made, UnpairedError):
                    behind.add_failure(job, made)
                else:
                    if job in gaps and made.nodata is None:
                        outcomes.losses.lacks(job, "no-data")
                    behind.add(job, partial(encoded, job, made), _bytes(made))
        behind.drain()
    finally:
        pool.shutdown(cancel_futures=True)


def _translate_stack(translator: Translator, job: Job, options: dict[str, Any], batch: int, losses: Losses) -> None:
    """Translate all slices of a stack and write them as one."""
    frames = range(count_slices(job.source))
    slices = [read_image(job.source, max_pixels=_limit(translator), frame=frame) for frame in frames]
    made = translator.translate_images(slices, batch=batch, **options)
    if slices[0].nodata is not None and made[0].nodata is None:
        losses.lacks(job, "no-data")
    write_stack(job.target, made, like=job.source)


def _read(translator: Translator, job: Job) -> Image:
    return input_half(read_image(job.source, max_pixels=_limit(translator)), job)


def _limit(translator: Translator) -> int:
    """Return the pixels beyond which no image is decoded, as it would not be translated."""
    return MAX_PIXELS if translator.max_pixels is None else min(MAX_PIXELS, translator.max_pixels)


def _bytes(image: Image) -> int:
    return image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)


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


def _batch(translator: Translator, image: Image, direction: str) -> int:
    """Return how many images like this one are faster together.

    In fp32 on a processor one: it gains little, and the last bits of a result could depend on its neighbours.
    """
    chosen = translator.settled(direction)
    exact = chosen is None or chosen.precision == "fp32" or not translator.is_coarse(image, direction)
    if translator.device.type == "cpu" and exact:
        return 1
    return max(1, min(_MOST_AT_ONCE, _PIXELS_AT_ONCE.get(translator.device.type, 1) // (image.height * image.width)))


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
    translator: Translator, jobs: Sequence[Job], *, direction: str = "AtoB", keep_icc: bool = False
) -> Choice:
    """Return the precision for the 8-bit images among the jobs, decided by the first that can be translated.

    Under "auto" only: what the translator was asked for stands. Few images are translated in fp32, as comparing would
    take longer; so are all where none of the first can decide. Raises ConfigError for an unknown direction.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    pictures = [job for job in jobs if not is_stack(job.source)]
    if translator.precision != "auto":
        return Choice(translator.precision, ASKED_FOR)
    reason = f"comparing bf16 with it pays from {_WORTH_CHECKING} images on"
    if jobs and not pictures:
        reason = "as all slices of stacks"
    if len(pictures) >= _WORTH_CHECKING:
        reason = f"no result of 8 bits among the first {_LOOKED_AT} images"
        for job in pictures[:_LOOKED_AT]:
            with contextlib.suppress(UnpairedError):  # translating it will say what is wrong
                image = _read(translator, job)
                if translator.is_coarse(image, direction):
                    return translator.choose(image, direction=direction, keep_icc=keep_icc)
    exact = Choice("fp32", reason)
    translator.settle(direction, exact)
    return exact
