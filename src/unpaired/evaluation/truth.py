"""Translations against ground truth: figures per image, and their means over a test set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from unpaired.evaluation.metrics import l1, pixel_accuracy, psnr, ssim
from unpaired.images.tensors import as_files

LEVELS = (5, 10, 16)
"""How many 8-bit levels a pixel may be off to count as right: the `within_5`, `within_10` and `within_16` figures."""

AGAINST_TRUTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    **{f"within_{level}": partial(pixel_accuracy, within=level) for level in LEVELS},
}
"""The figures of a translation and its truth by name."""


@dataclass(frozen=True)
class Scores:
    """Means over images: l1 in [0, 1] (less is better), psnr in dB and ssim in [-1, 1] (more is better)."""

    l1: float
    psnr: float
    ssim: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name, rounded to meaningful digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score(pairs: Iterable[tuple[Tensor, Tensor]]) -> Scores:
    """Return the mean figures of (translated, truth) pairs, each n c h w in [-1, 1], rounded as in 8-bit files."""
    figures = []
    for translated, truth in pairs:
        rounded = as_files(translated)
        figures.append(torch.stack([metric(rounded, truth) for metric in (l1, psnr, ssim)]))
    means = torch.cat(figures, dim=1).mean(dim=1)
    return Scores(*(float(mean) for mean in means))


def against_truth(pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return l1, psnr, ssim, within_5, within_10 and within_16 of each image of (translated, truth) pairs, by name.

    Images are n c h w in [-1, 1] or uint8, translated ones rounded as in 8-bit files; only a float64 value per image is
    kept. `intervals.mean_interval` gives means with intervals. For a baseline with the right kind of image and the
    wrong content, pair each translation with another truth, `truth.roll(1, 0)`.

    Raises ValueError if there is no pair, shapes differ or an image is smaller than the window of SSIM.
    """
    kept: dict[str, list[Tensor]] = {}
    for translated, truth in pairs:
        rounded, real = as_files(translated), as_files(truth)
        for name, compare in AGAINST_TRUTH.items():
            kept.setdefault(name, []).append(compare(rounded, real).double().cpu())
    if not kept:
        raise ValueError("Figures against truth need at least one pair of images.")
    return {name: torch.cat(values) for name, values in kept.items()}
