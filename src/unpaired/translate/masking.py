"""Files of masks: which pixels of each image an attention-gated generator replaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from unpaired.errors import ConfigError, ImageError, OutputError
from unpaired.images import Image, is_stack, write_image
from unpaired.storage import shown
from unpaired.translate.jobs import Job, check_existing
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.reading import Reader
from unpaired.translate.translator import Translator


def plan_masks(jobs: Sequence[Job], out: Path, folder: Path, *, overwrite: bool) -> tuple[Job, ...]:
    """Return the jobs with the files of their masks as targets: PNG in `folder`, in the structure of `out`.

    Raises ConfigError for an input that is a stack, OutputError if a mask would replace an input, another mask or,
    unless `overwrite` is set, an existing file.
    """
    planned = tuple(replace(job, target=(folder / job.target.relative_to(out)).with_suffix(".png")) for job in jobs)
    taken = {job.source.resolve() for job in jobs}
    for job in planned:
        if is_stack(job.source):
            raise ConfigError(f"{shown(job.source)} is a stack of slices, which has no mask; remove --masks.")
        if job.target.resolve() in taken:
            raise OutputError(f"The mask {shown(job.target)} would replace another file; choose another --masks.")
        taken.add(job.target.resolve())
    check_existing(planned, folder, overwrite=overwrite, resume=False)
    return planned


def write_masks(
    translator: Translator, jobs: Sequence[Job], *, direction: str, on_done: Callable[[Job], None] = lambda job: None
) -> None:
    """Write the mask of each image as a grey PNG: 0 for pixels that are kept, 255 for those that are replaced.

    Images that cannot be read or are too large are left out; their translation has reported them. Raises OutputError or
    StorageError if a file cannot be written.

    Args:
        translator: a model with masks.
        jobs: from `plan_masks`.
        direction: "AtoB" or "BtoA".
        on_done: called once for each written mask, in order.
    """
    reader, folders = Reader(translator, direction), OutputFolders(job.target.parent for job in jobs)
    for job in jobs:
        with suppress(ImageError):
            mask = translator.masks(reader(job), direction=direction)
            folders.require(job.target.parent)
            write_image(job.target, Image(np.rint(255 * mask[:, :, None]).astype(np.uint8)))
            on_done(job)
