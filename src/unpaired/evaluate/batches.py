"""What every figure is computed from: batches n c h w, floats in [-1, 1] or uint8."""

from __future__ import annotations

from unpaired.images.batches import as_files, floats, levels

__all__ = ["as_files", "floats", "levels"]
