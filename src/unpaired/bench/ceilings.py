"""Peak performance of this machine: throughput of the dominant convolution of a step, and memory bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from unpaired.bench.timing import in_turns
from unpaired.randomness import torch_seeded
from unpaired.training.run_config import Precision

_CHANNELS, _SIDE = 256, 64
CONVOLUTION_FLOP = 2 * 9 * _CHANNELS * _CHANNELS * _SIDE * _SIDE
"""Operations of a 3 x 3 convolution, 256 to 256 channels, on 64 x 64: the residual blocks at 256 x 256."""


_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PART_OF_A_CASE = 8  # a probe has about an eighth of the operations of the case that it stands beside


@dataclass
class Ceiling:
    """The dominant convolution as a case of its own, timed in the turns of the cases that are compared with it."""

    convolve: Callable[[], None]
    flop_once: float
    repeats: int

    @classmethod
    def beside(cls, flop: float, precision: Precision, device: torch.device, *, backward: bool) -> Ceiling:
        """Return the probe for a case of `flop` operations.

        Long cases get several repeats, because one convolution of some milliseconds does not represent the speed of a
        busy machine over seconds.
        """
        once = (3 if backward else 1) * CONVOLUTION_FLOP
        return cls(_convolution(precision, device, backward), once, max(1, round(flop / once / _PART_OF_A_CASE)))

    @property
    def flop(self) -> float:
        """Operations per call."""
        return self.repeats * self.flop_once

    def __call__(self) -> None:
        """Convolve `repeats` times."""
        for _ in range(self.repeats):
            self.convolve()


def measure_ceilings(device: torch.device, precisions: Collection[Precision], rounds: int = 7) -> dict[str, float]:
    """Return GFLOP/s of the convolution, forward and backward, by precision, and GB/s of a copy (read + written).

    fp32 is always measured, for comparison with the official code. The values are the best of all rounds.
    """
    kinds: tuple[Precision, ...] = ("fp32", "bf16") if "bf16" in precisions else ("fp32",)
    source, target = (torch.empty(2**26, dtype=torch.uint8, device=device) for _ in "ab")

    def copy() -> None:
        target.copy_(source)
        synchronise(device)

    timings = in_turns(
        {
            **{f"{name} forward": _convolution(name, device, backward=False) for name in kinds},
            **{f"{name} forward and backward": _convolution(name, device, backward=True) for name in kinds},
            "copy": copy,
        },
        rounds,
        warm_up=2,
    )
    work = {name: 3 * CONVOLUTION_FLOP if "backward" in name else CONVOLUTION_FLOP for name in timings}
    work["copy"] = 2 * source.numel()
    return {name: work[name] / min(timing.seconds) / 1e9 for name, timing in timings.items()}


def _convolution(precision: Precision, device: torch.device, backward: bool) -> Callable[[], None]:
    """Return a call of the dominant convolution on seeded noise, with both gradients if `backward`."""
    with torch_seeded(0, "ceiling"):
        image, kernel = torch.randn(1, _CHANNELS, _SIDE, _SIDE), torch.randn(_CHANNELS, _CHANNELS, 3, 3)
    image, kernel = (tensor.to(device, _KINDS[precision]) for tensor in (image, kernel))

    def forward_only() -> None:
        with torch.no_grad():
            F.conv2d(image, kernel, padding=1)
        synchronise(device)

    def both_ways() -> None:
        x, w = image.detach().requires_grad_(), kernel.detach().requires_grad_()
        made = F.conv2d(x, w, padding=1)
        torch.autograd.grad(made, (x, w), torch.ones_like(made))
        synchronise(device)

    return both_ways if backward else forward_only


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all operations; no-op on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
