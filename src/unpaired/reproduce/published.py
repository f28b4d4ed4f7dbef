"""Results of the CycleGAN paper (Zhu et al., ICCV 2017, arXiv v7) on Cityscapes: tables 2 to 5.

Images are 128 x 128. Each row contains per-pixel accuracy, per-class accuracy and class IoU.
"""

# Checked against texts that quote the paper: the rows of CycleGAN and pix2pix, and the first four rows of table 3. From
# memory: the first four rows of table 2.

from __future__ import annotations

Row = tuple[float, float, float]

FIGURES = ("pixel_accuracy", "class_accuracy", "class_iou")

LABELS_TO_PHOTO: dict[str, Row] = {
    "cogan": (0.40, 0.10, 0.06),
    "bigan": (0.19, 0.06, 0.02),
    "simgan": (0.20, 0.10, 0.04),
    "feature-gan": (0.06, 0.04, 0.01),
    "cycle-alone": (0.22, 0.07, 0.02),
    "gan-alone": (0.51, 0.11, 0.08),
    "gan-forward": (0.55, 0.18, 0.12),
    "gan-backward": (0.39, 0.14, 0.06),
    "cyclegan": (0.52, 0.17, 0.11),
    "pix2pix": (0.71, 0.25, 0.18),
}
"""Generated photographs, segmented by a network trained on real ones ("FCN score")."""

PHOTO_TO_LABELS: dict[str, Row] = {
    "cogan": (0.45, 0.11, 0.08),
    "bigan": (0.41, 0.13, 0.07),
    "simgan": (0.47, 0.11, 0.07),
    "feature-gan": (0.50, 0.10, 0.06),
    "cycle-alone": (0.10, 0.05, 0.02),
    "gan-alone": (0.53, 0.11, 0.07),
    "gan-forward": (0.49, 0.11, 0.07),
    "gan-backward": (0.01, 0.06, 0.01),
    "cyclegan": (0.58, 0.22, 0.16),
    "pix2pix": (0.85, 0.40, 0.32),
}
"""Generated label maps; each pixel has the class of the nearest colour."""
