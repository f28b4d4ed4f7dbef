"""Self-attention over all places of a feature map (Zhang et al. 2019, "Self-Attention GANs", section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x + gamma o(x), n c h w; o attends from each place to all (eq. 1-3). gamma starts at 0, the layer as identity.

    Queries and keys have an eighth of the channels and values half, as published, at least 4 each. Time grows with the
    square of the number of places, and memory with their number.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow, half = max(width // 8, 4), max(width // 2, 4)
        self.query = nn.Conv2d(width, narrow, 1)
        self.key = nn.Conv2d(width, narrow, 1)
        self.value = nn.Conv2d(width, half, 1)
        self.out = nn.Conv2d(half, width, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended features, n c h w."""
        query, key, value = (part(x).flatten(2).mT[:, None].contiguous() for part in (self.query, self.key, self.value))
        # Zeros change no product, and torch computes in blocks, without a matrix of all pairs, if the widths are equal.
        wider = (0, value.shape[3] - query.shape[3])
        # Without the usual division by the root of the channels: eq. 1 has none.
        attended = F.scaled_dot_product_attention(F.pad(query, wider), F.pad(key, wider), value, scale=1.0)[:, 0]
        count, _, height, width = x.shape
        y: Tensor = x + self.gamma * self.out(attended.transpose(1, 2).reshape(count, -1, height, width))
        return y
