"""Images far from the scale of training: a generator sees their objects much larger or smaller than it learnt."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from unpaired.errors import UnpairedError
from unpaired.images import ImageHeader, read_header
from unpaired.models.model_folder import ModelInfo
from unpaired.storage import shown
from unpaired.translate.jobs import Job

_MOST_HEADERS = 64  # more images are sampled evenly


def far_scale(jobs: Sequence[Job], info: ModelInfo, direction: str) -> str:
    """Return a sentence if images are far from the scale of training (`ScaleInfo.is_far`), "" if none is.

    Reads the headers of at most 64 evenly spread images. A model that does not record its scale gives "".
    """
    scale = info.scale
    if scale is None or not scale.resizes or not jobs:
        return ""
    some = jobs[:: -(-len(jobs) // _MOST_HEADERS)]
    sizes = {job: size for job in some if (size := _size(job))}
    far = [job for job, size in sizes.items() if scale.is_far(*size)]
    if not far:
        return ""
    first, (height, width) = far[0], sizes[far[0]]
    ratio = scale.ratio(height, width)
    times = f"{ratio:.1f} times as large as" if ratio > 1 else f"{1 / ratio:.1f} times smaller than"
    object_ = f"an object that fills the same share of it is {times} in training"
    count = "" if len(jobs) == 1 else f"{len(far)} of {len(sizes)} images are far from the scale of training: "
    return (
        f"{count}{shown(first.source)} has {width} x {height} pixels, and training images were "
        f"{scale.words(direction[0])}, so {object_}; --resize trained translates at that scale."
    )


def _size(job: Job) -> tuple[int, int] | None:
    """Return the height and width of the image or the half that a job names, None if it cannot be read."""
    header: ImageHeader | None = None
    with contextlib.suppress(UnpairedError):  # reported when it is translated
        header = read_header(job.source)
    if header is None:
        return None
    return header.height, max(header.width // (2 if job.half else 1), 1)
