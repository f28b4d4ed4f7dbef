"""Table 1 of the CycleGAN paper (Zhu et al., ICCV 2017): real-or-fake on maps and aerial photographs, 256 x 256."""

from __future__ import annotations

MAP_TO_PHOTO = "map -> photo"
PHOTO_TO_MAP = "photo -> map"

# Checked against texts that quote the paper: all means, and the interval of CycleGAN. From memory: the other intervals.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "CoGAN": {MAP_TO_PHOTO: (0.6, 0.5), PHOTO_TO_MAP: (0.9, 0.5)},
    "BiGAN/ALI": {MAP_TO_PHOTO: (2.1, 1.0), PHOTO_TO_MAP: (1.9, 0.9)},
    "SimGAN": {MAP_TO_PHOTO: (0.7, 0.5), PHOTO_TO_MAP: (2.6, 1.1)},
    "Feature loss + GAN": {MAP_TO_PHOTO: (1.2, 0.6), PHOTO_TO_MAP: (0.3, 0.2)},
    "CycleGAN": {MAP_TO_PHOTO: (26.8, 2.8), PHOTO_TO_MAP: (23.2, 3.4)},
}
"""Per cent of translations taken for real, with the paper's ±, by method and direction."""
