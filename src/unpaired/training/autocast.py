"""The precision of a run: as configured, or resolved for the device."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from unpaired.devices import has_bf16
from unpaired.training.run_config import Precision, RunConfig

_log = logging.getLogger("unpaired")


def precision_on(device: torch.device, run: RunConfig) -> Precision:
    """Return the precision of training steps; auto is bf16 if the device has instructions for it, else fp32."""
    if run.precision != "auto":
        return run.precision
    return "bf16" if has_bf16(device) else "fp32"


def resolve_precision(run: RunConfig, before: RunConfig | None, device: torch.device) -> RunConfig:
    """Return the settings of a run with its precision resolved, since its result depends on it.

    before: the settings of a run that continues, which keeps its precision on every machine. Logs a warning if the
    device has no instructions for bfloat16.
    """
    if run.precision == "auto" and before is not None:
        run = replace(run, precision=before.precision)
    chosen = precision_on(device, run)
    if chosen == "bf16" and not has_bf16(device):
        _log.warning(
            f"This {device.type} has no instructions for bfloat16 and may take many times as long in it as in float32; "
            "--run.precision auto selects a suitable precision for new runs."
        )
    if run.precision == "auto" and chosen == "fp32":
        _log.info(f"This {device.type} has no instructions for bfloat16, so the run computes in float32.")
    return replace(run, precision=chosen)
