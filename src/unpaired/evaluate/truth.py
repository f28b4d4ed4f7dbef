"""Translations against truth, where truth exists: the mean figures over a test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from unpaired.evaluate.metrics import l1, psnr, ssim


@dataclass(frozen=True)
class Scores:
    """Means over images: l1 in [0, 1] (less is better), psnr in dB and ssim in [-1, 1] (more is better)."""

    l1: float
    psnr: float
    ssim: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name, rounded to what is meaningful."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score(pairs: Iterable[tuple[Tensor, Tensor]]) -> Scores:
    """Return the mean figures of (translated, truth) pairs, each n c h w in [-1, 1], as 8-bit files would hold them."""
    figures = []
    for translated, truth in pairs:
        rounded = (translated.clamp(-1, 1) * 127.5).add(127.5).round().div(127.5).sub(1)
        figures.append(torch.stack([metric(rounded, truth) for metric in (l1, psnr, ssim)]))
    means = torch.cat(figures, dim=1).mean(dim=1)
    return Scores(*(float(mean) for mean in means))
