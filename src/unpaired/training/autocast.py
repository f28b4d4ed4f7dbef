"""What numbers a run computes in: as asked for, or what the device is made for."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from unpaired.devices import has_bf16
from unpaired.training.run_config import Precision, RunConfig

_log = logging.getLogger("unpaired")


def precision_on(device: torch.device, run: RunConfig) -> Precision:
    """Return what steps are taken in: bf16 for auto where the device has instructions for it, fp32 where not."""
    if run.precision != "auto":
        return run.precision
    return "bf16" if has_bf16(device) else "fp32"


def resolve_precision(run: RunConfig, before: RunConfig | None, device: torch.device) -> RunConfig:
    """Return the settings of a run without auto as its precision, which is part of what its result depends on.

    before: the settings of a run that goes on, on whatever machine: it stays with what it was begun in. Logs a
    warning if bfloat16 is not what the device is made for.
    """
    if run.precision == "auto" and before is not None:
        run = replace(run, precision=before.precision)
    chosen = precision_on(device, run)
    if chosen == "bf16" and not has_bf16(device):
        _log.warning(
            f"This {device.type} has no instructions for bfloat16 and may take many times as long in it as in float32; "
            "new runs take what suits it with --run.precision auto."
        )
    if run.precision == "auto" and chosen == "fp32":
        _log.info(f"This {device.type} has no instructions for bfloat16, so the run computes in float32.")
    return replace(run, precision=chosen)
