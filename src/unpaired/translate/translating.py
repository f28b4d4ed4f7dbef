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
from unpaired.images import Image, count_slices, encode_image, is_stack, keeps_alpha
from unpaired.images.files import encode_stack
from unpaired.storage import put_held, shown, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Job
from unpaired.translate.lost_metadata import Losses
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.overlap import Behind, num_workers, read_ahead
from unpaired.translate.precision import Choice
from unpaired.translate.reading import Reader, size_of
from unpaired.translate.sorting import Fate, Sorter
from unpaired.translate.translator import Translator

QUALITY = 95
"""That of JPEG and WebP unless asked for otherwise."""


@dataclass(frozen=True)
class Failure:
    """One input that could not be translated, and the error that says why."""

    source: Path
    error: UnpairedError

    def __str__(self) -> str:
        return self.sentence(str(self.error))

    def sentence(self, reason: str) -> str:
        """Return a reason with the name of the input before it, if it does not name it."""
        name, reason = shown(self.source), shown(reason)
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
    sorter: Sorter | None = None,
) -> list[Failure]:
    """Translate every job and return those that failed; one bad image never stops the others.

    Neighbours of one size are translated up to `batch` together, by default as many as are faster together. Images are
    read and encoded in threads meanwhile, a bounded number of them. Transparency is laid over the background of
    the model where the format of the target has none. A stack is translated slice by slice, after the images.
    keep_icc: take colours with an ICC profile as they are and give the profile to the result. `on_done` is called once
    a job, in order, when its file is there or has failed. losses: where to count what results cannot carry of their
    inputs (pages, a georeference, ...); without it the logger "unpaired" warns of that, once a kind.
    reader: one that has read some of the images already, as `choose_precision` does. sorter: decides by its pixels
    whether a result is written, or not, or only once all are known; without it all are written.
    Raises ConfigError for an unknown direction, OutputError or StorageError where the folders cannot be made
    or the disk fails: then no later image could succeed either.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    require(batch is None or batch >= 1, f"batch must be at least 1, not {batch}.")
    counted = Losses() if losses is None else losses
    outcomes = _Outcomes(OutputFolders(job.target.parent for job in jobs), on_done, counted, sorter)
    options: dict[str, Any] = {"direction": direction, "keep_icc": keep_icc}
    one_pass = _Pass(translator, reader or Reader(translator), options, batch, quality, outcomes)
    stacks = {job for job in jobs if is_stack(job.source)}
    try:
        one_pass.pictures([job for job in jobs if job not in stacks])
        for job in jobs:
            if job in stacks:
                one_pass.stack(job)
        outcomes.release()
    finally:
        if sorter is not None:
            sorter.close()
    if losses is None:
        for sentence in counted.sentences():
            logging.getLogger("unpaired").warning(sentence)
    return outcomes.failures


class _Outcomes:
    """What became of each job, told as it is known."""

    def __init__(
        self,
        folders: OutputFolders,
        on_done: Callable[[Job, Failure | None], None] | None,
        losses: Losses,
        sorter: Sorter | None,
    ) -> None:
        self.failures: list[Failure] = []
        self.losses = losses
        self._folders, self._on_done, self._sorter = folders, on_done, sorter
        self._fates: dict[Job, Fate] = {}

    def wants(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> bool:
        """Return whether a result is to be encoded, and remember whether it is written or held."""
        fate: Fate = "write" if self._sorter is None else self._sorter.fate(job, given, made)
        if fate == "hold":
            self._fates[job] = fate
        return fate != "drop"

    def take(self, job: Job, bytes_of: Callable[[], bytes]) -> None:
        """Write a result, or hold it; `bytes_of` returns its encoded bytes or raises."""
        if self._sorter is not None and self._fates.pop(job, "write") == "hold":
            hold = self._sorter.hold
            self._guarded(job, lambda: hold(job, bytes_of()), in_place=False)
        else:
            self._guarded(job, lambda: write_bytes(job.target, bytes_of()))

    def release(self) -> None:
        """Write what is held and to be written after all."""
        for job, held in () if self._sorter is None else self._sorter.release():
            self._guarded(job, partial(put_held, held, job.target))

    def _guarded(self, job: Job, writing: Callable[[], None], *, in_place: bool = True) -> None:
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
            if not in_place:
                return
            self.losses.count(job)
        if self._on_done is not None:
            self._on_done(job, failure)


class _Pass:
    """One pass over files: read, translated, sorted, encoded, written."""

    def __init__(
        self,
        translator: Translator,
        reader: Reader,
        options: dict[str, Any],
        batch: int | None,
        quality: int,
        outcomes: _Outcomes,
    ) -> None:
        self._translator, self._reader, self._options = translator, reader, options
        self._batch, self._quality, self._outcomes = batch, quality, outcomes
        self._gaps: set[Job] = set()  # whose inputs declare no data

    def pictures(self, jobs: Sequence[Job]) -> None:
        """Translate jobs of one picture each. Raises StorageError where no result can be written any more."""
        pool = ThreadPoolExecutor(num_workers(), thread_name_prefix="unpaired-files")
        # Written by this thread and not in the pool: in order, so that what is told of a job is so, and nothing comes
        # after.
        behind: Behind[Job] = Behind(pool, self._outcomes.take)
        try:
            images = read_ahead(pool, self._read, jobs, size_of)
            for group in _groups(images, self._together):
                for job, given, made in _translated(self._translator, group, self._options):
                    self._pass_on(behind, job, given, made)
            behind.drain()
        finally:
            pool.shutdown(cancel_futures=True)

    def stack(self, job: Job) -> None:
        """Translate all slices of a stack and write them as one."""
        losses = self._outcomes.losses
        losses.look(job)
        try:
            slices = [self._reader.slice(job, number) for number in range(count_slices(job.source))]
            made = self._translator.translate_images(slices, batch=self._batch or 1, **self._options)
        except UnpairedError as error:
            self._outcomes.take(job, partial(_raised, error))
            return
        if slices[0].nodata is not None and made[0].nodata is None:
            losses.lacks(job, "no-data")
        if self._outcomes.wants(job, slices, made):
            self._outcomes.take(job, partial(encode_stack, job.target, made, like=job.source))

    def _read(self, job: Job) -> Image:
        image = self._reader(job)
        self._outcomes.losses.look(job)
        if image.nodata is not None:
            self._gaps.add(job)
        return image

    def _together(self, image: Image) -> int:
        return self._batch or self._translator.faster_together(image, self._options["direction"])

    def _pass_on(self, behind: Behind[Job], job: Job, given: Image | None, made: Image | UnpairedError) -> None:
        """Hand a result to the threads that encode, if it is to be written; a failure takes its place in the order."""
        if given is None or isinstance(made, UnpairedError):
            assert isinstance(made, UnpairedError)
            behind.add_failure(job, made)
            return
        if job in self._gaps and made.nodata is None:
            self._outcomes.losses.lacks(job, "no-data")
        info = self._translator.info
        span = info.values[self._options["direction"][-1]].range.bounds
        try:
            flat = made if keeps_alpha(job.target.suffix) else made.over(info.background, span)
        except UnpairedError as error:
            behind.add_failure(job, error)
            return
        if self._outcomes.wants(job, [given], [flat]):
            behind.add(job, partial(self._encoded, job, flat), size_of(flat))

    def _encoded(self, job: Job, flat: Image) -> bytes:
        # What else a file holds, such as where on the map it lies, is that of the whole, not of its half.
        like = job.source if not job.half or job.target.suffix == ".webp" else None
        return encode_image(job.target, flat, quality=self._quality, like=like)


def _raised(error: UnpairedError) -> bytes:
    raise error


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
) -> Iterator[tuple[Job, Image | None, Image | UnpairedError]]:
    """Translate a group at once, or one by one where that fails, so that only the culprit is reported.

    Yields each job with its image, None if it could not be read, and its result or its error.
    """
    images = [image for _, image in group if isinstance(image, Image)]
    together: Iterator[Image] | None = None
    with contextlib.suppress(UnpairedError):
        together = iter(translator.translate_images(images, batch=max(1, len(images)), **options))
    for job, image in group:
        if not isinstance(image, Image):
            yield job, None, image
        elif together is not None:
            yield job, image, next(together)
        else:
            yield job, image, _alone(translator, image, options)


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
