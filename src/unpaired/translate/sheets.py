"""Images that hold A and B side by side, as pix2pix stores pairs: their detection, and the half to translate."""

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
"""Whether input images hold A and B side by side; "auto" assumes it if the model was trained on such images."""

_TOLERANCE = 0.01  # relative tolerance of the aspect ratios of training


def take_halves(
    jobs: Sequence[Job], info: ModelInfo, *, direction: str = "AtoB", pairs: Pairs = "auto"
) -> tuple[tuple[Job, ...], str]:
    """Return the jobs with the half of its image that each translates, and a message for the user ("" if there is
    none).

    The input is the left half in direction AtoB and the right one in BtoA; the result is as large as that half. Only
    headers are read, and unreadable files are left to fail later. Raises ConfigError for an unknown `pairs`, ImageError
    if "side-by-side" is set and a file is of a kind that cannot be halved: DICOM, NIfTI and stacks.

    Args:
        jobs: all jobs, with whole images.
        info: the description of the model.
        direction: that of the translation.
        pairs: "side-by-side" halves all images and "no" none. "auto" halves all images if the model was trained on
            side-by-side images and every image has an even width and an aspect ratio of that training; otherwise it
            halves none, and the message names images that may be pairs.
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
    """Return the half of an image that a job names, or all of it. Raises ImageError for an odd width."""
    if not job.half:
        return image
    if image.width % 2:
        raise ImageError(
            f"{shown(job.source)} is {image.width} pixels wide, which is odd, so it cannot be A and B side by side; "
            "translate it with --pairs no."
        )
    return half_of(image, left=job.half == "left")


def _advice(jobs: Sequence[Job], half: Half) -> str:
    """Return a message if all images are exactly twice as wide as high: they may be side-by-side pairs."""
    if _fitting(jobs, (2.0, 2.0), 0.0) != "all":
        return ""
    many = "The image is" if len(jobs) == 1 else f"All {len(jobs)} images are"
    return (
        f"{many} exactly twice as wide as high, as pairs of A and B side by side are; if so, --pairs side-by-side "
        f"translates the {half} half alone."
    )


def _fitting(jobs: Sequence[Job], ratios: tuple[float, float], tolerance: float) -> Literal["all", "some", "none"]:
    """Return how many images have an even width and an aspect ratio in this range; stops as soon as that is known.

    "some" is returned only if the first image fits and another one does not.
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
        with contextlib.suppress(UnpairedError):  # reported when it is translated
            yield job.source, read_header(job.source)


def _is_whole(header: ImageHeader) -> bool:
    """Return whether a file is of a kind that is never halved, as the result has the metadata of the whole file."""
    return header.format in ("DICOM", "NIFTI") or header.frames > 1
