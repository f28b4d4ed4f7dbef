"""Peak performance of this machine: throughput of the dominant convolution of a step, and memory bandwidth."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch
import torch.nn.functional as F

from unpaired.bench.timing import in_turns
from unpaired.training.run_config import Precision

_CHANNELS, _SIDE = 256, 64
CONVOLUTION_FLOP = 2 * 9 * _CHANNELS * _CHANNELS * _SIDE * _SIDE
"""Operations of a 3 x 3 convolution, 256 to 256 channels, on 64 x 64: the residual blocks at 256 x 256."""


def measure_ceilings(device: torch.device, precisions: Collection[Precision], rounds: int = 7) -> dict[str, float]:
    """Return GFLOP/s of the convolution, forward and backward, by precision, and GB/s of a copy (read + written).

    fp32 is always measured, for comparison with the official code.
    """
    kinds = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if "bf16" in precisions else {})
    image = torch.randn(1, _CHANNELS, _SIDE, _SIDE, device=device)
    kernel = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device)
    source, target = (torch.empty(2**26, dtype=torch.uint8, device=device) for _ in "ab")

    def forward(kind: torch.dtype) -> None:
        with torch.no_grad():
            F.conv2d(image.to(kind), kernel.to(kind), padding=1)
        synchronise(device)

    def backward(kind: torch.dtype) -> None:
        x, w = image.to(kind).requires_grad_(), kernel.to(kind).requires_grad_()
        made = F.conv2d(x, w, padding=1)
        torch.autograd.grad(made, (x, w), torch.ones_like(made))
        synchronise(device)

    def copy() -> None:
        target.copy_(source)
        synchronise(device)

    timings = in_turns(
        {
            **{f"{name} forward": partial(forward, kind) for name, kind in kinds.items()},
            **{f"{name} forward and backward": partial(backward, kind) for name, kind in kinds.items()},
            "copy": copy,
        },
        rounds,
        warm_up=2,
    )
    work = {name: 3 * CONVOLUTION_FLOP if "backward" in name else CONVOLUTION_FLOP for name in timings}
    work["copy"] = 2 * source.numel()
    return {name: work[name] / min(timing.seconds) / 1e9 for name, timing in timings.items()}


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all operations; no-op on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
