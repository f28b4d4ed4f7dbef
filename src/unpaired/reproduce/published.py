"""Results of the CycleGAN paper (Zhu et al., ICCV 2017, arXiv v7): table 1, and tables 2 to 5.

Tables 2 to 5 are on Cityscapes at 128 x 128. Each row contains per-pixel accuracy, per-class accuracy and class IoU.
"""

# Checked against texts that quote the paper: the rows of CycleGAN and pix2pix, all means of table 1, and the first four
# rows of table 3. From memory: the first four rows of table 2, and the intervals of table 1 except CycleGAN's.

from __future__ import annotations

Row = tuple[float, float, float]
Fooled = tuple[float, float]

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

MAP_TO_PHOTO: dict[str, Fooled] = {
    "cogan": (0.6, 0.5),
    "bigan": (2.1, 1.0),
    "simgan": (0.7, 0.5),
    "feature-gan": (1.2, 0.6),
    "cyclegan": (26.8, 2.8),
}
"""Table 1, maps to aerial photographs: per cent of trials in which people took the generated image for the real one.

Mean over the participants and half the width of its interval (±); 25 participants per method, 40 trials each, at
256 x 256.
"""

PHOTO_TO_MAP: dict[str, Fooled] = {
    "cogan": (0.9, 0.5),
    "bigan": (1.9, 0.9),
    "simgan": (2.6, 1.1),
    "feature-gan": (0.3, 0.2),
    "cyclegan": (23.2, 3.4),
}
"""Table 1, aerial photographs to maps."""
