"""Images of a study page: 8-bit colour in files of equal length, so that no file reveals the origin of its image."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from unpaired.images import from_tensor


def encoded(image: Tensor) -> bytes:
    """Return an image c h w in [-1, 1] as PNG without compression and metadata; images of one size have one length.

    Of 2 channels the first is shown, in grey; of more than 3, the first three. Raises NonFiniteError for NaN.
    """
    colour = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    buffer = io.BytesIO()
    # Compressed, the length of a file alone can separate translations from real images, as their noise differs.
    from_tensor(colour).to_pil().save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def noise(size: tuple[int, int], generator: np.random.Generator) -> Tensor:
    """Return uniform noise 3 h w in [-1, 1]."""
    return torch.from_numpy(generator.uniform(-1, 1, (3, *size))).float()


def flat(size: tuple[int, int]) -> Tensor:
    """Return mid-grey 3 h w."""
    return torch.zeros(3, *size)
