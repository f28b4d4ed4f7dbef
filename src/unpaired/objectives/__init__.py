"""The published training methods, one file each; the table of those a recipe may name."""

from __future__ import annotations

from unpaired.objectives.cyclegan import CycleGAN

Method = CycleGAN
"""Every objective configuration that a recipe may name; a new method is added here, as a union."""

__all__ = ["CycleGAN", "Method"]
