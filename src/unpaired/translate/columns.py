"""Batches of images as columns of arrays, as Ray Data, Dask and Spark pass them between workers.

A batch is a dictionary of columns of one length. `plan_rows` makes the rows, in the process that plans; the other
functions run in workers and take and return batches. `translate_batch` reads, translates and writes, so that pixels
stay in one worker; its three parts are for pipelines with stages of their own.

    source, target, half    of the job, as text
    pixels                  uint8, h w c with alpha last, if there is alpha; of deeper types the bytes of each value
    dtype                   of the values: Ray and Arrow refuse a column of arrays of several types
    alpha                   whether the last channel is alpha
    icc                     the ICC profile, b"" without one
    error                   the message of an image that failed, "" for the others

Files written by `write_columns` are those of `unpaired translate`, byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from unpaired.config import require
from unpaired.errors import ImageError, OutputError, StorageError, UnpairedError
from unpaired.images import MAX_PIXELS, Image, encode_image, is_stack, keeps_alpha, read_image
from unpaired.storage import shown, write_bytes
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Half, Job, plan_outputs
from unpaired.translate.sheets import input_half, take_halves
from unpaired.translate.translating import QUALITY, choose_precision
from unpaired.translate.translator import Translator

Batch = Mapping[str, Sequence[Any]]
Columns = dict[str, Any]

Array = np.ndarray[Any, np.dtype[Any]]

_NOTHING = np.zeros((1, 1, 1), np.uint8)  # pixels of an image that failed


def plan_rows(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    out: Path,
    *,
    direction: str = "AtoB",
    resume: bool = False,
) -> list[dict[str, str]]:
    """Return one row for each image to translate, and decide the precision of `translator` if it is "auto".

    Paths are absolute, because workers run in other folders. Raises as `plan_outputs`, `take_halves` and
    `choose_precision` do, and OutputError if results exist and `resume` is not set.

    Args:
        translator: the loaded model; workers get it after this call.
        inputs: files, folders and globs.
        out: the folder of the results.
        direction: "AtoB" or "BtoA".
        resume: leave out images whose result exists, whichever model it is from.
    """
    plan = plan_outputs(inputs, out, overwrite=True, direction=direction)  # nothing is overwritten, see below
    finished = {job.target for job in plan.jobs if job.target.exists()}
    if finished and not resume:
        raise OutputError(
            f"{len(finished)} of {len(plan.jobs)} outputs exist already in {shown(out)}; resume, or choose another "
            "folder.",
            setting="resume",
        )
    jobs, _ = take_halves(plan.jobs, translator.info, direction=direction)
    choose_precision(translator, jobs, direction=direction)
    return [
        {"source": str(job.source.absolute()), "target": str(job.target.absolute()), "half": job.half}
        for job in jobs
        if job.target not in finished
    ]


def translate_batch(batch: Batch, *, translator: Translator, direction: str = "AtoB") -> Columns:
    """Read, translate and write a batch of rows, and return its `source`, `target` and `error`; raises as the parts."""
    most = MAX_PIXELS if translator.max_pixels is None else min(MAX_PIXELS, translator.max_pixels)
    read = read_columns(batch, max_pixels=most)
    return write_columns(translate_columns(read, translator=translator, direction=direction))


def read_columns(batch: Batch, *, max_pixels: int = MAX_PIXELS) -> Columns:
    """Read the images of a batch of rows.

    An image that cannot be read, and a stack, a volume or a file with no-data values, which columns cannot hold, gets
    an `error`.
    """

    def read(job: Job) -> Image:
        image = None if is_stack(job.source) else read_image(job.source, max_pixels=max_pixels)
        if image is None or image.nodata is not None or image.mask is not None:
            raise ImageError(
                f"{shown(job.source)} is a stack or has no-data values, which batches of arrays do not carry; "
                "translate it with unpaired translate."
            )
        return input_half(image, job)

    images, errors = _each(read, _jobs(batch), [""] * len(batch["source"]))
    return {name: list(batch[name]) for name in ("source", "target", "half")} | _columns(images, errors)


def translate_columns(batch: Batch, *, translator: Translator, direction: str = "AtoB") -> Columns:
    """Translate the images of a batch; alpha is composited over the background if the target cannot keep it.

    An image that cannot be translated gets an `error`. Raises ConfigError for an unknown direction.
    """
    require(direction in translator.directions, unknown(repr(direction), translator.directions, "direction"))
    info, jobs, errors = translator.info, _jobs(batch), list(batch["error"])
    images = [None if error else image for image, error in zip(_images(batch), errors, strict=True)]
    together = _together(translator, [image for image in images if image is not None], direction)
    made = iter(together or ())

    def translate(given: tuple[Job, Image]) -> Image:
        job, image = given
        result = next(made) if together else translator.translate_images([image], direction=direction)[0]
        span = info.values[direction[-1]].range.bounds
        return result if keeps_alpha(job.target.suffix) else result.over(info.background, span)

    results, errors = _each(translate, list(zip(jobs, images, strict=True)), errors)
    return {name: list(batch[name]) for name in ("source", "target", "half")} | _columns(results, errors)


def write_columns(batch: Batch) -> Columns:
    """Write the results of a batch, each atomically, and return its `source`, `target` and `error`.

    A result that a killed worker has written already is written again, with the same bytes. Raises StorageError if the
    disk fails or is full.
    """

    def write(given: tuple[Job, Image]) -> None:
        job, image = given
        like = job.source if not job.half or job.target.suffix == ".webp" else None
        content = encode_image(job.target, image, quality=QUALITY, like=like)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(job.target, content)

    _, errors = _each(write, list(zip(_jobs(batch), _images(batch), strict=True)), list(batch["error"]))
    return {"source": list(batch["source"]), "target": list(batch["target"]), "error": errors}


def _together(translator: Translator, images: list[Image], direction: str) -> list[Image] | None:
    """Return the results of all images, None if one of them fails, so that each is translated by itself."""
    if not images:
        return None
    try:
        size = translator.faster_together(images[0], direction)
        return translator.translate_images(images, direction=direction, batch=size)
    except UnpairedError:
        return None


def _each(work: Callable[[Any], Any], items: Sequence[Any], errors: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Return the result and the error of each item; an item with an error already is left out."""
    results: list[Any] = []
    found: list[str] = []
    for item, error in zip(items, errors, strict=True):
        result = None
        if not error:
            try:
                result = work(item)
            except StorageError:
                raise
            except UnpairedError as failure:
                error = str(failure)
        results.append(result)
        found.append(str(error))
    return results, found


def _jobs(batch: Batch) -> list[Job]:
    rows = zip(batch["source"], batch["target"], batch["half"], strict=True)
    return [Job(Path(str(source)), Path(str(target)), cast(Half, str(half))) for source, target, half in rows]


def _images(batch: Batch) -> list[Image]:
    rows = zip(batch["pixels"], batch["dtype"], batch["alpha"], batch["icc"], strict=True)
    return [_image(np.asarray(pixels), str(dtype), bool(alpha), bytes(icc)) for pixels, dtype, alpha, icc in rows]


def _image(given: Array, dtype: str, alpha: bool, icc: bytes) -> Image:
    pixels = np.ascontiguousarray(given).view(dtype)
    if not alpha:
        return Image(pixels, icc=icc or None)
    return Image(np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1]), icc=icc or None)


def _columns(images: Sequence[Image | None], errors: Sequence[str]) -> Columns:
    """Return the columns of images; pixels are an array of arrays, because images have sizes of their own."""
    known = [image or Image(_NOTHING) for image in images]
    pixels = np.empty(len(known), object)
    for number, image in enumerate(known):
        pixels[number] = np.ascontiguousarray(image.interleaved).view(np.uint8)
    return {
        "pixels": pixels,
        "dtype": [str(image.dtype) for image in known],
        "alpha": [image.alpha is not None for image in known],
        "icc": [image.icc or b"" for image in known],
        "error": list(errors),
    }
