"""The figures' names, as results hold them, with what a reader needs beside the number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """label: for people. better: where good values lie. digits: after the point. sees: what it tells."""

    label: str
    better: Literal["less", "more"]
    digits: int
    sees: str


FIGURES: dict[str, Figure] = {
    "l1": Figure("L1", "less", 4, "difference from truth"),
    "psnr": Figure("PSNR, dB", "more", 2, "squared difference from truth"),
    "ssim": Figure("SSIM", "more", 3, "structure of the truth"),
    "within_5": Figure("pixels within 5 levels", "more", 3, "right colours"),
    "within_10": Figure("pixels within 10 levels", "more", 3, "right colours"),
    "within_16": Figure("pixels within 16 levels", "more", 3, "right colours"),
    "lpips": Figure("LPIPS", "less", 3, "difference from truth as people see it"),
    "pixel_accuracy": Figure("pixel accuracy", "more", 3, "right classes"),
    "class_accuracy": Figure("class accuracy", "more", 3, "right classes, rare ones too"),
    "class_iou": Figure("class IoU", "more", 3, "right classes in the right places"),
    "kernel_distance": Figure("kernel distance, random convolutions", "less", 4, "look of the whole set"),
    "swd_1": Figure("sliced Wasserstein × 1000, full size", "less", 1, "fine texture, noise, blur, checkerboards"),
    **{
        f"swd_{scale}": Figure(
            f"sliced Wasserstein × 1000, 1/{scale} size", "less", 1, "shapes; colours, in the last one"
        )
        for scale in (2, 4, 8, 16, 32, 64, 128, 256)
    },
    "density": Figure("density", "more", 3, "plausible single images"),
    "coverage": Figure("coverage", "more", 3, "variety"),
    "two_sample_accuracy": Figure("two-sample accuracy", "less", 3, "anything that tells the sets apart; .5 is best"),
    "cycle_error": Figure("cycle error", "less", 4, "what is lost there and back"),
    "gradient_correlation": Figure("gradient correlation", "more", 3, "edges kept"),
    "self_similarity_correlation": Figure("self-similarity correlation", "more", 3, "layout kept"),
}
"""Every figure that needs no network by its name; FID and KID are named by `inception.Inception`."""
