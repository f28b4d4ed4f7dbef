"""The published training methods, one file each; the table of those a recipe may name."""

from __future__ import annotations

from unpaired.objectives.cut import CUT
from unpaired.objectives.cyclegan import CycleGAN
from unpaired.objectives.gan import GAN
from unpaired.objectives.pix2pix import Pix2Pix

Method = CycleGAN | Pix2Pix | CUT | GAN
"""Every objective configuration that a recipe may name; a new method is added here."""

__all__ = ["CUT", "GAN", "CycleGAN", "Method", "Pix2Pix"]
