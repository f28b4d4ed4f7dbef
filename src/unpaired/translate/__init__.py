"""Inference: a model folder is loaded as a `Translator`, which translates images and files."""

from __future__ import annotations

from unpaired.models.domain_values import DomainValues
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo, find_model, read_model, write_model
from unpaired.translate.backends import BACKENDS
from unpaired.translate.blending import mask_weight
from unpaired.translate.jobs import Job, Plan, plan_outputs
from unpaired.translate.mask_files import MaskFiles, find_masks
from unpaired.translate.precision import Choice
from unpaired.translate.sheets import take_halves
from unpaired.translate.translating import Failure, choose_precision, translate_files
from unpaired.translate.translator import Translator

__all__ = [
    "BACKENDS",
    "Choice",
    "DirectionInfo",
    "DomainValues",
    "Failure",
    "Job",
    "MaskFiles",
    "ModelInfo",
    "Plan",
    "TrainingInfo",
    "Translator",
    "choose_precision",
    "find_masks",
    "find_model",
    "mask_weight",
    "plan_outputs",
    "read_model",
    "take_halves",
    "translate_files",
    "write_model",
]
