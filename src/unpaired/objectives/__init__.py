"""The published training methods, one file each; the registries of methods and of adversarial losses."""

from __future__ import annotations

from unpaired.networks.protocols import config_fault
from unpaired.objectives.bigan import BiGAN
from unpaired.objectives.cogan import CoGAN
from unpaired.objectives.cut import CUT
from unpaired.objectives.cyclegan import CycleGAN
from unpaired.objectives.feature_gan import FeatureGAN
from unpaired.objectives.gan import GAN
from unpaired.objectives.losses import LOSSES, Loss
from unpaired.objectives.method import MethodConfig, method_fault
from unpaired.objectives.pix2pix import Pix2Pix
from unpaired.objectives.simgan import SimGAN
from unpaired.objectives.style import Style
from unpaired.registry import Registry

METHODS: Registry[type[MethodConfig]] = Registry(
    "method",
    "unpaired.methods",
    (CycleGAN, Pix2Pix, CUT, SimGAN, FeatureGAN, GAN, BiGAN, CoGAN, Style),
    protocol=MethodConfig,
    required=("pairing", "build"),
    refuse=lambda part: config_fault(part) or method_fault(part),
)
"""Methods by kind, as named in recipes."""

__all__ = [
    "CUT",
    "GAN",
    "LOSSES",
    "METHODS",
    "BiGAN",
    "CoGAN",
    "CycleGAN",
    "FeatureGAN",
    "Loss",
    "MethodConfig",
    "Pix2Pix",
    "SimGAN",
    "Style",
]
