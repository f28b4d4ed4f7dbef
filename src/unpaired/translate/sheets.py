"""Images that hold A and B side by side, as pix2pix takes its pairs: which ones do, and the half that is translated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from unpaired.config import require
from unpaired.errors import ImageError, UnpairedError
from unpaired.images import Image, ImageHeader, half_of, read_header
from unpaired.models.model_folder import ModelInfo
from unpaired.storage import shown
from unpaired.suggestions import unknown
from unpaired.translate.jobs import Half, Job

Pairs = Literal["auto", "side-by-side", "no"]
"""Whether the images to translate hold A and B side by side; "auto" takes them so if the model was trained that way."""

_TOLERANCE = 0.01  # by which a ratio of width to height may differ from those of training


def take_halves(
    jobs: Sequence[Job], info: ModelInfo, *, direction: str = "AtoB", pairs: Pairs = "auto"
) -> tuple[tuple[Job, ...], str]:
    """Return the jobs with the half that each takes of its image, and a sentence for the user ("" if there is none).

    The input is the left half in direction AtoB and the right one in BtoA; the result is as large as that half.
    "side-by-side" takes the halves of all images. "auto" does so if the model records that it was trained on
    side-by-side images and every image here has an even width and a ratio of width to height of that training. It
    never does so otherwise: the sentence then names images that may be pairs. "no" takes them whole. Headers alone are
    read, and files that cannot be read are left to fail later. Raises ConfigError for an unknown `pairs`, ImageError if
    side-by-side images are asked for and a file is of a kind that is not halved: DICOM, NIfTI and stacks.
    """
    require(pairs in get_args(Pairs), unknown(repr(pairs), get_args(Pairs), "pairs"))
    half: Half = "left" if direction.startswith("A") else "right"
    halved = tuple(replace(job, half=half) for job in jobs)
    many = "1 side-by-side image" if len(jobs) == 1 else f"{len(jobs)} side-by-side images"
    if pairs == "side-by-side":
        for path, header in _headers(jobs):
            if _is_whole(header):
                raise ImageError(
                    f"{shown(path)} is DICOM, a volume or a stack, which holds no pairs side by side; translate it "
                    "without --pairs side-by-side."
                )
        return halved, f"Took the {half} half of {many}."
    if pairs == "no" or not jobs:
        return tuple(jobs), ""
    if info.sheets is None:
        return tuple(jobs), _advice(jobs, half)
    found = _fitting(jobs, (info.sheets.narrowest, info.sheets.widest), _TOLERANCE)
    if found == "all":
        return halved, f"Took the {half} half of {many}, as in training; --pairs no translates them whole."
    if found == "some":
        return tuple(jobs), (
            f"Some of these {len(jobs)} images, but not all, look like the side-by-side pairs of training, so all are "
            f"translated whole; --pairs side-by-side takes the {half} halves."
        )
    return tuple(jobs), ""


def input_half(image: Image, job: Job) -> Image:
    """Return the half of an image that a job takes, or all of it. Raises ImageError for an odd width."""
    if not job.half:
        return image
    if image.width % 2:
        raise ImageError(
            f"{shown(job.source)} is {image.width} pixels wide, which is odd, so it cannot be A and B side by side; "
            "translate it with --pairs no."
        )
    return half_of(image, left=job.half == "left")


def _advice(jobs: Sequence[Job], half: Half) -> str:
    """Return a sentence if all images are exactly as wide as two squares: then they may be pairs side by side."""
    if _fitting(jobs, (2.0, 2.0), 0.0) != "all":
        return ""
    many = "The image is" if len(jobs) == 1 else f"All {len(jobs)} images are"
    return (
        f"{many} exactly twice as wide as high, as pairs of A and B side by side are; if so, --pairs side-by-side "
        f"translates the {half} half alone."
    )


def _fitting(jobs: Sequence[Job], ratios: tuple[float, float], tolerance: float) -> Literal["all", "some", "none"]:
    """Return whether images have an even width and a ratio of width to height within these; stops when that is known.

    "some" is said if the first image fits and another one does not.
    """
    low, high = ratios[0] * (1 - tolerance), ratios[1] * (1 + tolerance)
    found: Literal["all", "some", "none"] = "none"
    for _, header in _headers(jobs):
        if _is_whole(header) or header.width % 2 or not low <= header.width / header.height <= high:
            return "some" if found == "all" else "none"
        found = "all"
    return found


def _headers(jobs: Sequence[Job]) -> Iterator[tuple[Path, ImageHeader]]:
    for job in jobs:
        with contextlib.suppress(UnpairedError):  # translating it will say what is wrong
            yield job.source, read_header(job.source)


def _is_whole(header: ImageHeader) -> bool:
    """Return whether a file is of a kind that is not halved, as the result is written like the whole of it."""
    return header.format in ("DICOM", "NIFTI") or header.frames > 1
