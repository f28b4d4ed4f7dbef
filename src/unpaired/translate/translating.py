"""Translation of files: read ahead, translated in batches of one size, encoded in threads, written in order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unpaired.config import require
from unpaired.errors import OutputError, StorageError, UnpairedError
from unpaired.images import Image, count_slices, encode_image, is_stack, keeps_alpha
from unpaired.images.files import encode_stack
from unpaired.images.image import Array
from unpaired.storage import put_held, shown, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Job, variants_of
from unpaired.translate.lost_metadata import LostMetadata
from unpaired.translate.mask_files import MaskFiles
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.overlap import WriteQueue, num_workers, read_ahead
from unpaired.translate.precision import Choice
from unpaired.translate.reading import Reader, size_of
from unpaired.translate.sorting import Fate, Sorter
from unpaired.translate.translator import Translator

QUALITY = 95
"""The default quality of JPEG and WebP."""


@dataclass(frozen=True)
class Failure:
    """An input that could not be translated, and the error."""

    source: Path
    error: UnpairedError

    def __str__(self) -> str:
        return self.sentence(str(self.error))

    def sentence(self, reason: str) -> str:
        """Return a reason, preceded by the name of the input unless it contains that name."""
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
    lost: LostMetadata | None = None,
    reader: Reader | None = None,
    sorter: Sorter | None = None,
    masks: MaskFiles | None = None,
) -> list[Failure]:
    """Translate every job and return the failures; a bad image never stops the others.

    Neighbours of one size are translated together. Images are read and encoded in threads, and a bounded number of them
    is in memory. If the format of the target has no alpha channel, the image is composited over the background of the
    model. A stack is translated slice by slice, after the images. An image is translated once for neighbouring jobs
    that differ in strength. Raises ConfigError for an unknown direction, OutputError or StorageError if the folders
    cannot be created or the disk fails: no later image could succeed either.

    Args:
        translator: the loaded model.
        jobs: from `plan_outputs`.
        direction: "AtoB" or "BtoA".
        batch: the most images per batch, by default as many as are faster together.
        quality: that of JPEG and WebP, 1 to 100.
        keep_icc: skip the conversion of colours with an ICC profile, and copy the profile to the result.
        on_done: called once for each job, in order, when its file is written or it has failed.
        lost: counts metadata of inputs that results cannot carry (pages, a georeference, ...); without it the logger
            "unpaired" warns once for each kind.
        reader: one that has read some of the images already, e.g. in `choose_precision`.
        sorter: decides from the pixels whether a result is written, dropped, or held until all are known; without it
            all are written. It gets the translation itself, whatever the strength and the mask.
        masks: from `find_masks`; pixels where the mask of an image is black are kept.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    require(batch is None or batch >= 1, f"batch must be at least 1, not {batch}.")
    counted = LostMetadata() if lost is None else lost
    outcomes = _Outcomes(OutputFolders(job.target.parent for job in jobs), on_done, counted, sorter)
    options: dict[str, Any] = {"direction": direction, "keep_icc": keep_icc}
    if masks is not None or any(job.strength != 1 for job in jobs):
        translator.require_blending(direction)
    one_pass = _Pass(translator, reader or Reader(translator, direction), options, batch, quality, outcomes, masks)
    variants = variants_of(jobs)
    stacks = {job for job in variants if is_stack(job.source)}
    try:
        one_pass.pictures({job: all_of for job, all_of in variants.items() if job not in stacks})
        for job in variants:
            if job in stacks:
                one_pass.stack(job, variants[job])
        outcomes.release()
    finally:
        if sorter is not None:
            sorter.close()
    if lost is None:
        for sentence in counted.sentences():
            logging.getLogger("unpaired").warning(sentence)
    return outcomes.failures


class _Outcomes:
    """The outcome of each job, reported as soon as it is known."""

    def __init__(
        self,
        folders: OutputFolders,
        on_done: Callable[[Job, Failure | None], None] | None,
        lost: LostMetadata,
        sorter: Sorter | None,
    ) -> None:
        self.failures: list[Failure] = []
        self.lost = lost
        self._folders, self._on_done, self._sorter = folders, on_done, sorter
        self._fates: dict[Job, Fate] = {}

    def wants(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> bool:
        """Return whether a result is to be encoded, and store whether it is written or held."""
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
        """Write the held results that are kept."""
        for job, held in () if self._sorter is None else self._sorter.release():
            self._guarded(job, partial(put_held, held, job.target))

    def _guarded(self, job: Job, writing: Callable[[], None], *, in_place: bool = True) -> None:
        """Write a result; StorageError aborts the pass, any other UnpairedError is the failure of the job."""
        failure, folder = None, job.target.parent
        self._folders.require(folder)
        try:
            writing()
        except UnpairedError as error:
            explained = self._folders.explain(folder, error) if isinstance(error, OutputError) else error
            if isinstance(explained, StorageError):
                raise explained from None
            failure = Failure(job.source, explained)
            self.failures.append(failure)
        else:
            if not in_place:
                return
            self.lost.count(job)
        if self._on_done is not None:
            self._on_done(job, failure)


class _Pass:
    """One pass over files: read, translate, sort, encode, write."""

    def __init__(
        self,
        translator: Translator,
        reader: Reader,
        options: dict[str, Any],
        batch: int | None,
        quality: int,
        outcomes: _Outcomes,
        masks: MaskFiles | None,
    ) -> None:
        self._translator, self._reader, self._options = translator, reader, options
        self._batch, self._quality, self._outcomes, self._masks = batch, quality, outcomes, masks
        self._weight: tuple[tuple[Path, str, int], Array] | None = None  # of the last image
        self._gaps: set[Job] = set()  # jobs whose inputs declare a no-data value

    def pictures(self, jobs: Mapping[Job, Sequence[Job]]) -> None:
        """Translate pictures, by the first job of each. Raises StorageError if no further result can be written."""
        pool = ThreadPoolExecutor(num_workers(), thread_name_prefix="unpaired-files")
        # Written by this thread and not in the pool: jobs are reported in order, and nothing is written after an error.
        queue: WriteQueue[Job] = WriteQueue(pool, self._outcomes.take)
        try:
            images = read_ahead(pool, partial(self._read, jobs), jobs, size_of)
            for group in _groups(images, self._together):
                for job, given, made in _translated(self._translator, group, self._options):
                    for variant in jobs[job]:
                        self._pass_on(queue, variant, given, made)
            queue.drain()
        finally:
            pool.shutdown(cancel_futures=True)

    def stack(self, job: Job, variants: Sequence[Job]) -> None:
        """Translate all slices of a stack and write them as one file, or as one for each variant."""
        lost = self._outcomes.lost
        for variant in variants:
            lost.scan(variant)
        try:
            slices = [self._reader.slice(job, number) for number in range(count_slices(job.source))]
            made = self._translator.translate_images(slices, batch=self._batch or 1, **self._options)
            mixed = [
                [
                    self._blended(variant, *pair, page, len(slices))
                    for page, pair in enumerate(zip(slices, made, strict=True))
                ]
                for variant in variants
            ]
        except UnpairedError as error:
            for variant in variants:
                self._outcomes.take(variant, partial(_raised, error))
            return
        for variant, result in zip(variants, mixed, strict=True):
            if slices[0].nodata is not None and made[0].nodata is None:
                lost.add(variant, "no-data")
            if self._outcomes.wants(variant, slices, made):
                self._outcomes.take(variant, partial(encode_stack, variant.target, result, like=job.source))

    def _read(self, variants: Mapping[Job, Sequence[Job]], job: Job) -> Image:
        image = self._reader(job)
        for variant in variants[job]:
            self._outcomes.lost.scan(variant)
            if image.nodata is not None:
                self._gaps.add(variant)
        return image

    def _blended(self, job: Job, given: Image, made: Image, page: int = 0, pages: int = 1) -> Image:
        """Return a result in the strength of its job and with the mask of its image. Raises ImageError."""
        if self._masks is None and job.strength == 1:
            return made
        weight = None
        if self._masks is not None:
            key = job.source, job.half, page
            if self._weight is None or self._weight[0] != key:  # the variants of an image share it
                self._weight = key, self._masks.weight(job, given, page, pages)
            weight = self._weight[1]
        return self._translator.blend(given, made, strength=job.strength, weight=weight, **self._options)

    def _together(self, image: Image) -> int:
        return self._batch or self._translator.faster_together(image, self._options["direction"])

    def _pass_on(self, queue: WriteQueue[Job], job: Job, given: Image | None, made: Image | UnpairedError) -> None:
        """Queue a result for encoding if it is to be written; a failure takes its place in the order."""
        if given is None or isinstance(made, UnpairedError):
            assert isinstance(made, UnpairedError)
            queue.add_failure(job, made)
            return
        if job in self._gaps and made.nodata is None:
            self._outcomes.lost.add(job, "no-data")
        info = self._translator.info
        span = info.values[self._options["direction"][-1]].range.bounds
        try:
            result = self._blended(job, given, made)
            flat = result if keeps_alpha(job.target.suffix) else result.over(info.background, span)
        except UnpairedError as error:
            queue.add_failure(job, error)
            return
        if self._outcomes.wants(job, [given], [flat if result is made else made]):
            queue.add(job, partial(self._encoded, job, flat), size_of(flat))

    def _encoded(self, job: Job, flat: Image) -> bytes:
        # Metadata such as a georeference describes the whole file, not its half.
        like = job.source if not job.half or job.target.suffix == ".webp" else None
        return encode_image(job.target, flat, quality=self._quality, like=like)


def _raised(error: UnpairedError) -> bytes:
    raise error


_Group = list[tuple[Job, Image | UnpairedError]]


def _groups(read: Iterator[tuple[Job, Image | UnpairedError]], batch: Callable[[Image], int]) -> Iterator[_Group]:
    """Yield neighbours of one size together, at most `batch` of them, and unreadable files in between."""
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
        if group:  # now, so that failures are reported as they occur
            yield group
            group = []
        yield [(job, image)]
    if group:
        yield group


def _translated(
    translator: Translator, group: _Group, options: dict[str, Any]
) -> Iterator[tuple[Job, Image | None, Image | UnpairedError]]:
    """Translate a group as one batch, or one by one if that fails, so that only the culprit is reported.

    Yields each job with its image, None if it could not be read, and its result or error.
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

    Only "auto" is resolved; a requested precision stands. Few images are translated in fp32, as the comparison would
    take longer than it saves; so are all images if none of the first ones can decide. All processes that share the jobs
    make the same choice. Raises ConfigError for an unknown direction.

    Args:
        translator: the loaded model.
        jobs: from `plan_outputs`.
        direction: "AtoB" or "BtoA".
        keep_icc: as for `translate_files`.
        reader: caches the images that it reads, for `translate_files`.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    reader = reader or Reader(translator, direction)
    pictures = [job for job in jobs if not is_stack(job.source)]

    def inspect(job: Job) -> Choice | None:
        with contextlib.suppress(UnpairedError):  # reported when it is translated
            image = reader.peek(job)
            if translator.is_coarse(image, direction):
                return translator.choose(image, direction=direction, keep_icc=keep_icc)
        return None

    return translator.policy.for_files(direction, pictures, inspect, stacks=len(pictures) < len(jobs))
